"""Multi-hot labels as bit sets: two things are relevant to each other if they share at least one label."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.words import read_only
from limbeck.errors import LimbeckError


def label_words(labels: ArrayLike, rows: int, what: str) -> np.ndarray:
    """Pack labels, bool (or 0/1) (N, C), into read-only uint64 (N, ceil(C / 64)).

    Sharing a label is then one AND of words, which keeps a 2,000 x 190,000 relevance matrix out of memory.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.shape[1] == 0:
        raise LimbeckError(f"{what}: has shape {array.shape}, expected (N, C) with one column a label")
    if len(array) != rows:
        raise LimbeckError(f"{what}: has {len(array)} rows for {rows} codes")
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not ((array == 0) | (array == 1)).all():
            raise LimbeckError(f"{what}: must be bool, or 0 and 1 throughout")
        array = array.astype(np.bool_)
    packed = np.packbits(array, axis=1)
    words = np.zeros((rows, -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    words[:, : packed.shape[1]] = packed
    return read_only(words.view(np.uint64))


def label_word_pair(
    query_labels: ArrayLike, item_labels: ArrayLike, queries: int, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """`label_words` of both sides, which must know the same labels."""
    left, right = np.asarray(query_labels), np.asarray(item_labels)
    if left.ndim == right.ndim == 2 and left.shape[1] != right.shape[1]:
        raise LimbeckError(f"query_labels: {left.shape[1]} labels, but item_labels has {right.shape[1]}")
    return label_words(left, queries, "query_labels"), label_words(right, items, "item_labels")
