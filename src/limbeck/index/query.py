"""Exact search over the segments of a store, merged into one ranking."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.exact_rescore import Source, longest_row, nearest, within
from limbeck.index.segment_view import SegmentView
from limbeck.index.store import IndexStore
from limbeck.spaces import Space

Answer = tuple[np.ndarray, np.ndarray]
Engine = Callable[..., Answer]  # (queries, items, k, mask=)


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
    of codes are whole numbers; scores of vectors are settled in float64 (`limbeck.index.exact_rescore`).
    """

    def __init__(self, store: IndexStore | SegmentView) -> None:
        self._store = store
        self._arrays: list[np.ndarray] | None = None
        self._longest: float | None = None

    def __call__(self, points: np.ndarray, k: int, mask: np.ndarray | None = None) -> Answer:
        """The k nearest items of each query.

        Args:
            points: (Q, width) points of the store's space.
            k: at least 1; more than may be found gives all of them.
            mask: bool (rows,), the rows that may be found; all by default. Removed rows never are.

        Returns:
            scores (Q, k), int32 distances of codes, float64 of vectors, and rows int64 (Q, k) of the store.

        Raises:
            LimbeckError: k below 1, points of another width or type.
        """
        k, points, allowed = check_k(k), np.asarray(points), self.allowed(mask)
        if self._store.space.storage == "codes":
            raw, rows = self._raw(self._store.space.index_queries(points), k, allowed)
            return self._store.space.score(raw), rows
        return nearest(self._store.space, self._source(allowed), points, k)

    def within(self, points: np.ndarray, radius: float, mask: np.ndarray | None = None) -> list[Answer]:
        """Everything within a radius of each query.

        Args:
            points: (Q, width) points of the store's space.
            radius: greatest distance, or least similarity, as the space scores.
            mask: as in a search for the nearest.

        Returns:
            For each query scores (m,) and rows int64 (m,), nearest first, ties by row.

        Raises:
            LimbeckError: a radius that is no number or negative, or no whole number for codes; other points.
        """
        space, points, allowed = self._store.space, np.asarray(points), self.allowed(mask)
        asked, limit = space.index_queries(points), check_radius(space, radius)
        starts = self._store.starts
        if space.storage == "codes":
            from limbeck.index.exact import search_radius

            parts = [
                search_radius(asked, array, int(limit), mask=_part(allowed, start, len(array)))
                for array, start in zip(self._items(), starts, strict=False)
            ]
            answers = [_joined(one, starts) for one in zip(*parts, strict=True)]
        else:
            source = self._source(allowed)
            answers = [
                within(space, source, self._items(), points[q : q + 1], limit, allowed)
                for q in range(len(asked))
            ]
        return [_ordered(space.score_sign, scores, rows) for scores, rows in answers]

    def allowed(self, mask: np.ndarray | None) -> np.ndarray | None:
        """The mask without the removed rows; None if every row may be found."""
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != (self._store.rows,)):
            raise LimbeckError(f"mask: {mask.dtype} {mask.shape}, expected bool ({self._store.rows},)")
        alive = self._store.alive
        return alive if mask is None else mask if alive is None else mask & alive

    def _source(self, allowed: np.ndarray | None) -> Source:
        if self._longest is None:
            self._longest = max((longest_row(array) for array in self._items()), default=0.0)
        rows = None if allowed is None else np.flatnonzero(allowed)
        return Source(
            functools.partial(self._raw, allowed=allowed),
            self._store.points_at,
            self._store.rows if rows is None else len(rows),
            self._longest,
            rows,
        )

    def _items(self) -> list[np.ndarray]:
        """What the engine searches, by segment; made once, since it checks every point."""
        if self._arrays is None:
            self._arrays = [self._store.space.index_items(part) for part in self._store.points]
        return self._arrays

    def _raw(self, asked: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Answer:
        """The engine's answers (Q, k) and rows int64 (Q, k) over all segments, nearest first, ties by row."""
        engine, sign = engine_for(self._store.space.storage)
        starts = self._store.starts
        found = [
            engine(asked, array, k, mask=_part(allowed, start, len(array)))
            for array, start in zip(self._items(), starts, strict=False)
        ]
        raw = np.concatenate([values for values, _ in found], axis=1)
        rows = np.concatenate([part + start for (_, part), start in zip(found, starts, strict=False)], axis=1)
        if len(found) > 1:
            order = np.lexsort((rows, -sign * raw), axis=1)[:, :k]
            raw, rows = np.take_along_axis(raw, order, 1), np.take_along_axis(rows, order, 1)
        return raw, rows.astype(np.int64, copy=False)


def check_radius(space: Space, radius: float) -> float:
    """A radius as the space scores: a whole number for codes, at least 0 for distances, finite."""
    number = isinstance(radius, int | float | np.number) and not isinstance(radius, bool)
    if not number or not np.isfinite(radius) or (space.score_name == "distance" and radius < 0):
        raise LimbeckError(f"radius: {radius!r} is not a {space.score_name} (a number of at least 0)")
    if space.storage == "codes" and radius != int(radius):
        raise LimbeckError(f"radius: {radius!r} is not whole; distances of codes are whole numbers")
    return float(radius)


def _part(allowed: np.ndarray | None, start: int, rows: int) -> np.ndarray | None:
    """The mask of one segment; None where all of it may be found."""
    if allowed is None:
        return None
    part = allowed[start : start + rows]
    return None if part.all() else part


def _joined(parts: Sequence[Answer], starts: Sequence[int]) -> Answer:
    """Answers of the segments to one query, rows counted through all of them."""
    rows = [part + start for (_, part), start in zip(parts, starts, strict=False)]
    return np.concatenate([scores for scores, _ in parts]), np.concatenate(rows)


def _ordered(sign: int, scores: np.ndarray, rows: np.ndarray) -> Answer:
    order = np.lexsort((rows, -sign * scores))
    return scores[order], rows[order]
