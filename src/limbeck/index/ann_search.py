"""Searches with a derived index, and exactly in the segments that it does not cover; merges both answers."""

from __future__ import annotations

import functools

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import Derived, engine_points
from limbeck.index.engines.base import Candidates, ExactEngine, RowMask, SearchParams
from limbeck.index.query import Answer, ExactSearch, check_k, check_radius
from limbeck.index.segment_view import SegmentView
from limbeck.index.store import IndexStore

_BLOCK_CELLS = 1 << 18  # coordinates of candidates that are in memory at once
_SPARE = 16  # candidates scored besides 2k, because of rounding errors


class ApproximateSearch:
    """Searches the covered segments with an engine and the other segments exactly.

    Scores and order, (distance, row), equal those of the exact search. Removed rows and rows that a filter
    excludes are never returned. A query for which the engine finds fewer than k items is answered by the
    exact search, so that you get k hits whenever k items are allowed.

    Attributes:
        fallbacks: the number of queries that the exact scan answered because the engine found too few items
            or gave up.
    """

    def __init__(
        self,
        store: IndexStore,
        derived: Derived,
        params: SearchParams,
        *,
        exact_below: float = 0.0,
        exact: ExactSearch | None = None,
    ) -> None:
        """Open a derived index.

        Args:
            store: the index.
            derived: one of its derived indexes.
            params: search parameters, one of `Engine.search_params`.
            exact_below: a filter that allows a smaller share of the covered rows is searched exactly.
            exact: the exact search of the store, if you have one already.

        Raises:
            LimbeckError: as `Derived.open`, or one is missing.
        """
        self._store, self._params, self._exact_below = store, params, exact_below
        self.fallbacks = 0
        self._engine = derived.open(store.space)
        needed = self._engine.search_params()[0].keys() - {"shortlist"}
        if not needed <= params.keys():
            lacks = ", ".join(sorted(needed))
            raise LimbeckError(
                f"{derived.folder}: {params!r} lacks {lacks}; build the engine again", code="E-ENGINE-STALE"
            )
        self._exact = exact or ExactSearch(store)
        names = [segment.name for segment in store.manifest.segments]
        held = {segment.name for segment in derived.segments}
        self._starts = np.cumsum([0, *(segment.rows for segment in derived.segments)])
        # for each segment of the derived index, its first row in the store; -1 if the store has dropped it
        self._offsets = np.array(
            [store.starts[names.index(one.name)] if one.name in names else -1 for one in derived.segments]
        )
        rest = [number for number, name in enumerate(names) if name not in held]
        self._rest = SegmentView(store, rest) if rest else None
        self._rest_search = None if self._rest is None else ExactSearch(self._rest)
        self._alive = self._local(store.alive)

    @property
    def finds_all(self) -> bool:
        """Whether the engine is exact, so that `range_search` works."""
        return isinstance(self._engine, ExactEngine)

    @property
    def uncovered(self) -> int:
        """The number of rows of the store that the engine does not cover."""
        return 0 if self._rest is None else self._rest.rows

    def __call__(self, points: np.ndarray, k: int, mask: np.ndarray | None = None) -> Answer:
        """Return scores and rows (Q, k) like `ExactSearch`; some of the k nearest may be missed."""
        k, queries = check_k(k), self._store.space.check(points, what="query")
        allowed = self._exact.allowed(mask)
        local = self._alive if mask is None else self._local(allowed)
        covered = int(self._starts[-1]) if local is None else round(local.share * self._starts[-1])
        if 2 * k >= covered or (local is not None and mask is not None and local.share < self._exact_below):
            return self._exact(queries, k, mask)
        ready = engine_points(self._store.space)(queries)
        count = max(k, self._params.get("shortlist", 0))
        candidates = self._engine.search(ready, count, self._params, local)
        given_up = (candidates.rows < 0).all(axis=1)  # what the other segments have would hide it
        scores, rows = self._settled(queries, k, candidates)
        if self._rest is not None and self._rest_search is not None:
            part = None if allowed is None else self._rest.cut(allowed)
            more, numbers = self._rest_search(queries, k, part)
            scores = np.concatenate([scores, more], axis=1)
            rows = np.concatenate([rows, self._rest.to_store(numbers)], axis=1)
        order = np.lexsort((rows, -self._store.space.score_sign * scores, rows < 0), axis=1)[:, :k]
        scores, rows = np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
        short = np.flatnonzero((rows < 0).any(axis=1) | given_up)
        self.fallbacks += len(short)
        if rows.shape[1] < k or len(short) == len(rows):
            return self._exact(queries, k, mask)
        if len(short):  # the others have k, so there are k
            scores[short], rows[short] = self._exact(queries[short], k, mask)
        return scores, rows

    def range_search(self, points: np.ndarray, radius: float, mask: np.ndarray | None = None) -> list[Answer]:
        """Return all items within a radius like `ExactSearch.range_search`; this needs an exact engine.

        Raises:
            LimbeckError: the engine is approximate, so that it may miss items within the radius.
        """
        if not isinstance(self._engine, ExactEngine):
            raise LimbeckError(
                "radius: this engine cannot find all items within it; use --engine exact",
                code="E-ENGINE-CANNOT",
            )
        queries, limit = (
            self._store.space.check(points, what="query"),
            check_radius(self._store.space, radius),
        )
        allowed = self._exact.allowed(mask)
        engine_answers = self._engine.range_search(queries, int(limit), self._params, self._local(allowed))
        part = None if allowed is None or self._rest is None else self._rest.cut(allowed)
        more = [] if self._rest_search is None else self._rest_search.range_search(queries, radius, part)
        answers = []
        for q, answer in enumerate(engine_answers):
            if answer is None:
                self.fallbacks += 1
                answers += self._exact.range_search(queries[q : q + 1], radius, mask)
                continue
            scores, rows = self._store.space.score(answer[0]), self._in_store(answer[1])
            if self._rest is not None:
                scores = np.concatenate([scores, more[q][0]])
                rows = np.concatenate([rows, self._rest.to_store(more[q][1])])
            order = np.lexsort((rows, scores))
            answers.append((scores[order], rows[order]))
        return answers

    def _local(self, allowed: np.ndarray | None) -> RowMask | None:
        """Convert a mask over the store into one over the engine's rows; None if all of them are allowed."""
        if allowed is None and (self._offsets >= 0).all():
            return None
        parts = []
        for start, offset in enumerate(self._offsets):
            size = int(self._starts[start + 1] - self._starts[start])
            if offset < 0:
                parts.append(np.zeros(size, dtype=bool))
            else:
                parts.append(np.ones(size, bool) if allowed is None else allowed[offset : offset + size])
        mask = parts[0] if len(parts) == 1 else np.concatenate(parts)
        count = int(np.count_nonzero(mask))
        return None if count == len(mask) else RowMask(mask, max(count, 1) / len(mask))

    def _in_store(self, rows: np.ndarray) -> np.ndarray:
        """Convert rows of the engine into rows of the store; -1 stays -1."""
        at = np.searchsorted(self._starts, np.maximum(rows, 0), side="right") - 1
        if rows.size and at.max() == len(self._offsets):
            raise LimbeckError(
                f"{self._store.path}: the engine is damaged: it returns rows that do not exist; "
                "build it again, and run limbeck index verify",
                code="E-ENGINE-DAMAGED",
            )
        return np.where(rows < 0, -1, rows - self._starts[at] + self._offsets[at])

    def _settled(self, queries: np.ndarray, k: int, found: Candidates) -> Answer:
        """Return the scores of the candidates and their rows in the store."""
        rows, space = self._in_store(found.rows), self._store.space
        if found.distances is not None:
            return space.score(found.distances), rows
        from limbeck.codes.threads import run_threads, spans, thread_count  # with numba: slow to import

        step = max(1, _BLOCK_CELLS // max(1, rows.shape[1] * space.width))
        workers = thread_count(None)
        blocks = [
            (first, min(first + step, stop))
            for start, stop in spans(len(rows), workers)
            for first in range(start, stop, step)
        ]
        tasks = [
            functools.partial(
                self._scored,
                queries[a:b],
                rows[a:b],
                k,
                None if found.squares is None else found.squares[a:b],
            )
            for a, b in blocks
        ]
        answers = run_threads(tasks, workers)
        if not answers:
            return np.empty(rows.shape), rows
        return np.concatenate([scores for scores, _ in answers]), np.concatenate([at for _, at in answers])

    def _scored(self, queries: np.ndarray, rows: np.ndarray, k: int, squares: np.ndarray | None) -> Answer:
        """Return the space's scores and the rows (q, m); the score of a row -1 has no meaning.

        If the engine gives distances that are correct up to rounding, only the best candidates are scored.
        """
        space, kept = self._store.space, 2 * k + _SPARE
        stored = self._store.points_at(np.maximum(rows, 0).ravel())
        if squares is not None and rows.shape[1] > kept:
            order = np.where(rows < 0, np.inf, squares) * space.stretch(stored).reshape(rows.shape)
            best = np.argpartition(order, kept, axis=1)[:, :kept]
            stored = np.take_along_axis(stored.reshape(*rows.shape, -1), best[..., None], axis=1)
            rows = np.take_along_axis(rows, best, axis=1)
        return space.rescore(queries[:, None], stored.reshape(*rows.shape, -1)), rows
