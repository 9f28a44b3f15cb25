"""Load on `limbeck serve`: one worker, 32 clients on keep-alive connections, in one process that only sends and reads.

    python benchmarks/serve_load.py INDEX [--seconds 60] [--out docs/results/parts/serve-load.json] [--only NAME]

INDEX is one that `limbeck demo` wrote (its query encoder reads texts). Sizes: INDEX itself; 8,000 items with its codes
and metadata, repeated under other ids; 1,000,000 items with random codes and an id. Each has INDEX's query encoder,
and a calibration of confidence.

Rows: `demo`, `8000`, `million` (distinct queries); `repeated` (200 texts, so that the cache answers); `single` (8,000
items, --batch 1: one query at a time); `torch` (as `single`, but the encoder has no ONNX form, so that torch runs it);
`reload` (8,000 items, changed every second); `sigterm` (every request that was
sent before the end has to be answered); `start` (from the start of the process to the first answer, without torch).
`repeated`, `single` and `torch` take a third of the seconds, `million` a half. With 60 seconds all take about five minutes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import random
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus

import numpy as np

from limbeck.index.add import add_batches
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import EncoderSource, StoreMeta
from limbeck.search.calibrate import calibrate
from limbeck.search.searcher import Searcher

CLIENTS = 32
STAGES = ("encode", "search", "rows")


@dataclass
class Connection:
    """One client: it sends a request when it has read the answer to the last one."""

    sock: socket.socket
    sent: float = 0.0
    data: bytearray = field(default_factory=bytearray)


@dataclass
class Load:
    """What the clients saw: seconds of each answer, statuses other than 200, and requests without an answer."""

    latencies: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    unanswered: int = 0
    seconds: float = 0.0
    body: bytes = b""

    def row(self) -> dict:
        ms = np.array(self.latencies) * 1000
        p50, p95, p99 = (round(float(np.percentile(ms, p)), 2) for p in (50, 95, 99))
        return {
            "answers": len(ms), "per_second": round(len(ms) / self.seconds, 1), "p50_ms": p50, "p95_ms": p95,
            "p99_ms": p99, "max_ms": round(float(ms.max()), 2), "errors": len(self.failed) + self.unanswered,
        }  # fmt: skip


def load(port: int, texts: Iterator[str], seconds: float, *, until_closed: bool = False) -> Load:
    """Send queries for some seconds, or until the service has closed every connection."""
    selector, seen, begin = selectors.DefaultSelector(), Load(), time.perf_counter()
    end = begin + seconds

    def send(one: Connection) -> None:
        path = f"/search?k=10&q={quote_plus(next(texts))}"
        one.data.clear()
        one.sent = time.perf_counter()
        one.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def close(one: Connection) -> None:
        selector.unregister(one.sock)
        one.sock.close()

    for _ in range(CLIENTS):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        one = Connection(sock)
        selector.register(sock, selectors.EVENT_READ, one)
        send(one)
    while selector.get_map():
        ready = selector.select(20)
        if not ready:
            seen.unanswered += len(selector.get_map())
            break
        for key, _ in ready:
            one = key.data
            try:
                got = one.sock.recv(1 << 18)
            except ConnectionResetError:
                got = b""
            if not got:
                seen.unanswered += 1
                close(one)
                continue
            one.data += got
            head, found, body = one.data.partition(b"\r\n\r\n")
            if not found:
                continue
            fields = head.lower()
            at = fields.index(b"content-length:") + 15
            if len(body) < int(fields[at : fields.find(b"\r\n", at) if b"\r\n" in fields[at:] else None]):
                continue
            now = time.perf_counter()
            if head[9:12] == b"200":
                seen.latencies.append(now - one.sent)
                seen.body = bytes(body)
            else:
                seen.failed.append(bytes(body).decode())
            if b"connection: close" in fields or (now >= end and not until_closed):
                close(one)
            else:
                send(one)
    seen.seconds = time.perf_counter() - begin
    return seen


class Server:
    """A service in a process of its own, and how long it took to the first answer."""

    def __init__(self, index: Path, text: str, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "limbeck", "serve", str(index), "--port", str(self.port)]
        begin = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--log-level", "warning", *options], stderr=subprocess.DEVNULL
        )
        while True:
            try:
                self.get(f"/search?q={quote_plus(text)}")
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("the service did not start") from None
                time.sleep(0.01)
        self.start = time.perf_counter() - begin

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=20) as answer:
            return answer.read().decode()

    def counters(self) -> dict[str, float]:
        lines = (
            line.rsplit(" ", 1) for line in self.get("/metrics").splitlines() if line[:1] not in ("#", "")
        )
        return {name: float(value) for name, value in lines}

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit status and the seconds until the end."""
        begin = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.perf_counter() - begin


def measure(index: Path, texts: Callable[[], Iterator[str]], seconds: float, *options: str) -> dict:
    """Load a fresh service, after a second of warming up."""
    server = Server(index, next(texts()), *options)
    try:
        load(server.port, texts(), 1)
        before = server.counters()
        row = load(server.port, texts(), seconds).row()
        after = server.counters()
    finally:
        server.stop()

    def spent(name: str) -> float:
        return after.get(name, 0.0) - before.get(name, 0.0)

    wall = {stage: spent(f'limbeck_search_seconds_total{{stage="{stage}"}}') for stage in STAGES}
    batches = spent("limbeck_batch_queries_count")
    row |= {
        f"{stage}_share": round(value / (row["answers"] / row["per_second"]), 3)
        for stage, value in wall.items()
    }
    row["queries_per_batch"] = round(spent("limbeck_batch_queries_sum") / max(batches, 1), 1)
    row["cpu_ms_per_answer"] = round(1000 * spent("process_cpu_seconds_total") / row["answers"], 3)
    return row


