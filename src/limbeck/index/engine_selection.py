"""Selects a search engine: exact search, an engine by name, or the fastest with enough measured recall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import Derived, derived_names, open_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.calibration import KS
from limbeck.index.embeddings import checked_queries, kept_of
from limbeck.index.engines.base import Setting
from limbeck.index.filter_parser import Where
from limbeck.index.hierarchy import with_masks
from limbeck.index.milvus.address import is_address
from limbeck.index.query import Answer, ExactSearch, check_k
from limbeck.index.store import IndexStore
from limbeck.index.ties import nearest_settled, ordered

RECALL = 0.95
_STALE = 0.2  # above this share of uncovered rows, a new build is recommended
MILVUS = "milvus"


class Search(Protocol):
    """Answers queries: `ExactSearch`, or an engine instead of it."""

    def __call__(self, points: np.ndarray, k: int, mask: Any = None, /) -> Answer:
        """Return scores and rows (Q, k) of the k nearest; ``mask`` comes from `Choice.allowed`."""

    def within(self, points: np.ndarray, radius: float, mask: Any = None, /) -> list[Answer]:
        """Return for each query the scores and rows (m,) of all items within a radius."""


@dataclass(frozen=True)
class Choice:
    """Holds the selected engine, its search parameters, and the reason.

    Attributes:
        engine: "exact", the name of a derived index, or "milvus".
        setting: its search parameters; empty for exact search.
        why: the reason, in one line for people.
        recall: measured mean recall; 1 for exact search, None if it was not measured.
        ms: measured milliseconds per query, one query at a time; None if it was not measured.
        uncovered: the number of rows that the engine does not cover.
        search: answers (points, k, mask) like `ExactSearch`.
    """

    engine: str
    setting: Setting
    why: str
    recall: float | None
    ms: float | None
    uncovered: int
    search: Search

    def allowed(self, store: IndexStore, where: str | None) -> Any:
        """Convert a filter for the search: to bool (rows,), or to a parsed filter for Milvus; None stays."""
        if where is None:
            return None
        return Where(where, store.schema) if self.engine == MILVUS else store.where(where)

    def to_json(self) -> dict[str, Any]:
        """Return all fields except the search as JSON."""
        names = ("engine", "setting", "why", "recall", "ms", "uncovered")
        return {name: getattr(self, name) for name in names}


def choose(
    store: IndexStore, exact: ExactSearch, engine: str, *, recall: float = RECALL, k: int | None = 10
) -> Choice:
    """Select an engine and its setting.

    A derived index uses its fastest setting whose measured recall is at least ``recall``, else the one of
    highest recall. "auto" selects the fastest derived index with such a setting; the cost of rows that were
    added after its build is that of exact search. The lower bound of the measured recall is what counts.

    Args:
        store: the index.
        exact: the exact search of the store.
        engine: "exact", "auto", the name of a derived index, or the address of a Milvus collection.
        recall: the wanted recall, above 0 and at most 1.
        k: the number of hits; None for all items within a radius.

    Returns:
        The selected engine, ready to search.

    Raises:
        LimbeckError: there is no such derived index, it was never measured, it cannot search a radius, or the
            recall is not in range.
    """
    if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 < recall <= 1:
        raise LimbeckError(f"recall: {recall!r} is not a number above 0, at most 1")
    if engine == "exact":
        return _exact(store, exact, "requested")
    if is_address(engine):
        return _remote(store, engine)
    if engine != "auto":
        derived = open_derived(store.path, engine)
        at, exact_ms, measured = _settings(derived, 10 if k is None else k)
        good = [entry for entry in measured if entry["recall"][at][1] >= recall]
        best = good[0] if good else max(measured, key=lambda entry: entry["recall"][at][0])
        note = "" if good else f"; none of its settings was measured with {recall:g}"
        choice = _chosen(store, exact, derived, best, at, exact_ms, note)
        if k is None and not (isinstance(choice.search, ApproximateSearch) and choice.search.finds_all):
            raise LimbeckError(f"engine: {engine} cannot find all items within a radius; leave it out")
        return choice
    if k is None:
        return _exact(store, exact, "a radius needs exact search")
    if not derived_names(store.path):
        advice = f"limbeck index engine {store.path} builds one"
        return _exact(store, exact, f"the index has no other engine; {advice}")
    fast_enough = []
    for name in derived_names(store.path):
        derived = open_derived(store.path, name)
        at, exact_ms, measured = _settings(derived, k)
        rest = 1 - derived.covered(store) / max(1, store.rows)
        for entry in measured:
            cost = entry["ms"][at] + rest * exact_ms
            if k <= int(at) + 1 and entry["recall"][at][1] >= recall and cost < exact_ms:
                fast_enough.append((cost, name, derived, entry, at, exact_ms))
    if not fast_enough:
        return _exact(store, exact, f"no other engine was measured to be faster at recall@{k} {recall:g}")
    _, _, derived, entry, at, exact_ms = min(fast_enough, key=lambda one: one[:2])
    return _chosen(store, exact, derived, entry, at, exact_ms, "")


def _exact(store: IndexStore, exact: ExactSearch, why: str) -> Choice:
    return Choice("exact", {}, why, 1.0, None, 0, exact)


def _remote(store: IndexStore, address: str) -> Choice:
    from limbeck.index.milvus.search import open_search

    search = open_search(store, address)
    setting, recall = ({}, 1.0) if search.exact else ({"probes": search.probes}, None)
    return Choice(MILVUS, setting, search.why, recall, None, search.uncovered, search)


def _settings(derived: Derived, k: int) -> tuple[str, float, list[dict[str, Any]]]:
    """Return the measured k that represents this k, the ms of exact search, and the settings by speed."""
    measured = derived.measured
    if measured is None:
        raise LimbeckError(
            f"{derived.folder}: was never measured (its build was interrupted); build the engine again"
        )
    ks = sorted(int(number) for number in measured["exact_ms"])
    # k may exceed the measured number by one: the query's own item, which is excluded afterwards
    at = str(next((number for number in ks if number + 1 >= k), ks[-1]))
    entries = sorted(measured["settings"], key=lambda entry: entry["ms"][at])
    return at, measured["exact_ms"][at], entries


def _chosen(
    store: IndexStore,
    exact: ExactSearch,
    derived: Derived,
    entry: dict[str, Any],
    at: str,
    exact_ms: float,
    note: str,
) -> Choice:
    measured = derived.measured or {}
    search = ApproximateSearch(
        store, derived, entry["setting"], exact_below=measured["exact_below"], exact=exact
    )
    setting = " ".join(f"{name}={value}" for name, value in entry["setting"].items())
    mean, bound = entry["recall"][at]
    share = search.uncovered / max(1, store.rows)
    rest = f"; {share:.1%} of the rows were added later and are searched exactly" if search.uncovered else ""
    rest += ": build the engine again" if share > _STALE else ""
    why = (
        f"recall@{at} {mean:.3f} (at least {bound:.3f}) in {entry['ms'][at]:.3g} ms per query, exact search "
        f"{exact_ms:.3g} ms, measured on {measured['queries']} held-out queries{rest}{note}"
    )
    return Choice(
        derived.name, entry["setting"], f"{setting}: {why}" if setting else why, mean, entry["ms"][at],
        search.uncovered, search,
    )  # fmt: skip


class Engines:
    """Searches an opened index with any of its engines; each engine is opened once per measured k."""

    def __init__(self, store: IndexStore) -> None:
        self._store, self._exact = store, ExactSearch(store)
        self._choices: dict[tuple[str, float, int], Choice] = {}

    def choose(self, engine: str, *, recall: float = RECALL, k: int | None = 10) -> Choice:
        """Select an engine like the function `choose`, and keep it open."""
        key = (engine, recall, -1 if k is None else next((n for n in KS if n + 1 >= k), k))
        if key not in self._choices:
            self._choices[key] = choose(self._store, self._exact, engine, recall=recall, k=k)
        return self._choices[key]

    def find(
        self,
        points: np.ndarray,
        k: int | None = None,
        *,
        where: str | None = None,
        radius: float | None = None,
        along: str | None = None,
        without: int | np.ndarray | None = None,
        engine: str = "exact",
        recall: float = RECALL,
        embeddings: np.ndarray | None = None,
    ) -> list[Answer]:
        """Search for several points at once; arguments as `limbeck.Index.search`, except for these.

        Args:
            points: (Q, width) query points.
            k: the number of hits, 10 by default; with a radius, the greatest number of hits.
            where: a filter (docs/search.md).
            radius: find all items within it.
            along: "more-general" or "more-specific".
            without: a row to exclude, or int (Q,), one row per query; -1 excludes none.
            engine: see `choose`.
            recall: see `choose`.
            embeddings: (Q, D), those of the queries; they order items of equal Hamming distance if the index
                keeps embeddings. A row of NaN means that the query has none. Embeddings of an index of
                version 0.1 do not change the order.

        Returns:
            For each query scores (k',) and rows (k',), nearest first.
        """
        wanted = None if radius is not None else check_k(10 if k is None else k)
        choice = self.choose(engine, recall=recall, k=wanted)
        if along is not None and choice.engine == MILVUS:
            raise LimbeckError(
                f"along: {along} needs the cones of the points in the index; use --engine exact"
            )
        mask, search = choice.allowed(self._store, where), choice.search
        answers: list[Answer] = []
        if embeddings is not None:
            if len(embeddings) != len(points):
                raise LimbeckError(
                    f"embeddings: {len(embeddings)} rows for {len(points)} points; give one row per point"
                )
            known = ~np.isnan(embeddings).any(axis=1)
            embeddings = np.where(known[:, None], embeddings, np.nan).astype(np.float32)
            embeddings[known] = checked_queries(self._store, embeddings[known])
            kept = kept_of(self._store)
            embeddings = embeddings if kept is not None and kept.of != "unrecorded" else None
        for some, allowed in with_masks(self._store, points, mask, along):
            if wanted is None:
                assert radius is not None
                near = search.within(some, radius, allowed)
                if embeddings is not None:
                    near = [
                        ordered(self._store, *one, floats)
                        for one, floats in zip(near, embeddings, strict=True)
                    ]
                answers += near
            elif embeddings is not None:
                answers += nearest_settled(
                    self._store, search, some, wanted + (without is not None), embeddings, allowed
                )
            else:
                # One more, because the excluded row is among them unless k equal ones precede it.
                answers += zip(*search(some, wanted + (without is not None), allowed), strict=True)
        if without is not None:
            excluded_rows = zip(answers, np.broadcast_to(without, len(answers)), strict=True)
            answers = [(scores[rows != row], rows[rows != row]) for (scores, rows), row in excluded_rows]
        most = k if wanted is None else wanted
        return [(scores[:most], rows[:most]) for scores, rows in answers]
