"""Items of equal distance: the kept embeddings decide, then the row.

Codes are short, so many items lie at one distance. Where the index keeps embeddings and the query has one,
the nearer embedding comes first; and the group at the k-th distance is taken whole before it is cut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from limbeck.index.embeddings import embeddings_at, kept_of
from limbeck.index.query import Answer
from limbeck.index.store import IndexStore

_GROWTH = 8
_CELLS = 1 << 20  # answers of a search held at once
Nearest = Callable[[np.ndarray, int, Any], Answer]  # (points (Q, width), k, mask) to scores and rows (Q, k)


def nearest_settled(
    store: IndexStore,
    search: Nearest,
    points: np.ndarray,
    k: int,
    embeddings: np.ndarray,
    mask: Any = None,
) -> list[Answer]:
    """The k nearest items of each query by (distance, embedding, row).

    Args:
        store: an index of codes that keeps embeddings.
        search: an engine; its answers are ordered by (distance, row).
        points: (Q, width).
        k: at least 1.
        embeddings: float32 (Q, D), of `checked_queries`; a row of NaN leaves its query's ties to the row.
        mask: the items that may be found, as the engine takes it.

    Returns:
        For each query distances (k',) and rows (k',).
    """
    found: dict[int, Answer] = {}
    todo, wanted = np.arange(len(points)), 2 * k + 16
    while todo.size:
        size, open_ = max(1, _CELLS // wanted), []
        for block in (todo[start : start + size] for start in range(0, len(todo), size)):
            distances, rows = search(points[block], wanted, mask)
            for at, q in enumerate(block.tolist()):
                # As many as asked for, and the last as near as the k-th: there may be more of that distance.
                if distances.shape[1] == wanted and distances[at, -1] == distances[at, k - 1]:
                    open_.append(q)
                    continue
                found[q] = ordered(store, distances[at], rows[at], embeddings[q], k)
        todo, wanted = np.array(open_, dtype=np.int64), _GROWTH * wanted
    return [found[q] for q in range(len(points))]


def ordered(
    store: IndexStore, distances: np.ndarray, rows: np.ndarray, embedding: np.ndarray, k: int | None = None
) -> Answer:
    """The first k of some items (m,), in the order of distance and row, by (distance, embedding, row).

    An item without an embedding comes after those of its distance that have one.
    """
    kept, most = kept_of(store), len(rows) if k is None else min(k, len(rows))
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
    """The values (m,) that stand more than once."""
    distinct, counts = np.unique(values, return_counts=True)
    return distinct[counts > 1]
