"""Exact search over the segments of a store, merged into one ranking."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore

Engine = Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def engine_for(storage: str) -> Engine:
    """The exact engine of a kind of storage, "codes" or "vectors"."""
    # Here, because numba takes a while to import and opening an index does not need it.
    import limbeck.index.exact as exact

    engines: dict[str, Engine] = {"codes": exact.search_codes, "vectors": exact.search_vectors}
    return engines[storage]


def check_k(k: int) -> int:
    """A number of hits, at least 1; anything else is a `LimbeckError`."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise LimbeckError(f"k: {k!r} is not a whole number of at least 1")
    return int(k)


class ExactSearch:
    """Exact search in a store: nearest first, ties by row.

    The store's row order runs through its segments, so that several segments answer as one would.
    """

    def __init__(self, store: IndexStore) -> None:
        self._store = store
        self._arrays: list[np.ndarray] | None = None

    def __call__(self, points: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each query.

        Args:
            points: (Q, width) points of the store's space.
            k: at least 1; more than the store has gives all of it.

        Returns:
            scores (Q, k) as `Space.score` gives them, and rows int64 (Q, k) of the store.

        Raises:
            LimbeckError: k below 1, points of another width or type.
        """
        k = check_k(k)
        space = self._store.space
        asked = space.index_queries(np.asarray(points))
        if self._arrays is None:  # once: it checks every point
            self._arrays = [space.index_items(part) for part in self._store.points]
        engine = engine_for(space.storage)
        found: list[tuple[Any, Any]] = [engine(asked, array, k) for array in self._arrays]
        raw = np.concatenate([values for values, _ in found], axis=1)
        starts = self._store.starts
        rows = np.concatenate([part + start for (_, part), start in zip(found, starts, strict=False)], axis=1)
        scores = space.score(raw)
        if len(found) > 1:
            far = -space.score_sign * scores
            order = np.lexsort((rows, far), axis=1)[:, :k]
            scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
        return scores, rows.astype(np.int64, copy=False)
