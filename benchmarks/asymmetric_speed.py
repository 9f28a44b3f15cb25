"""Processor time of an asymmetric query on a million codes, by numpy and compiled, beside the plain search.

    python benchmarks/asymmetric_speed.py [--out docs/results/parts/asymmetric-speed.json]

One thread, ten hits, random codes and queries; the least of some repetitions after a first call.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np

from limbeck.files import write_json
from limbeck.index import asymmetric
from limbeck.index.asymmetric import AsymmetricSearch
from limbeck.index.exact import search_codes
from limbeck.index.scan_numpy import nearest_codes
from limbeck.spaces import Hamming

ROWS, LENGTHS, K, REPEATS = 1_000_000, (64, 128, 256), 10, 15


def milliseconds(call: Callable[[], object]) -> float:
    """The least processor time of a call on this thread."""
    call()
    times = []
    for _ in range(REPEATS):
        begin = time.thread_time()
        call()
        times.append(time.thread_time() - begin)
    return round(1e3 * min(times), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    rng, rows = np.random.default_rng(0), []
    for bits in LENGTHS:
        codes = rng.integers(0, 256, (ROWS, bits // 8), np.uint8)
        held = SimpleNamespace(space=Hamming(bits), points=[codes], starts=[0, ROWS], rows=ROWS, alive=None)
        numbers = rng.standard_normal((1, bits)).astype(np.float32)
        plain = np.packbits(numbers >= 0, axis=1)
        row: dict[str, Any] = {"bits": bits}
        for name, limit in (("numpy", 1 << 62), ("compiled", 0)):
            with mock.patch.object(asymmetric, "_BY_NUMPY", limit):
                search = AsymmetricSearch(cast(Any, held))
                row[name] = milliseconds(partial(search, numbers, K))
        row["plain, numpy"] = milliseconds(partial(nearest_codes, plain, codes, K))
        row["plain, compiled"] = milliseconds(partial(search_codes, plain, codes, K, threads=1))
        rows.append(row)
        print(row, flush=True)
    if out is not None:
        write_json(out, {"rows": rows, "codes": ROWS, "k": K, "largest": asymmetric.LARGEST})


if __name__ == "__main__":
    main()