def reload_under_load(index: Path, texts: Callable[[], Iterator[str]], seconds: float) -> dict:
    """Remove and add items every second while the clients ask."""
    server, stop, written = Server(index, next(texts())), threading.Event(), 0
    store = IndexStore.open(index)
    table, points = store.items_at(np.arange(20)), store.points_at(np.arange(20))
    ids = table.column("id").to_pylist()

    def write() -> None:
        nonlocal written
        while not stop.wait(1):
            if written % 2:
                add_batches(index, [(points, table)], StoreMeta(store.space, store.manifest.space_id))
            else:
                remove_items(index, ids)
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        row = load(server.port, texts(), seconds).row()
    finally:
        stop.set()
        writer.join()
    time.sleep(2)
    served = json.loads(server.get("/info"))["indexes"][0]["generation"]
    server.stop()
    return row | {
        "writes": written,
        "generation": served,
        "newest": IndexStore.open(index).manifest.generation,
    }


def sigterm_under_load(index: Path, texts: Callable[[], Iterator[str]], seconds: float) -> dict:
    server = Server(index, next(texts()))
    stopped: list[tuple[int, float]] = []
    timer = threading.Timer(seconds, lambda: stopped.append(server.stop()))
    timer.start()
    row = load(server.port, texts(), seconds, until_closed=True).row()
    timer.join()
    return row | {"exit_status": stopped[0][0], "seconds_to_end": round(stopped[0][1], 2)}


def starts(index: Path, text: str) -> dict:
    """Return the median of five starts in a process that cannot import torch."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')\n")
        os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
        times = []
        for _ in range(5):
            server = Server(index, text)
            times.append(round(server.start, 3))
            server.stop()
        os.environ["PYTHONPATH"] = os.environ["PYTHONPATH"].removeprefix(folder).removeprefix(os.pathsep)
    return {"first_answer_s": sorted(times)[2], "all_s": times}


def copies(source: Path, out: Path, rows: int, *, plain: bool = False, onnx: bool = True) -> Path:
    """Write an index of ``rows`` items with the encoder of another one."""
    store = IndexStore.open(source)
    found = store.encoder_for("text")
    assert found is not None and store.manifest.space_id is not None
    folder, entry = found
    encoder = EncoderSource(
        lambda at: shutil.copytree(folder, at, dirs_exist_ok=True, ignore=None if onnx else without_onnx),
        entry.space_id,
        dict(entry.modalities),
    )
    meta = StoreMeta(
        store.space, store.manifest.space_id, encoders=[encoder], media_root=store.manifest.media_root
    )
    rng = np.random.default_rng(0)

    def batches() -> Iterator[tuple[np.ndarray, object]]:
        for start in range(0, rows, 50_000):
            count = min(50_000, rows - start)
            ids = [f"item-{number:07d}" for number in range(start, start + count)]
            if plain:
                yield rng.integers(0, 256, (count, store.space.width), dtype=np.uint8), {"id": ids}
            else:
                at = np.arange(count) % store.rows
                yield store.points_at(at), store.items_at(at).to_pydict() | {"id": ids}

    calibrate(Searcher(IndexStore.build(out, batches(), meta)))  # as `limbeck index build` does
    return out


def without_onnx(folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name == "onnx"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("index", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", action="append")
    asked = parser.parse_args()
    captions = IndexStore.open(asked.index).items_at(np.arange(300)).column("captions").to_pylist()
    words = sorted({word for several in captions for text in several for word in text.split()})

    seeds = itertools.count()

    def distinct() -> Iterator[str]:
        draw = random.Random(next(seeds))
        return (" ".join(draw.choices(words, k=6)) for _ in itertools.count())

    def repeated() -> Iterator[str]:
        draw = random.Random(0)
        some = [" ".join(draw.choices(words, k=6)) for _ in range(200)]
        return (draw.choice(some) for _ in itertools.count())

    rows: dict[str, dict] = {}

    def row(name: str, make: Callable[[], dict]) -> None:
        if asked.only is None or name in asked.only:
            rows[name] = make()
            print(name, json.dumps(rows[name]), flush=True)

    with tempfile.TemporaryDirectory() as folder:
        some = copies(asked.index, Path(folder) / "eight", 8000)
        row("demo", lambda: measure(asked.index, distinct, asked.seconds))
        row("8000", lambda: measure(some, distinct, asked.seconds))
        row("single", lambda: measure(some, distinct, asked.seconds / 3, "--batch", "1"))
        if asked.only is None or "torch" in asked.only:
            torch = copies(asked.index, Path(folder) / "torch", 8000, onnx=False)
            row("torch", lambda: measure(torch, distinct, asked.seconds / 3, "--batch", "1"))
        row("repeated", lambda: measure(some, repeated, asked.seconds / 3))
        row("reload", lambda: reload_under_load(some, distinct, asked.seconds / 3))
        row("sigterm", lambda: sigterm_under_load(some, distinct, 3))
        row("start", lambda: starts(some, words[0]))
        if asked.only is None or "million" in asked.only:
            million = copies(asked.index, Path(folder) / "million", 1_000_000, plain=True)
            row("million", lambda: measure(million, distinct, asked.seconds / 2))
    for name in {"single", "torch"} & rows.keys() if "8000" in rows else ():
        rows["8000"][f"times_{name}"] = round(rows["8000"]["per_second"] / rows[name]["per_second"], 2)
    found = {
        "clients": CLIENTS, "seconds": asked.seconds, "cores": os.cpu_count(), "machine": platform.processor(),
        "load_before": os.getloadavg()[2], "rows": rows,
    }  # fmt: skip
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
