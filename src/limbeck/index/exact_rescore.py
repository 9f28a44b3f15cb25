"""Finds exact nearest neighbours with any engine that ranks by a float32 inner product (ours).

A float32 sum cannot distinguish near neighbours: on the hyperboloid, two large numbers cancel. Therefore more
than k candidates are fetched, and the space scores them in float64. They suffice if the engine's last answer
is farther than any item as near as the k-th could appear with rounding errors; otherwise more are fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.spaces import Space

_GROWTH = 4
_FLOAT32_MAX = float(np.finfo(np.float32).max)
BLOCK_CELLS = 1 << 22  # answers or coordinates that are in memory at once


@dataclass(frozen=True)
class Source:
    """Holds the items of a search and an engine over them.

    Attributes:
        search: maps (queries of `Space.index_queries` (Q, columns), m) to (inner products (Q, m), rows
            (Q, m)), highest first, for any m up to ``rows``.
        points: maps row numbers (n,) to their stored points (n, width).
        rows: the number of allowed items.
        longest: the greatest Euclidean norm of a row of `Space.index_items`.
        allowed: the allowed row numbers (rows,); None if they are 0 to ``rows`` - 1.
    """

    search: Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]
    points: Callable[[np.ndarray], np.ndarray]
    rows: int
    longest: float
    allowed: np.ndarray | None = None


def longest_row(vectors: np.ndarray) -> float:
    """Return the greatest Euclidean norm of the rows (N, D); 0 without rows."""
    squares = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return float(np.sqrt(squares.max(initial=0)))


def nearest(space: Space, source: Source, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest items of each query, by the float64 score of the space.

    Args:
        space: the space of the points; its engine must return inner products.
        source: the items and the engine.
        queries: (Q, width) points of the space.
        k: the number of hits, at least 1; a larger k than items returns all.

    Returns:
        (scores float64 (Q, k'), rows int64 (Q, k')), nearest first, ties by row.

    Raises:
        LimbeckError: the queries are not points of the space.
    """
    engine_queries = space.index_queries(queries)
    k = min(k, source.rows)
    scores, rows = np.empty((len(engine_queries), k)), np.empty((len(engine_queries), k), dtype=np.int64)
    if not k:
        return scores, rows
    todo, fetched = np.arange(len(engine_queries)), 2 * k + 16
    while todo.size:
        fetched = fetched if 2 * fetched <= source.rows else source.rows  # more than half: fetch all
        size, unsettled = max(1, BLOCK_CELLS // fetched), []
        for block in (todo[start : start + size] for start in range(0, len(todo), size)):
            raw, candidate_rows = _candidates(source, engine_queries[block], fetched)
            for q, last, candidates in zip(block, raw, candidate_rows, strict=True):
                query = queries[q : q + 1]
                scores[q], rows[q] = _best(space, source, query, candidates, k)
                if fetched < source.rows:
                    limit = space.raw_limit(query, scores[q, -1:], source.longest)[0]
                    if not last < limit:
                        unsettled.append(q)
        todo, fetched = np.array(unsettled, dtype=np.int64), _GROWTH * fetched
    return scores, rows


def range_search(
    space: Space,
    source: Source,
    arrays: Sequence[np.ndarray],
    query: np.ndarray,
    radius: float,
    allowed: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return every item within a radius of one query, by the float64 score of the space.

    Args:
        space: the space of the points.
        source: the items; its engine is not used.
        arrays: the rows of `Space.index_items`, in consecutive pieces.
        query: (1, width).
        radius: the greatest distance, or the least similarity.
        allowed: bool (N,), True for allowed rows; all by default.

    Returns:
        scores float64 (m,) and rows int64 (m,), by row.
    """
    engine_queries = space.index_queries(query)[0]
    with np.errstate(over="ignore"):  # an overflow gives -inf: every item is a candidate
        limit = float(space.raw_limit(query, np.array([radius]), source.longest)[0])
    limit = max(limit, -_FLOAT32_MAX)  # comparable with float32
    near, start = [], 0
    for array in arrays:
        size = max(1, BLOCK_CELLS // array.shape[1])
        for first in range(0, len(array), size):
            candidates = np.flatnonzero(array[first : first + size] @ engine_queries >= limit) + first + start
            near.append(candidates if allowed is None else candidates[allowed[candidates]])
        start += len(array)
    rows = np.concatenate(near) if near else np.empty(0, dtype=np.int64)
    size = max(1, BLOCK_CELLS // space.width)
    parts = [
        space.rescore(query, source.points(rows[first : first + size])) for first in range(0, len(rows), size)
    ]
    scores = np.concatenate(parts) if parts else np.empty(0)
    kept = space.score_sign * scores >= space.score_sign * radius
    return scores[kept], rows[kept]


def _candidates(source: Source, engine_queries: np.ndarray, fetched: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the engine's last inner product (Q,) and rows (Q, fetched); if all rows fit, skip the engine."""
    if fetched == source.rows:
        every = np.arange(fetched) if source.allowed is None else source.allowed
        return np.full(len(engine_queries), -np.inf), np.broadcast_to(every, (len(engine_queries), fetched))
    raw, candidate_rows = source.search(engine_queries, fetched)
    return np.asarray(raw, dtype=np.float64)[:, -1], candidate_rows


def _best(
    space: Space, source: Source, query: np.ndarray, candidates: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores and rows of the k nearest candidates of one query (1, width)."""
    size = max(1, BLOCK_CELLS // space.width)
    parts = [
        space.rescore(query, source.points(candidates[start : start + size]))
        for start in range(0, len(candidates), size)
    ]
    scores = np.concatenate(parts)
    order = np.lexsort((candidates, -space.score_sign * scores))[:k]
    return scores[order], candidates[order]
