"""Compute all Hamming distances of two small sets; for large sets limbeck builds no Q × N matrix."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.kernel import kernel
from limbeck.codes.packing import as_words, check_code_pair
from limbeck.codes.threads import run_threads, spans, thread_count
from limbeck.codes.words import fill_distances


def hamming_distances(queries: ArrayLike, items: ArrayLike, *, threads: int | None = None) -> np.ndarray:
    """Compute the Hamming distance of every query to every item.

    Args:
        queries: packed codes, uint8 (Q, B).
        items: packed codes, uint8 (N, B).
        threads: number of threads; one per core if None.

    Returns:
        int32 (Q, N).

    Raises:
        LimbeckError: the codes are invalid or differ in length.
    """
    left, right = (as_words(codes) for codes in check_code_pair(queries, items))
    result = np.empty((len(left), len(right)), dtype=np.int32)
    workers = thread_count(threads)
    tasks = [
        functools.partial(_distance_rows, left[start:stop], right, result[start:stop])
        for start, stop in spans(len(left), workers)
    ]
    run_threads(tasks, workers)
    return result


@kernel
def _distance_rows(queries: np.ndarray, items: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    for q in range(queries.shape[0]):
        fill_distances(items, queries[q], out[q])
