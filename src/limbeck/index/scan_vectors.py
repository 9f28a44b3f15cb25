"""Contains the kernel of the exact search by inner product (ours).

BLAS may compute a product differently at different places of a matrix. Equal items would then differ in the
last digit, and ties would be broken by chance. Here a score depends on the two vectors only, not on the row,
the other queries, or the number of threads. Four queries share each read of an item, so that this is as fast
as a matrix product followed by a selection.
"""

from __future__ import annotations

import functools

import numpy as np

from limbeck.codes.kernel import kernel

SLICE = 512  # items whose vectors stay in the second-level cache for all queries
GROUP = 4  # queries that share a read


@kernel
def scan_highest(
    items: np.ndarray,
    queries: np.ndarray,
    mask: np.ndarray,
    first_row: int,
    scores: np.ndarray,
    rows: np.ndarray,
) -> int:  # pragma: no cover
    """Find the k items of highest inner product in one stretch of items for each query, unordered.

    Args:
        items: float32 (n, D).
        queries: float32 (q, D), q a multiple of `GROUP`.
        mask: uint8 (n,), 1 for allowed rows; empty if all are allowed.
        first_row: number of the first item, added to the rows.
        scores: float32 (q, k), an output: a heap with the worst on top.
        rows: int64 (q, k), an output; -1 marks places without an item.

    Returns:
        -1, or the row of an item whose score is NaN.
    """
    held = np.zeros(queries.shape[0], dtype=np.int64)
    found = np.empty((GROUP, SLICE), dtype=np.float32)
    rows[:] = -1
    scores[:] = -np.inf
    for start in range(0, items.shape[0], SLICE):
        piece = items[start : start + SLICE]
        for first in range(0, queries.shape[0], GROUP):
            _products(piece, queries[first : first + GROUP], found)
            for lane in range(GROUP):
                q = first + lane
                line = found[lane, : piece.shape[0]]
                if held[q] == scores.shape[1] and not _any_above(line, scores[q, 0]):
                    continue
                for i in range(piece.shape[0]):
                    if mask.shape[0] and not mask[start + i]:
                        continue
                    if line[i] != line[i]:
                        return first_row + start + i
                    row = first_row + start + i
                    if held[q] < scores.shape[1]:
                        held[q] += 1
                        _rise(scores[q], rows[q], held[q] - 1, line[i], row)
                    elif line[i] > scores[q, 0]:
                        _sink(scores[q], rows[q], line[i], row)
    return -1


@functools.partial(kernel, fastmath={"reassoc", "contract", "nsz"})
def _products(items: np.ndarray, queries: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    first, second, third, fourth = queries[0], queries[1], queries[2], queries[3]
    for i in range(items.shape[0]):
        item = items[i]
        a, b, c, d = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for j in range(item.shape[0]):
            a += item[j] * first[j]
            b += item[j] * second[j]
            c += item[j] * third[j]
            d += item[j] * fourth[j]
        out[0, i], out[1, i], out[2, i], out[3, i] = a, b, c, d


@kernel
def _any_above(line: np.ndarray, bar: float) -> bool:  # pragma: no cover
    """Return whether a value is above the bar or NaN; without an early exit, so that it vectorises."""
    above = 0
    for i in range(line.shape[0]):
        above += not line[i] <= bar
    return above > 0


@kernel
def _worse(score: float, row: int, other_score: float, other_row: int) -> bool:  # pragma: no cover
    return score < other_score or (score == other_score and row > other_row)


@kernel
def _rise(scores: np.ndarray, rows: np.ndarray, at: int, score: float, row: int) -> None:  # pragma: no cover
    """Insert an entry at the end of the heap and move it up while it is worse than its parent."""
    while at > 0:
        parent = (at - 1) // 2
        if not _worse(score, row, scores[parent], rows[parent]):
            break
        scores[at], rows[at] = scores[parent], rows[parent]
        at = parent
    scores[at], rows[at] = score, row


@kernel
def _sink(scores: np.ndarray, rows: np.ndarray, score: float, row: int) -> None:  # pragma: no cover
    """Replace the worst entry, at the top, and move the new one down below all worse ones."""
    at, size = 0, scores.shape[0]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _worse(scores[child + 1], rows[child + 1], scores[child], rows[child]):
            child += 1
        if not _worse(scores[child], rows[child], score, row):
            break
        scores[at], rows[at] = scores[child], rows[child]
        at = child
    scores[at], rows[at] = score, row
