"""Scans by numpy, for stores that are searched sooner than numba is imported, and where numba is missing."""

from __future__ import annotations

import numpy as np

Answer = tuple[np.ndarray, np.ndarray]
_CELLS = 1 << 24  # products of vectors that are in memory at once


def nearest_codes(
    queries: np.ndarray, items: np.ndarray, k: int, *, mask: np.ndarray | None = None
) -> Answer:
    """Return the same as `limbeck.index.exact.search_codes`."""
    allowed = np.arange(len(items)) if mask is None else np.flatnonzero(mask)
    items, k = items if mask is None else items[allowed], min(k, len(allowed))
    distances, rows = np.empty((len(queries), k), np.int32), np.empty((len(queries), k), np.int64)
    for q in range(len(queries) if k else 0):
        found = _distances(queries[q], items)
        near = np.flatnonzero(found <= np.partition(found, k - 1)[k - 1])
        best = near[np.argsort(found[near], kind="stable")[:k]]
        distances[q], rows[q] = found[best], allowed[best]
    return distances, rows


def codes_within(
    queries: np.ndarray, items: np.ndarray, radius: int, *, mask: np.ndarray | None = None
) -> list[Answer]:
    """Return the same as `limbeck.index.exact.search_radius`."""
    answers = []
    for query in queries:
        found = _distances(query, items)
        near = np.flatnonzero(found <= radius if mask is None else (found <= radius) & mask)
        best = near[np.argsort(found[near], kind="stable")]
        answers.append((found[best].astype(np.int32), best))
    return answers


def highest_vectors(
    queries: np.ndarray, items: np.ndarray, k: int, *, mask: np.ndarray | None = None
) -> Answer:
    """Return the items of highest inner product like `limbeck.index.exact.search_vectors`.

    BLAS rounds a product differently at other places of a matrix, so the order is that of float32 only;
    `limbeck.index.exact_rescore` makes it exact.
    """
    allowed = np.arange(len(items)) if mask is None else np.flatnonzero(mask)
    items, k = items if mask is None else items[allowed], min(k, len(allowed))
    scores, rows = np.empty((len(queries), k), np.float32), np.empty((len(queries), k), np.int64)
    size = max(1, _CELLS // max(1, len(items)))
    for start in range(0, len(queries) if k else 0, size):
        products = queries[start : start + size].astype(np.float32, copy=False) @ items.T
        best = np.argpartition(products, len(items) - k, axis=1)[:, len(items) - k :]
        found = np.take_along_axis(products, best, 1)
        order = np.lexsort((best, -found), axis=1)
        scores[start : start + size] = np.take_along_axis(found, order, 1)
        rows[start : start + size] = allowed[np.take_along_axis(best, order, 1)]
    return scores, rows


def _distances(query: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Return the Hamming distances of one code (B,) to codes (N, B), unsigned integers (N,)."""
    size = next(size for size in (8, 4, 2, 1) if len(query) % size == 0)
    words = np.ascontiguousarray(items).view(f"u{size}")
    differing = words ^ np.ascontiguousarray(query).view(f"u{size}")
    if differing.shape[1] == 1:
        return np.bitwise_count(differing[:, 0])
    distances = np.zeros(len(words), dtype=np.uint16)
    for column in differing.T:
        distances += np.bitwise_count(column)
    return distances
