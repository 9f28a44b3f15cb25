"""Orders items of equal Hamming distance by the kept embeddings, then by row.

Codes are short, so many items have the same distance. If the index keeps embeddings and the query has one,
the nearer embedding comes first. All items at the k-th distance are ordered before the answer is cut to k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from limbeck.index.embeddings import embeddings_at
from limbeck.index.query import Answer
from limbeck.index.store import IndexStore

_GROWTH = 8
_CELLS = 1 << 20  # answers that are in memory at once
Nearest = Callable[[np.ndarray, int, Any], Answer]  # (points (Q, width), k, mask) to scores and rows (Q, k)


def nearest_settled(
    store: IndexStore,
    search: Nearest,
    points: np.ndarray,
    k: int,
    embeddings: np.ndarray,
    mask: object = None,
) -> list[Answer]:
    """Return the k nearest items of each query by (distance, embedding, row).

    Args:
        store: an index of codes that keeps embeddings.
        search: an engine whose answers are ordered by (distance, row).
        points: (Q, width).
        k: the number of hits, at least 1.
        embeddings: float32 (Q, D) from `checked_queries`; for a row of NaN, ties go by row.
        mask: the allowed items, in the engine's form.

    Returns:
        For each query the distances (k',) and rows (k',).
    """
    found: dict[int, Answer] = {}
    todo, wanted = np.arange(len(points)), 2 * k + 16
    while todo.size:
        size, open_ = max(1, _CELLS // wanted), []
        for block in (todo[start : start + size] for start in range(0, len(todo), size)):
            distances, rows = search(points[block], wanted, mask)
            for at, q in enumerate(block.tolist()):
                # The answer is full and its last item is as near as the k-th, so more ties may follow.
                if distances.shape[1] == wanted and distances[at, -1] == distances[at, k - 1]:
                    open_.append(q)
                    continue
                found[q] = ordered(store, distances[at], rows[at], embeddings[q], k)
        todo, wanted = np.array(open_, dtype=np.int64), _GROWTH * wanted
    return [found[q] for q in range(len(points))]


def ordered(
    store: IndexStore, distances: np.ndarray, rows: np.ndarray, embedding: np.ndarray, k: int | None = None
) -> Answer:
    """Return the first k items by (distance, embedding, row).

    Items without an embedding come last among those of their distance.

    Args:
        store: an index of codes that keeps embeddings.
        distances: (m,), ascending.
        rows: (m,), in the order of (distance, row).
        embedding: (D,), that of the query; NaN for none.
        k: the number of items; all by default.
    """
    kept, most = store.kept, len(rows) if k is None else min(k, len(rows))
    if kept is None or not most or np.isnan(embedding).any():
        return distances[:most], rows[:most]
    within = distances <= distances[most - 1]
    distances, rows = distances[within], rows[within]
    tied = np.flatnonzero(np.isin(distances, _repeated(distances)))
    order = np.zeros(len(rows))
    if tied.size:
        items = embeddings_at(store, rows[tied], lenient=True)
        there = ~np.isnan(items).any(axis=1)
        order[tied] = np.inf
        order[tied[there]] = -kept.score_sign * kept.scores(embedding, items[there])
    best = np.lexsort((rows, order, distances))[:most]
    return distances[best], rows[best]


def _repeated(values: np.ndarray) -> np.ndarray:
    """Return the values (m,) that occur more than once."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct[counts > 1]
