"""Which engine answers: the exact one, one by name, or the fastest that was measured to be good enough."""

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
_STALE = 0.2  # share of rows not covered from which on a new build is advised
MILVUS = "milvus"


class Search(Protocol):
    """What answers: `ExactSearch`, or an engine in its place."""

    def __call__(self, points: np.ndarray, k: int, mask: Any = None, /) -> Answer:
        """Scores and rows (Q, k) of the k nearest; ``mask`` as `Choice.allowed` gives it."""

    def within(self, points: np.ndarray, radius: float, mask: Any = None, /) -> list[Answer]:
        """Scores and rows (m,) of everything within a radius, for each query."""


@dataclass(frozen=True)
class Choice:
    """An engine, its setting, and the reason in words.

    Attributes:
        engine: "exact", the name of a derived index, or "milvus".
        setting: of its search; empty for exact search.
        why: one line for people.
        recall: measured mean recall; 1 for exact search, None where nothing was measured.
        ms: measured, of a query asked alone; None where nothing was.
        uncovered: rows that the engine does not cover.
        search: answers (points, k, mask), as `ExactSearch` does.
    """

    engine: str
    setting: Setting
    why: str
    recall: float | None
    ms: float | None
    uncovered: int
    search: Search

    def allowed(self, store: IndexStore, where: str | None) -> Any:
        """A filter as the search takes it: bool (rows,), for Milvus the parsed filter; None without one."""
        if where is None:
            return None
        return Where(where, store.schema) if self.engine == MILVUS else store.where(where)

    def to_json(self) -> dict[str, Any]:
        """All but the search."""
        names = ("engine", "setting", "why", "recall", "ms", "uncovered")
        return {name: getattr(self, name) for name in names}


def choose(
    store: IndexStore, exact: ExactSearch, engine: str, *, recall: float = RECALL, k: int | None = 10
) -> Choice:
    """Choose for k hits, or for all within a radius (None): "exact", "auto", or an engine by its name.

    A name is that of a derived index or the address of a collection of Milvus. A derived index takes the
    fastest of its settings that was measured with the recall asked for, else the most thorough. "auto" takes
    the fastest derived index with such a setting; what the index gained since is counted as searched
    exactly. Recall is compared by the lower bound of its measurement.

    Raises:
        LimbeckError: no such derived index, one that was never measured, a recall not between 0 and 1.
    """
    if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 < recall <= 1:
        raise LimbeckError(f"recall: {recall!r} is not a number above 0, at most 1")
    if engine == "exact":
        return _exact(store, exact, "asked for")
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
            raise LimbeckError("engine: everything within a radius is searched exactly; leave out the engine")
        return choice
    if k is None:
        return _exact(store, exact, "everything within a radius is searched exactly")
    if not derived_names(store.path):
        mend = f"limbeck index engine {store.path} builds one"
        return _exact(store, exact, f"the index has no other engine; {mend}")
    found = []
    for name in derived_names(store.path):
        derived = open_derived(store.path, name)
        at, exact_ms, measured = _settings(derived, k)
        rest = 1 - derived.covered(store) / max(1, store.rows)
        for entry in measured:
            cost = entry["ms"][at] + rest * exact_ms
            if k <= int(at) + 1 and entry["recall"][at][1] >= recall and cost < exact_ms:
                found.append((cost, name, derived, entry, at, exact_ms))
    if not found:
        return _exact(store, exact, f"no other engine was measured to be faster at recall@{k} {recall:g}")
    _, _, derived, entry, at, exact_ms = min(found, key=lambda one: one[:2])
    return _chosen(store, exact, derived, entry, at, exact_ms, "")


def _exact(store: IndexStore, exact: ExactSearch, why: str) -> Choice:
    return Choice("exact", {}, why, 1.0, None, 0, exact)


def _remote(store: IndexStore, address: str) -> Choice:
    from limbeck.index.milvus.search import open_search

    search = open_search(store, address)
    setting, recall = ({}, 1.0) if search.exact else ({"probes": search.probes}, None)
    return Choice(MILVUS, setting, search.why, recall, None, search.uncovered, search)


def _settings(derived: Derived, k: int) -> tuple[str, float, list[dict[str, Any]]]:
    """The measured k that stands for this one, the time of exact search, the settings from fast to slow."""
    measured = derived.measured
    if measured is None:
        raise LimbeckError(
            f"{derived.folder}: was never measured (its build was cut short); build the engine again"
        )
    ks = sorted(int(number) for number in measured["exact_ms"])
    # one hit more than measured may be asked for: the item that the query is, left out afterwards
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
    rest = f"; {share:.1%} of the rows came later and are searched exactly" if search.uncovered else ""
    rest += ": build the engine again" if share > _STALE else ""
    why = (
        f"recall@{at} {mean:.3f} (at least {bound:.3f}) in {entry['ms'][at]:.3g} ms a query, exact search "
        f"{exact_ms:.3g} ms, measured on {measured['queries']} held-out queries{rest}{note}"
    )
    return Choice(
        derived.name, entry["setting"], f"{setting}: {why}" if setting else why, mean, entry["ms"][at],
        search.uncovered, search,
    )  # fmt: skip


class Engines:
    """Engines of an opened index, each opened once for the numbers of hits measured together."""

    def __init__(self, store: IndexStore) -> None:
        self._store, self._exact = store, ExactSearch(store)
        self._choices: dict[tuple[str, float, int], Choice] = {}

    def choose(self, engine: str, *, recall: float = RECALL, k: int | None = 10) -> Choice:
        """As the function `choose`."""
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
        """Scores and rows for each of several points (Q, width); arguments as `limbeck.Index.search`.

        ``without`` is a row that is left out, or int (Q,) one a query, -1 for none. ``embeddings`` (Q, D) of
        the queries, where codes have kept ones, order items of equal distance; a row of NaN is none, and
        those that version 0.1 kept order nothing, so that its indexes answer as they did.
        """
        wanted = None if radius is not None else check_k(10 if k is None else k)
        choice = self.choose(engine, recall=recall, k=wanted)
        if along is not None and choice.engine == MILVUS:
            raise LimbeckError(
                f"along: {along} needs the cones of the index's own points; use --engine exact"
            )
        mask, search = choice.allowed(self._store, where), choice.search
        found: list[Answer] = []
        if embeddings is not None:
            if len(embeddings) != len(points):
                raise LimbeckError(
                    f"embeddings: {len(embeddings)} rows for {len(points)} points; give one each"
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
                        ordered(self._store, *one, own) for one, own in zip(near, embeddings, strict=True)
                    ]
                found += near
            elif embeddings is not None:
                found += nearest_settled(
                    self._store, search, some, wanted + (without is not None), embeddings, allowed
                )
            else:
                # One more, since the row left out is among them, unless as many equal ones stand before it.
                found += zip(*search(some, wanted + (without is not None), allowed), strict=True)
        if without is not None:
            own = zip(found, np.broadcast_to(without, len(found)), strict=True)
            found = [(scores[rows != row], rows[rows != row]) for (scores, rows), row in own]
        most = k if wanted is None else wanted
        return [(scores[:most], rows[:most]) for scores, rows in found]
