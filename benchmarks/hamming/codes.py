"""The codes: random ones, and real ones made by limbeck's ITQ from features of pictures, tiled with noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck.codes.quantization import itq
from limbeck.data.synthetic.draw import draw_scene
from limbeck.data.synthetic.sample import sample_scene
from limbeck.index.exact import search_codes

HELD_OUT, ROWS = 1000, 1 << 18
TIED = 50
"""Queries whose ties are counted."""


@dataclass(frozen=True)
class Task:
    """Codes, queries, and the right answer.

    Attributes:
        name: source, length and number of codes.
        codes: (n, bytes), memory-mapped.
        queries: (1000, bytes), not among the codes.
        limit: (1000,), distance of the exact k-th neighbour.
        ties: per query (50 of them) items nearer than the k-th, and items as near as it.
    """

    name: str
    codes: np.ndarray
    queries: np.ndarray
    limit: np.ndarray
    ties: np.ndarray


def features_of_scenes(work: Path, count: int = 12_000) -> np.ndarray:
    """Pixels of pictures that limbeck draws, uint8 (count, 3072): the same for everybody."""
    file = work / f"scenes-{count}.npy"
    if not file.exists():
        pictures = np.empty((count, 32 * 32 * 3), dtype=np.uint8)
        for number in range(count):
            rng = np.random.default_rng([0, number])
            pictures[number] = np.asarray(draw_scene(sample_scene(rng), rng, 32)).ravel()
        np.save(file, pictures)
    return np.load(file)


def real_codes(features: np.ndarray, bits: int) -> np.ndarray:
    """ITQ codes of all features, fitted to 10,000 of them, in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(features))
    features = features[order].astype(np.float32)
    return itq(features[HELD_OUT:][:10_000], bits, seed=0).encode(features)


def write_codes(file: Path, base: np.ndarray | None, count: int, width: int) -> None:
    """Random codes, or copies of real ones with each bit flipped with a probability of .02 to .2 per copy."""
    rng = np.random.default_rng(count)
    aside = file.with_suffix(".part.npy")
    codes = np.lib.format.open_memmap(aside, mode="w+", dtype=np.uint8, shape=(count, width))
    for start in range(0, count, ROWS):
        rows = np.arange(start, min(start + ROWS, count))
        if base is None:
            codes[rows] = rng.integers(0, 256, (len(rows), width), dtype=np.uint8)
        else:
            share = rng.uniform(0.02, 0.2, (len(rows), 1)).astype(np.float32)
            flips = rng.random((len(rows), 8 * width), dtype=np.float32) < share
            codes[rows] = base[rows % len(base)] ^ np.packbits(flips, axis=1)
    codes.flush()
    aside.rename(file)


def count_ties(queries: np.ndarray, codes: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Per query the items nearer than the limit and those at it, int64 (Q, 2)."""
    words, found = codes.view(np.uint64), np.zeros((len(queries), 2), dtype=np.int64)
    for at, query in enumerate(queries.view(np.uint64)):
        for start in range(0, len(words), 1 << 22):
            distances = np.bitwise_count(words[start : start + (1 << 22)] ^ query).sum(
                axis=1, dtype=np.uint16
            )
            found[at] += (distances < limit[at]).sum(), (distances == limit[at]).sum()
    return found


def task(kind: str, bits: int, count: int, k: int, work: Path, features: Path | None) -> Task:
    """A task, made once and kept in ``work``."""
    source = "random" if kind == "random" else "scenes" if features is None else features.stem
    name = f"{source}-{bits}-{count}"
    file, answer = work / f"{name}.npy", work / f"{name}-k{k}.npz"
    if not (file.exists() and answer.exists()):
        queries, base = _queries(kind, bits, work, features)
        if not file.exists():
            write_codes(file, base, count, bits // 8)
        codes = np.load(file, mmap_mode="r")
        blocks = [search_codes(queries[at : at + 100], codes, k)[0][:, -1] for at in range(0, HELD_OUT, 100)]
        limit = np.concatenate(blocks)
        np.savez(answer, queries=queries, limit=limit, ties=count_ties(queries[:TIED], codes, limit))
    held = np.load(answer)
    return Task(name, np.load(file, mmap_mode="r"), held["queries"], held["limit"], held["ties"])


def _queries(kind: str, bits: int, work: Path, features: Path | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Queries, and for real codes those that are tiled."""
    if kind == "random":
        return np.random.default_rng(1).integers(0, 256, (HELD_OUT, bits // 8), dtype=np.uint8), None
    codes = real_codes(features_of_scenes(work) if features is None else np.load(features), bits)
    return codes[:HELD_OUT], codes[HELD_OUT:]
