"""Run pages of the guide literally, as a reader would, and take their time.

    python benchmarks/tutorials.py docs/start.md … --folder try --json docs/results/parts/guide.json

Each command is a process of its own, with whole trainings. What a page takes for granted is generated (tests/docs).
Seconds of the processor count; the clock depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/docs"), str(ROOT / "tests")]

from docs_made import Made  # noqa: E402
from docs_markdown import Block, blocks  # noqa: E402
from docs_shell import lines  # noqa: E402
from test_docs_run import ALSO, NEEDS  # noqa: E402

from limbeck.files import write_json  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("page", nargs="+")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    made = Made(options.folder / "made")
    made.folder.mkdir(parents=True)
    for page in options.page:
        place = options.folder / page.replace("/", "-").removesuffix(".md")
        place.mkdir()
        made.copy([*NEEDS.get(page, []), *ALSO.get(page, [])], place)
        row = walk(ROOT / page, place)
        known = (
            json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {"pages": {}}
        )
        known["pages"][page] = row
        write_json(options.json, known)
        print(page, row, flush=True)


def walk(page: Path, place: Path) -> dict[str, float | int]:
    """Run all blocks of a page in a folder."""
    os.chdir(place)
    os.environ["HOME"] = str(place)
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    before, start, commands = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    for block in blocks(page):
        if block.file is not None:
            Path(block.file).write_text(block.body, encoding="utf-8")
        elif block.run and block.language != "yaml":
            commands += run(block)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return {"commands": commands, "cpu_s": round(seconds, 1), "clock_s": round(time.monotonic() - start, 1)}


def run(block: Block) -> int:
    """Run a block and return the number of its commands."""
    if block.language == "python":
        subprocess.run([sys.executable, "-c", block.body], check=True)
        return 1
    count = 0
    for words in lines(block):
        if words[0] != "limbeck":
            continue
        command = [sys.executable, "-m", *words]
        if words[1] == "serve":
            service = subprocess.Popen([*command, "--port", "8765"], stderr=subprocess.PIPE, text=True)
            assert service.stderr and any("serves" in line for line in service.stderr)
            try:
                urllib.request.urlopen("http://127.0.0.1:8765/", timeout=60).close()
            finally:
                service.send_signal(signal.SIGTERM)
            assert service.wait() == 0
        else:
            subprocess.run(command, check=True)
        count += 1
    return count


if __name__ == "__main__":
    main()
