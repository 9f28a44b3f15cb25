"""Computes the centroids of an inverted file over codes: k-means with majority votes (k-majority).

Grana, Borghesani, Manfredi and Cucchiara, "A fast approach for integrating ORB descriptors in the bag of
words model", 2013.
"""

from __future__ import annotations

import numpy as np

from limbeck.index.exact import search_codes

_ROUNDS = 10


def nearest_centres(codes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return int64 (N,): the nearest centroid of each code; ties go to the first."""
    return search_codes(codes, centres, 1)[1][:, 0]


def majority_centres(sample: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Return up to ``count`` distinct centroids, uint8 (L, B), of a sample of packed codes (N, B)."""
    rng = np.random.default_rng(seed)
    different = np.unique(sample, axis=0)
    centres = different[np.sort(rng.permutation(len(different))[:count])]
    if len(different) <= count:
        return centres
    for _ in range(_ROUNDS):
        cell = nearest_centres(sample, centres)
        order = np.argsort(cell, kind="stable")
        held, first = np.unique(cell[order], return_index=True)
        ones = np.add.reduceat(np.unpackbits(sample[order], axis=1), first, axis=0, dtype=np.int64)
        size = np.diff([*first, len(sample)])[:, None]
        moved = centres.copy()
        before = np.unpackbits(centres[held], axis=1)
        moved[held] = np.packbits(np.where(2 * ones == size, before, 2 * ones > size), axis=1)
        empty = np.setdiff1d(np.arange(len(centres)), held)
        moved[empty] = different[rng.integers(0, len(different), len(empty))]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.unique(centres, axis=0)
