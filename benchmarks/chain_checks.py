"""Measure what docs/results/chain.md says of the program itself: one large mAP, its memory, the start of the command.

python benchmarks/chain_checks.py [--json docs/results/parts/chain-checks.json]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from claims import Claims
from limbeck.files import write_json
from limbeck.metrics import hamming_map

COMMAND = "python benchmarks/chain_checks.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/chain-checks.json"))
    options = parser.parse_args()
    claims = Claims()
    average_precision(claims)
    command_line(claims)
    write_json(options.json, claims.rows)
    for row in claims.rows:
        print(f"{row['claim']}: {row['value']:g} {row['unit']}")


def average_precision(claims: Claims) -> None:
    rng = np.random.default_rng(0)
    codes = [rng.integers(0, 256, (n, 8), dtype=np.uint8) for n in (2000, 190_000)]
    labels = [rng.random((n, 24)) < 0.1 for n in (2000, 190_000)]
    hamming_map(codes[0][:10], codes[1][:100], labels[0][:10], labels[1][:100])
    began = time.perf_counter()
    hamming_map(*codes, *labels)
    seconds = time.perf_counter() - began
    claims.add("hamming_map, 2,000 x 190,000, 64 bits, 24 labels", COMMAND, seconds, "s", 5, below=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    note = "whole process, imports included"
    claims.add("peak memory of that process", COMMAND, peak, "GiB", 1, below=True, note=note)


def command_line(claims: Claims) -> None:
    limbeck = str(Path(sys.executable).with_name("limbeck"))
    times = []
    for _ in range(7):
        began = time.perf_counter()
        subprocess.run([limbeck, "--help"], check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    claims.add("limbeck --help, median of 7", "limbeck --help", median, "s", 0.5, below=True)
    check = "import sys, limbeck; print(int('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True)
    claims.add(
        "torch in sys.modules after import limbeck", f"python -c {json.dumps(check)}", int(done.stdout), "modules",
        0, below=True, note="limbeck search --codes: tests/test_search_cli.py",
    )  # fmt: skip


if __name__ == "__main__":
    main()
