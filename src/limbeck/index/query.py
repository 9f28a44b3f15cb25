"""Defines the options of a search, and searches the segments of a store exactly into one ranking."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.exact_rescore import Source, longest_row, nearest, range_search
from limbeck.index.scan_numpy import Answer, codes_within, highest_vectors, nearest_codes
from limbeck.index.segment_view import PrefixView, SegmentView
from limbeck.index.store import IndexStore
from limbeck.notices import say
from limbeck.optional_deps import EXTRAS, installed
from limbeck.spaces import Space

Engine = Callable[..., Answer]  # (queries, items, k, mask=)

RECALL = 0.95
# Up to here numpy compares codes: 65,536 codes of 64 bits take .4 ms per query, and 2^22 pairs 30 ms. The
# compiled scan takes .04 ms, but its import and first call take .45 s, as much as a thousand such queries
# (measured on two cores with numba 0.68).
SMALL_ROWS, SMALL_PAIRS = 1 << 16, 1 << 22


@dataclass(frozen=True)
class SearchOptions:
    """Says what a search returns and which engine answers it.

    Attributes:
        k: the number of hits; None for 10, or for all items within the radius.
        where: a filter on the columns, such as "labels has sky" (docs/search.md).
        radius: the greatest distance of a hit, or its smallest similarity.
        hierarchy: "more-general" for items that entail the query, "more-specific" for items it entails.
        exclude: a row to exclude, or the rows of each query, int (Q,) or (Q, E); -1 excludes none.
        engine: "exact", an engine that was built, "auto", or milvus://HOST:PORT/NAME.
        recall: the recall that an approximate engine has to reach, above 0 and at most 1.
        rerank: the length of the short list of codes that the float embeddings re-rank; None for none.
        asymmetric: compare the codes with the numbers whose signs are the query's code
            (`limbeck.index.asymmetric`); None takes the index's default (`Engines.settled`).
        bits: compare only the first bits of codes, a multiple of 8; None compares all.
        fold: return near-duplicates as one hit (`limbeck.search.alike`).
        min_confidence: drop hits of less confidence (`limbeck.index.confidence`); None drops none.

    Raises:
        LimbeckError: k, the recall, the confidence or the length of the short list is out of range, a radius
            is given with ``rerank`` or ``asymmetric``, or ``asymmetric`` or ``bits`` with an engine.
    """

    k: int | None = None
    where: str | None = None
    radius: float | None = None
    hierarchy: str | None = None
    exclude: int | np.ndarray | None = None
    engine: str = "exact"
    recall: float = RECALL
    rerank: int | None = None
    asymmetric: bool | None = None
    bits: int | None = None
    fold: bool = False
    min_confidence: float | None = None

    def __post_init__(self) -> None:
        if self.k is not None:
            check_k(self.k)
        recall, rerank, sure = self.recall, self.rerank, self.min_confidence
        if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 < recall <= 1:
            raise LimbeckError(
                f"recall: {recall!r} is not a number above 0, at most 1", code="E-OPTION-RANGE"
            )
        number = isinstance(sure, int | float) and not isinstance(sure, bool)
        if sure is not None and not (number and 0 <= sure <= 1):
            raise LimbeckError(
                f"min_confidence: {sure!r} is not a number between 0 and 1; give 0.9 for 90 %",
                code="E-OPTION-RANGE",
            )
        if self.bits is not None and self.engine != "exact":
            raise LimbeckError(
                "bits: cannot be combined with an engine; leave one of the two out", code="E-OPTION-CONFLICT"
            )
        if rerank is not None and self.radius is not None:
            raise LimbeckError(
                "rerank: cannot be combined with a radius; leave one of the two out", code="E-OPTION-CONFLICT"
            )
        if self.asymmetric and (self.radius is not None or self.engine != "exact"):
            other = "an engine" if self.radius is None else "a radius"
            raise LimbeckError(
                f"asymmetric: cannot be combined with {other}; leave one of the two out",
                code="E-OPTION-CONFLICT",
            )
        whole = not isinstance(rerank, bool) and isinstance(rerank, int | np.integer)
        if rerank is not None and (not whole or rerank < self.wanted):
            raise LimbeckError(
                f"rerank: {rerank!r} is below k = {self.wanted}; re-rank at least k items",
                code="E-OPTION-RANGE",
            )

    @property
    def wanted(self) -> int:
        """The number of hits to return where no radius limits them."""
        return 10 if self.k is None else int(self.k)

    @property
    def fetched(self) -> int | None:
        """The number of items that the engine has to find; None for all items within the radius."""
        return None if self.radius is not None else self.rerank or self.wanted


def check_k(k: int) -> int:
    """Return k as an int.

    Raises:
        LimbeckError: k is not a whole number of at least 1.
    """
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise LimbeckError(f"k: {k!r} is not a whole number of at least 1", code="E-OPTION-RANGE")
    return int(k)


class ExactSearch:
    """Searches a store exactly: nearest first, ties by row.

    Rows are numbered through all segments, so the answer does not depend on how rows are split into segments.
    Distances of codes are integers; scores of vectors are computed in float64
    (`limbeck.index.exact_rescore`).
    """

    def __init__(self, store: IndexStore | SegmentView | PrefixView) -> None:
        self._store = store
        self._arrays: list[np.ndarray] | None = None
        self._longest: float | None = None

    def __call__(self, points: np.ndarray, k: int, mask: np.ndarray | None = None) -> Answer:
        """Return the k nearest items of each query.

        Args:
            points: (Q, width) points of the store's space.
            k: the number of hits, at least 1; a larger k than allowed rows returns all of them.
            mask: bool (rows,), True for allowed rows; all by default. Removed rows are never returned.

        Returns:
            (scores (Q, k'), rows int64 (Q, k')): the scores are int32 Hamming distances of codes or float64
            scores of vectors; k' is the smaller of k and the number of allowed rows.

        Raises:
            LimbeckError: k is below 1, or the points have another width or type.
        """
        k, points, allowed = check_k(k), np.asarray(points), self.allowed(mask)
        if self._store.space.storage == "codes":
            raw, rows = self._raw(self._store.space.index_queries(points), k, allowed)
            return self._store.space.score(raw), rows
        return nearest(self._store.space, self._source(allowed), points, k)

    def range_search(self, points: np.ndarray, radius: float, mask: np.ndarray | None = None) -> list[Answer]:
        """Return all items within a radius of each query.

        Args:
            points: (Q, width) points of the store's space.
            radius: the greatest distance, or the least similarity, by the space's score.
            mask: bool (rows,), True for allowed rows; all by default.

        Returns:
            For each query the scores (m,) and rows int64 (m,), nearest first, ties by row.

        Raises:
            LimbeckError: the radius is not a number, is a negative distance, or is not whole for codes; or
                the points have another width or type.
        """
        space, points, allowed = self._store.space, np.asarray(points), self.allowed(mask)
        engine_queries, limit = space.index_queries(points), check_radius(space, radius)
        starts = self._store.starts
        if space.storage == "codes":
            search = codes_within if self._by_numpy(engine_queries) else _compiled().search_radius
            parts = [
                search(engine_queries, array, int(limit), mask=_part(allowed, start, len(array)))
                for array, start in zip(self._items(), starts, strict=False)
            ]
            answers = [_joined(one, starts) for one in zip(*parts, strict=True)]
        else:
            source = self._source(allowed)
            answers = [
                range_search(space, source, self._items(), points[q : q + 1], limit, allowed)
                for q in range(len(engine_queries))
            ]
        return [_ordered(space.score_sign, scores, rows) for scores, rows in answers]

    def allowed(self, mask: np.ndarray | None) -> np.ndarray | None:
        """Return the mask without the removed rows; None if every row is allowed."""
        if mask is not None and (mask.dtype != np.bool_ or mask.shape != (self._store.rows,)):
            raise LimbeckError(
                f"mask: holds {mask.dtype} {mask.shape}, expected bool ({self._store.rows},)",
                code="E-ARRAY-SHAPE",
            )
        alive = self._store.alive
        return alive if mask is None else mask if alive is None else mask & alive

    def _by_numpy(self, queries: np.ndarray) -> bool:
        """Return whether numpy scans for queries (Q, width): it starts sooner, or numba is missing."""
        small = self._store.rows <= SMALL_ROWS and self._store.rows * len(queries) <= SMALL_PAIRS
        return small or not has_numba()

    def _engine(self, queries: np.ndarray) -> Engine:
        vectors = self._store.space.storage == "vectors"
        if self._by_numpy(queries):
            return highest_vectors if vectors else nearest_codes
        return _compiled().search_vectors if vectors else _compiled().search_codes

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
        """Return the engine's items of each segment; made once, as this checks every point."""
        if self._arrays is None:
            self._arrays = [self._store.space.index_items(part) for part in self._store.points]
        return self._arrays

    def _raw(self, engine_queries: np.ndarray, k: int, allowed: np.ndarray | None = None) -> Answer:
        """Return the engine's values (Q, k) and rows int64 (Q, k) in all segments, nearest first."""
        engine, sign = self._engine(engine_queries), 1 if self._store.space.storage == "vectors" else -1
        starts = self._store.starts
        answers = [
            engine(engine_queries, array, k, mask=_part(allowed, start, len(array)))
            for array, start in zip(self._items(), starts, strict=False)
        ]
        raw = np.concatenate([values for values, _ in answers], axis=1)
        rows = np.concatenate(
            [part + start for (_, part), start in zip(answers, starts, strict=False)], axis=1
        )
        if len(answers) > 1:
            order = np.lexsort((rows, -sign * raw), axis=1)[:, :k]
            raw, rows = np.take_along_axis(raw, order, 1), np.take_along_axis(rows, order, 1)
        return raw, rows.astype(np.int64, copy=False)


