"""What `benchmarks/search.py` searches: random and real codes, an index over them, and a plain C pass."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from limbeck.codes.threads import run_threads, spans
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming, Space

ROWS = 1 << 20
HELD_OUT = 1000

_SOURCE = """
#include <stdint.h>
#include <stddef.h>
uint64_t pass(const uint64_t *codes, size_t count, uint64_t query) {
    uint64_t least = 64;
    for (size_t i = 0; i < count; i++) {
        uint64_t distance = (uint64_t)__builtin_popcountll(codes[i] ^ query);
        if (distance < least) least = distance;
    }
    return least;
}
uint64_t total(const uint64_t *codes, size_t count, uint64_t query) {
    uint64_t sum = query;
    for (size_t i = 0; i < count; i++) sum += codes[i];
    return sum;
}
"""


def c_pass(name: str = "pass") -> Callable[[np.ndarray, np.ndarray, int], int]:
    """A loop in C over 64-bit codes (N, 8) for one query (8,), cut into so many threads.

    "pass" reads, xors, counts bits and keeps the minimum; "total" only reads and adds.
    """
    folder = Path(tempfile.mkdtemp())
    (folder / "pass.c").write_text(_SOURCE)
    command = ["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", folder / "pass.so", folder / "pass.c"]
    subprocess.run(command, check=True)
    loop = getattr(ctypes.CDLL(str(folder / "pass.so")), name)
    loop.argtypes, loop.restype = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64], ctypes.c_uint64

    def run(items: np.ndarray, query: np.ndarray, threads: int) -> int:
        words, word = items.view(np.uint64).ravel(), int(query.view(np.uint64)[0])
        tasks = [
            functools.partial(loop, words.ctypes.data + 8 * start, stop - start, word)
            for start, stop in spans(len(words), threads)
        ]
        found = run_threads(tasks, threads)
        return min(found) if name == "pass" else sum(found)

    return run


def codes_of(kind: str, count: int, work: Path, source: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Memory-mapped 64-bit codes (count, 8) and queries (HELD_OUT, 8) that are not among them.

    "random": uniform bits. "real": the codes of an index but for the held-out ones, tiled, each bit flipped
    with a probability that is drawn for each copy between .02 and .2.
    """
    rng = np.random.default_rng(count)
    file = work / f"{kind}-{count}.npy"
    if kind == "real":
        if source is None:
            raise SystemExit("real codes: give --source INDEX, an index of 64-bit codes")
        base = np.concatenate(IndexStore.open(source).points)
        order = np.random.default_rng(0).permutation(len(base))
        queries, base = base[order[:HELD_OUT]], base[order[HELD_OUT:]]
    else:
        queries, base = np.random.default_rng(1).integers(0, 256, (HELD_OUT, 8), dtype=np.uint8), None
    if not file.exists():
        aside = file.with_suffix(".part.npy")
        codes = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(count, 8))
        for start in range(0, count, ROWS):
            rows = np.arange(start, min(start + ROWS, count))
            if base is None:
                codes[rows] = rng.integers(0, 256, (len(rows), 8), dtype=np.uint8)
            else:
                share = rng.uniform(0.02, 0.2, (len(rows), 1)).astype(np.float32)
                flips = rng.random((len(rows), 64), dtype=np.float32) < share
                codes[rows] = base[rows % len(base)] ^ np.packbits(flips, axis=1)
        codes.flush()
        aside.rename(file)
    return np.load(file, mmap_mode="r"), queries


def index_of(points: np.ndarray, path: Path, space: Space | None = None) -> IndexStore:
    """An index of points with the ids i0, i1, …; built once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def batches() -> Iterator[tuple[np.ndarray, pa.Table]]:
        for start in range(0, len(points), 1 << 16):
            block = points[start : start + (1 << 16)]
            numbers = pa.array(np.arange(start, start + len(block))).cast(pa.string())
            yield block, pa.table({"id": pc.binary_join_element_wise("i", numbers, "")})

    if not (path / "manifest-1.json").exists():
        IndexStore.build(path, batches(), StoreMeta(space or Hamming(8 * points.shape[1])))
    return IndexStore.open(path)
