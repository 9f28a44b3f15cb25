"""Pack multi-hot labels into bit sets; two rows are relevant to each other if they share a label."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.packing import read_only
from limbeck.errors import LimbeckError


def label_words(labels: ArrayLike, rows: int, what: str) -> np.ndarray:
    """Pack labels into read-only uint64 words.

    One AND of words then tests for a shared label, so no 2,000 × 190,000 relevance matrix is needed.

    Args:
        labels: bool (or 0 and 1), (N, C).
        rows: the expected N.
        what: name of the array, for errors.

    Returns:
        uint64 (N, ceil(C / 64)).

    Raises:
        LimbeckError: the shape or the values are invalid.
    """
    array = np.asarray(labels)
    if array.ndim != 2 or array.shape[1] == 0:
        raise LimbeckError(
            f"{what}: has shape {array.shape}, expected (N, C) with one column per label",
            code="E-ARRAY-SHAPE",
        )
    if len(array) != rows:
        raise LimbeckError(
            f"{what}: has {len(array)} rows for {rows} codes; give one row per code", code="E-ARRAY-ROWS"
        )
    if array.dtype != np.bool_:
        if array.dtype.kind not in "iuf" or not ((array == 0) | (array == 1)).all():
            raise LimbeckError(
                f"{what}: holds values other than 0 and 1; give bool, or 0 and 1", code="E-ARRAY-VALUES"
            )
        array = array.astype(np.bool_)
    packed = np.packbits(array, axis=1)
    words = np.zeros((rows, -(-packed.shape[1] // 8) * 8), dtype=np.uint8)
    words[:, : packed.shape[1]] = packed
    return read_only(words.view(np.uint64))


def label_word_pair(
    query_labels: ArrayLike, item_labels: ArrayLike, queries: int, items: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pack the labels of queries and items by `label_words`; both must have the same columns."""
    left, right = np.asarray(query_labels), np.asarray(item_labels)
    if left.ndim == right.ndim == 2 and left.shape[1] != right.shape[1]:
        raise LimbeckError(
            f"query_labels: {left.shape[1]} labels, but item_labels has {right.shape[1]}; give equal columns",
            code="E-ARRAY-SHAPE",
        )
    return label_words(left, queries, "query_labels"), label_words(right, items, "item_labels")