@functools.cache
def has_numba() -> bool:
    """Return whether numba is installed, and say once that it is missing."""
    found = installed("numba")
    if not found:
        extra = EXTRAS["numba"]
        say(f"numba is not installed, so numpy scans the index; faster with: pip install 'limbeck[{extra}]'")
    return found


def _compiled() -> ModuleType:
    import limbeck.index.exact  # with numba, which is slow to import

    return limbeck.index.exact


def check_radius(space: Space, radius: float) -> float:
    """Return the radius as a float.

    Raises:
        LimbeckError: it is not finite, is a negative distance, or is not whole for codes.
    """
    number = isinstance(radius, int | float | np.number) and not isinstance(radius, bool)
    if not number or not np.isfinite(radius) or (space.score_name == "distance" and radius < 0):
        least = " of at least 0" if space.score_name == "distance" else ""
        raise LimbeckError(
            f"radius: {radius!r} is not a {space.score_name} (give a finite number{least})",
            code="E-OPTION-RANGE",
        )
    if space.storage == "codes" and radius != int(radius):
        raise LimbeckError(
            f"radius: {radius!r} is not whole; give a whole number of bits", code="E-OPTION-RANGE"
        )
    return float(radius)


def _part(allowed: np.ndarray | None, start: int, rows: int) -> np.ndarray | None:
    """Return the mask of one segment; None if all its rows are allowed."""
    if allowed is None:
        return None
    part = allowed[start : start + rows]
    return None if part.all() else part


def _joined(parts: Sequence[Answer], starts: Sequence[int]) -> Answer:
    """Concatenate the segments' answers to one query, with rows numbered through all segments."""
    rows = [part + start for (_, part), start in zip(parts, starts, strict=False)]
    return np.concatenate([scores for scores, _ in parts]), np.concatenate(rows)


def _ordered(sign: int, scores: np.ndarray, rows: np.ndarray) -> Answer:
    order = np.lexsort((rows, -sign * scores))
    return scores[order], rows[order]
