"""Exact search over the segments of a store, merged into one ranking."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.refine import Source, longest_row, nearest
from limbeck.index.store import IndexStore

Answer = tuple[np.ndarray, np.ndarray]
Engine = Callable[[np.ndarray, np.ndarray, int], Answer]


def engine_for(storage: str) -> tuple[Engine, int]:
    """The exact engine of "codes" or "vectors", and +1 if its higher answers are nearer, else -1."""
    # Here, because numba takes a while to import and opening an index does not need it.
    import limbeck.index.exact as exact

    engines: dict[str, tuple[Engine, int]] = {
        "codes": (exact.search_codes, -1),
        "vectors": (exact.search_vectors, 1),
    }
    return engines[storage]


def check_k(k: int) -> int:
    """A number of hits, at least 1; anything else is a `LimbeckError`."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise LimbeckError(f"k: {k!r} is not a whole number of at least 1")
    return int(k)


class ExactSearch:
    """Exact search in a store: nearest first, ties by row.

    The store's row order runs through its segments, so that several segments answer as one would. Distances
    of codes are whole numbers; scores of vectors are settled in float64 (`limbeck.index.refine`).
    """

    def __init__(self, store: IndexStore) -> None:
        self._store = store
        self._arrays: list[np.ndarray] | None = None
        self._source: Source | None = None

    def __call__(self, points: np.ndarray, k: int) -> Answer:
        """The k nearest items of each query.

        Args:
            points: (Q, width) points of the store's space.
            k: at least 1; more than the store has gives all of it.

        Returns:
            scores (Q, k), int32 distances of codes, float64 of vectors, and rows int64 (Q, k) of the store.

        Raises:
            LimbeckError: k below 1, points of another width or type.
        """
        k, points = check_k(k), np.asarray(points)
        return {"codes": self._counted, "vectors": self._refined}[self._store.space.storage](points, k)

    def _counted(self, points: np.ndarray, k: int) -> Answer:
        space = self._store.space
        raw, rows = self._raw(space.index_queries(points), k)
        return space.score(raw), rows

    def _refined(self, points: np.ndarray, k: int) -> Answer:
        if self._source is None:
            longest = max((longest_row(array) for array in self._items()), default=0.0)
            self._source = Source(self._raw, self._store.points_at, len(self._store), longest)
        return nearest(self._store.space, self._source, points, k)

    def _items(self) -> list[np.ndarray]:
        """What the engine searches, by segment; made once, since it checks every point."""
        if self._arrays is None:
            self._arrays = [self._store.space.index_items(part) for part in self._store.points]
        return self._arrays

    def _raw(self, asked: np.ndarray, k: int) -> Answer:
        """The engine's answers (Q, k) and rows int64 (Q, k) over all segments, nearest first, ties by row."""
        engine, sign = engine_for(self._store.space.storage)
        found = [engine(asked, array, k) for array in self._items()]
        raw = np.concatenate([values for values, _ in found], axis=1)
        starts = self._store.starts
        rows = np.concatenate([part + start for (_, part), start in zip(found, starts, strict=False)], axis=1)
        if len(found) > 1:
            order = np.lexsort((rows, -sign * raw), axis=1)[:, :k]
            raw, rows = np.take_along_axis(raw, order, 1), np.take_along_axis(rows, order, 1)
        return raw, rows.astype(np.int64, copy=False)
