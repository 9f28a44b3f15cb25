"""Sends hostile requests to a real ``limbeck serve`` and records status, time and growth of its memory.

    python benchmarks/attack/serve.py INDEX [--out docs/results/parts/serve-attack.json]

INDEX has an encoder that reads pictures, such as the index of ``limbeck demo``. After each request a search
must still answer. The memory is the peak of the server's resident memory above that of a few plain searches.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from attack.requests import Attack, attacks, bodies, encoded, head, png, upload, uploads

_PLAIN = head("GET", "/search?q=red&k=3", "Connection: close")


@dataclass(frozen=True)
class Outcome:
    name: str
    status: int
    seconds: float
    peak_mb: float  # growth of the server's peak above what plain searches take
    refused: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with server(given.index, "--rate", "0") as (port, pid):
        found = attacked(port, pid, attacks(), given.index)
    with server(given.index, "--rate", "0") as (port, pid):
        allowed = largest(port, pid)
        crowd = dribbling(port)
    wrong = [one.name for one in found if not one.refused]
    summary = {
        "attacks": len(found),
        "uploads": sum(1 for _ in uploads()),
        "other_bodies": sum(1 for _ in bodies()),
        "refused": len(found) - len(wrong),
        "server_errors": sum(one.status >= 500 for one in found),
        "slowest_seconds": max(one.seconds for one in found if one.status != 408),
        "peak_mb": max(one.peak_mb for one in found),
        "not_refused": wrong,
        "largest_allowed": allowed,
        "search_among_500_dribbling_clients_seconds": crowd,
    }
    text = json.dumps(summary | {"requests": [asdict(one) for one in found]}, indent=1, ensure_ascii=False)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")
    print(json.dumps(summary, ensure_ascii=False, indent=1) if given.out else text)


@contextlib.contextmanager
def server(index: Path, *options: str) -> Iterator[tuple[int, int]]:
    """Start ``limbeck serve``; gives its port and process."""
    command = [sys.executable, "-m", "limbeck", "serve", str(index), "--port", "0", *options]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ) as process:
        assert process.stderr is not None
        try:
            port = int(process.stderr.readline().rpartition(b":")[2])
            os.set_blocking(process.stderr.fileno(), False)
            until = time.monotonic() + 60
            while status(ask(port, iter((_PLAIN,)))[0]) != 200:
                assert time.monotonic() < until, "the service does not start"
                time.sleep(0.1)
            yield port, process.pid
        finally:
            process.terminate()
            with contextlib.suppress(OSError):
                os.set_blocking(process.stderr.fileno(), True)
                process.stderr.read()


def largest(port: int, pid: int) -> dict[str, float]:
    """Send the largest picture that is allowed, alone and twelve times at once."""
    data = b"".join(upload("", png(6_300, 6_300, real=True), "image/png").parts())  # type: ignore[arg-type]
    found: dict[str, float] = {"megapixels": 6.3 * 6.3}
    for count in (1, 12):
        base = peak_mb(pid, reset=True)
        with ThreadPoolExecutor(count) as pool:
            answers = list(pool.map(lambda _: ask(port, iter((data,))), range(count)))
        assert {answer[:12] for answer, _ in answers} == {b"HTTP/1.1 200"}
        found[f"seconds_{count}"] = round(max(seconds for _, seconds in answers), 2)
        found[f"peak_mb_{count}"] = round(peak_mb(pid, reset=True) - base)
    return found


def dribbling(port: int) -> float:
    """Return the seconds of a search while 500 clients do not end the heads of their requests."""
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            client = stack.enter_context(
                contextlib.closing(socket.create_connection(("127.0.0.1", port), 20))
            )
            client.sendall(_PLAIN[:20])
        answer, seconds = ask(port, iter((_PLAIN,)))
        assert status(answer) == 200
    return round(seconds, 3)


def attacked(port: int, pid: int, chosen: list[Attack], index: Path) -> list[Outcome]:
    picture = upload("", encoded("JPEG", (640, 480)), "image/jpeg").parts
    for _ in range(5):
        ask(port, iter((_PLAIN,)))
        assert status(ask(port, picture())[0]) == 200
    base, found = peak_mb(pid, reset=True), []
    for attack in chosen:
        answer, seconds = ask(port, attack.parts())
        got = status(answer)
        peak = max(0.0, peak_mb(pid, reset=True) - base)
        alive = status(ask(port, iter((_PLAIN,)))[0]) == 200
        quiet = str(index).encode() not in answer  # and names no path of the machine
        refused = alive and quiet and got in attack.expected
        found.append(Outcome(attack.name, got, round(seconds, 3), round(peak, 1), refused))
        print(f"{got} {seconds:6.3f} s {peak:7.1f} MB {attack.name}", file=sys.stderr)
    return found


def status(answer: bytes) -> int:
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) == 3 and words[1].isdigit() else 0


def ask(port: int, parts: Iterator[bytes | float]) -> tuple[bytes, float]:
    """Send parts until an answer comes; return it (b"" for none) and the seconds until it came.

    Making the parts does not count: what is sent at once is made before.
    """
    with contextlib.closing(socket.socket()) as client:
        client.settimeout(60)
        try:
            client.connect(("127.0.0.1", port))
        except ConnectionRefusedError:
            return b"", 0.0
        begin, answer = time.perf_counter(), b""
        with contextlib.suppress(ConnectionError):
            for part in parts:
                ready, _, _ = select.select([client], [], [], part if isinstance(part, float) else 0)
                if ready:
                    break
                if isinstance(part, bytes):
                    client.sendall(part)
        seconds = 0.0
        with contextlib.suppress(ConnectionError):
            while not whole(answer) and (more := client.recv(65536)):
                seconds = seconds or time.perf_counter() - begin
                answer += more
        return answer, seconds or time.perf_counter() - begin


def whole(answer: bytes) -> bool:
    head, end, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def peak_mb(pid: int, *, reset: bool) -> float:
    """Return the peak of a process's resident memory since the last reset (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    if reset:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
