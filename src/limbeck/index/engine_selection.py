"""Selects a search engine and searches with it: exact search, a named engine, or the fastest good one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import Derived, derived_names, open_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.asymmetric import LARGEST, AsymmetricSearch
from limbeck.index.calibration import KS
from limbeck.index.embeddings import check_rerank, checked_queries, reranked
from limbeck.index.engines.base import SearchParams
from limbeck.index.hierarchy import with_masks
from limbeck.index.measured import Measured, Measurement
from limbeck.index.milvus.address import is_address
from limbeck.index.query import Answer, ExactSearch, SearchOptions
from limbeck.index.segment_view import PrefixView
from limbeck.index.store import IndexStore
from limbeck.index.ties import nearest_settled, ordered
from limbeck.typed import Json

_STALE = 0.2  # above this share of uncovered rows, a new build is recommended
MILVUS = "milvus"


class Search(Protocol):
    """Answers queries: `ExactSearch`, or an engine instead of it."""

    def __call__(self, points: np.ndarray, k: int, mask: Any = None, /) -> Answer:
        """Return scores and rows (Q, k) of the k nearest; ``mask`` comes from `Choice.allowed`."""

    def range_search(self, points: np.ndarray, radius: float, mask: Any = None, /) -> list[Answer]:
        """Return for each query the scores and rows (m,) of all items within a radius."""


@dataclass(frozen=True)
class Choice:
    """Holds the selected engine, its search parameters, and the reason.

    Attributes:
        engine: "exact", the name of a derived index, or "milvus".
        params: its search parameters; empty for exact search.
        why: the reason, in one line for people.
        recall: measured mean recall; 1 for exact search, None if it was not measured.
        ms: measured milliseconds per query, one query at a time; None if it was not measured.
        uncovered: the number of rows that the engine does not cover.
        search: answers (points, k, mask) like `ExactSearch`.
    """

    engine: str
    params: SearchParams
    why: str
    recall: float | None
    ms: float | None
    uncovered: int
    search: Search

    def allowed(self, store: IndexStore, where: str | None) -> Any:
        """Convert a filter for the search: to bool (rows,), or to a parsed filter for Milvus; None stays."""
        if where is None:
            return None
        if self.engine != MILVUS:
            return store.where(where)
        from limbeck.index.filter_parser import Where

        return Where(where, store.schema)

    def to_json(self) -> dict[str, Json]:
        """Return all fields except the search as JSON."""
        names = ("engine", "params", "why", "recall", "ms", "uncovered")
        return {name: getattr(self, name) for name in names}


class Engines:
    """Searches an opened index with any of its engines; each engine is opened once per measured k."""

    def __init__(self, store: IndexStore) -> None:
        self._store, self._exact = store, ExactSearch(store)
        self._choices: dict[tuple[str, float, int], Choice] = {}
        self._scans: dict[tuple[bool, int | None], Choice] = {}  # asymmetric or of a prefix

    def settled(self, options: SearchOptions) -> SearchOptions:
        """Return the options of queries that the index's encoder encodes, with ``asymmetric`` decided.

        Where the options leave it open, the manifest decides for an exact search without a radius over at
        most `LARGEST` bytes of codes; otherwise it is False.
        """
        if options.asymmetric is not None:
            return options
        store, plain = self._store, options.engine == "exact" and options.radius is None
        small = store.rows * store.space.width <= LARGEST
        return replace(options, asymmetric=store.manifest.asymmetric and plain and small)

    def choose(self, options: SearchOptions) -> Choice:
        """Select the engine of a search and its parameters, and keep the engine open.

        A derived index uses its fastest parameters whose measured recall is at least ``options.recall``, else
        those of highest recall. "auto" selects the fastest derived index with such parameters; the cost of
        rows that were added after its build is that of exact search. The lower bound of the measured recall
        is what counts.

        Raises:
            LimbeckError: there is no such derived index, it was never measured, or it cannot search a radius.
        """
        if options.asymmetric or options.bits is not None:
            scan = bool(options.asymmetric), options.bits
            if scan not in self._scans:
                part = self._store if options.bits is None else PrefixView(self._store, options.bits)
                search: Search = AsymmetricSearch(part) if options.asymmetric else ExactSearch(part)
                why = "asymmetric" if options.asymmetric else f"the first {options.bits} bits"
                self._scans[scan] = Choice("exact", {}, why, 1.0, None, 0, search)
            return self._scans[scan]
        k = options.fetched
        key = (options.engine, options.recall, -1 if k is None else next((n for n in KS if n + 1 >= k), k))
        if key not in self._choices:
            self._choices[key] = self._chosen(options.engine, options.recall, k)
        return self._choices[key]

    def find(
        self, points: np.ndarray, options: SearchOptions, embeddings: np.ndarray | None = None
    ) -> list[Answer]:
        """Search for several points at once.

        Args:
            points: (Q, width) query points; float (Q, bits) with ``options.asymmetric``.
            options: what to return.
            embeddings: (Q, D), those of the queries; they order items of equal Hamming distance if the index
                keeps embeddings, and the short lists of ``options.rerank``. A row of NaN means that the query
                has none. Embeddings of an index of version 0.1 do not change the order.

        Returns:
            For each query scores (k',) and rows (k',), nearest first.

        Raises:
            LimbeckError: as `choose`, the filter or the radius is invalid, the space has no cones, or the
                index cannot re-rank.
        """
        store, choice = self._store, self.choose(options)
        if options.rerank is not None:
            check_rerank(store)
            if embeddings is None:
                raise LimbeckError(
                    "rerank: needs the queries' embeddings; give them", code="E-OPTION-MISSING"
                )
        if options.hierarchy is not None and choice.engine == MILVUS:
            raise LimbeckError(
                f"hierarchy: {options.hierarchy} needs the cones of the points in the index; "
                "use --engine exact",
                code="E-ENGINE-CANNOT",
            )
        mask, fetched = choice.allowed(store, options.where), options.fetched
        exclude = None if options.exclude is None else np.atleast_1d(options.exclude)
        if exclude is not None and exclude.ndim == 1:
            exclude = exclude[:, None]
        floats: np.ndarray | None = None
        if embeddings is not None:
            floats = _tie_breakers(store, points, embeddings)
        if options.bits is not None:
            points = points[:, : options.bits if options.asymmetric else options.bits // 8]
        queries = [(points, mask)]
        if options.hierarchy is not None:
            queries = with_masks(store, points, mask, options.hierarchy)
        answers: list[Answer] = []
        for some, allowed in queries:
            if fetched is None:
                assert options.radius is not None
                near = choice.search.range_search(some, options.radius, allowed)
                if floats is not None:
                    near = [ordered(store, *one, own) for one, own in zip(near, floats, strict=True)]
                answers += near
                continue
            # More, because the excluded rows are among them unless k equal ones precede them.
            count = fetched + (0 if exclude is None else exclude.shape[1])
            if floats is not None:
                answers += nearest_settled(store, choice.search, some, count, floats, allowed)
            else:
                answers += zip(*choice.search(some, count, allowed), strict=True)
        if exclude is not None:
            own = np.broadcast_to(exclude, (len(answers), exclude.shape[1]))
            kept = [~np.isin(rows, gone) for (_, rows), gone in zip(answers, own, strict=True)]
            answers = [(scores[at], rows[at]) for (scores, rows), at in zip(answers, kept, strict=True)]
        most = options.k if fetched is None else fetched
        answers = [(scores[:most], rows[:most]) for scores, rows in answers]
        if options.rerank is None:
            return answers
        assert embeddings is not None  # checked above
        return reranked(store, embeddings, [rows for _, rows in answers], options.wanted)

    def _chosen(self, engine: str, recall: float, k: int | None) -> Choice:
        store = self._store
        if engine == "exact":
            return self._exactly("requested")
        if is_address(engine):
            return _remote(store, engine)
        if engine != "auto":
            derived = open_derived(store.path, engine)
            at, exact_ms, measured = _measurements(derived, 10 if k is None else k)
            good = [entry for entry in measured if entry.recall[at][1] >= recall]
            best = good[0] if good else max(measured, key=lambda entry: entry.recall[at][0])
            note = "" if good else f"; none of its parameters was measured with {recall:g}"
            choice = self._derived(derived, best, at, exact_ms, note)
            if k is None and not (isinstance(choice.search, ApproximateSearch) and choice.search.finds_all):
                raise LimbeckError(
                    f"engine: {engine} cannot find all items within a radius; leave it out",
                    code="E-ENGINE-CANNOT",
                )
            return choice
        if k is None:
            return self._exactly("a radius needs exact search")
        if not derived_names(store.path):
            return self._exactly(
                f"the index has no other engine; limbeck index engine {store.path} builds one"
            )
        fast_enough = []
        for name in derived_names(store.path):
            derived = open_derived(store.path, name)
            at, exact_ms, measured = _measurements(derived, k)
            rest = 1 - derived.covered(store) / max(1, store.rows)
            for entry in measured:
                cost = entry.ms[at] + rest * exact_ms
                if k <= int(at) + 1 and entry.recall[at][1] >= recall and cost < exact_ms:
                    fast_enough.append((cost, name, derived, entry, at, exact_ms))
        if not fast_enough:
            return self._exactly(f"no other engine was measured to be faster at recall@{k} {recall:g}")
        _, _, derived, entry, at, exact_ms = min(fast_enough, key=lambda one: one[:2])
        return self._derived(derived, entry, at, exact_ms, "")

    def _exactly(self, why: str) -> Choice:
        return Choice("exact", {}, why, 1.0, None, 0, self._exact)

    def _derived(self, derived: Derived, entry: Measurement, at: str, exact_ms: float, note: str) -> Choice:
        measured, params, ms = _measured(derived), entry.params, entry.ms[at]
        search = ApproximateSearch(
            self._store, derived, params, exact_below=measured.exact_below, exact=self._exact
        )
        shown = " ".join(f"{name}={value}" for name, value in params.items())
        mean, bound = entry.recall[at]
        share = search.uncovered / max(1, self._store.rows)
        rest = f"; {share:.1%} of the rows were added later and are searched exactly" * bool(search.uncovered)
        rest += ": build the engine again" if share > _STALE else ""
        why = (
            f"recall@{at} {mean:.3f} (at least {bound:.3f}) in {ms:.3g} ms per query, exact search "
            f"{exact_ms:.3g} ms, measured on {measured.queries} held-out queries{rest}{note}"
        )
        why = f"{shown}: {why}" if shown else why
        return Choice(derived.name, params, why, mean, ms, search.uncovered, search)


def _tie_breakers(store: IndexStore, points: np.ndarray, embeddings: np.ndarray) -> np.ndarray | None:
    """Check the embeddings (Q, D) of queries; None if the index keeps none that order equal distances."""
    if len(embeddings) != len(points):
        raise LimbeckError(
            f"embeddings: {len(embeddings)} rows for {len(points)} points; give one row per point",
            code="E-ARRAY-ROWS",
        )
    known = ~np.isnan(embeddings).any(axis=1)
    floats = np.where(known[:, None], embeddings, np.nan).astype(np.float32)
    floats[known] = checked_queries(store, embeddings[known])
    return floats if store.kept is not None and store.kept.of != "unrecorded" else None


def _remote(store: IndexStore, address: str) -> Choice:
    from limbeck.index.milvus.search import open_search

    search = open_search(store, address)
    params, recall = ({}, 1.0) if search.exact else ({"nprobe": search.nprobe}, None)
    return Choice(MILVUS, params, search.why, recall, None, search.uncovered, search)


def _measured(derived: Derived) -> Measured:
    measured = derived.measured
    if measured is None:
        raise LimbeckError(
            f"{derived.folder}: was never measured (its build was interrupted); build the engine again",
            code="E-ENGINE-STALE",
        )
    return measured


def _measurements(derived: Derived, k: int) -> tuple[str, float, list[Measurement]]:
    """Return the measured k that represents this k, the ms of exact search, and the entries by speed."""
    measured = _measured(derived)
    ks = sorted(int(number) for number in measured.exact_ms)
    # k may exceed the measured number by one: the query's own item, which is excluded afterwards
    at = str(next((number for number in ks if number + 1 >= k), ks[-1]))
    return at, measured.exact_ms[at], sorted(measured.entries, key=lambda entry: entry.ms[at])
