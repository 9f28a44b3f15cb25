"""What a derived index gives and costs, measured on queries that it does not hold.

Without queries of their own, stored items ask, each left out of its own answers. Recall counts a hit when its
distance is at most that of the exact k-th, so that ties do not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import Derived, write_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.query import Answer, ExactSearch
from limbeck.index.store import IndexStore

KS = (10, 100)
_QUERIES = 200
_TIMED = 30  # queries asked one by one
_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)  # of the rows, let through by a filter
_ENOUGH = 0.999
_HOPELESS = 20.0  # times slower than exact search
_LOSS = 0.02  # of recall under a filter

Search = Callable[..., Answer]


def build_engine(
    store: IndexStore,
    name: str,
    options: Mapping[str, int] | None = None,
    queries: np.ndarray | None = None,
    *,
    recall: float = 0.95,
) -> Derived:
    """Build an engine over all of a store and measure it; arguments as `write_derived` and `measure`."""
    if queries is not None:
        store.space.check(queries, what="queries")
    derived = write_derived(store, name, options)
    derived.keep_measured(measure(store, derived, queries, recall=recall))
    return derived


def measure(
    store: IndexStore, derived: Derived, queries: np.ndarray | None = None, *, recall: float = 0.95
) -> dict[str, Any]:
    """Recall and time of each setting of an engine, and from which share of rows on a filter suits it.

    Args:
        store: the index, all of which the engine covers.
        derived: one of its derived indexes.
        queries: (Q, width) points to ask with; by default 200 stored items, each left out of its answers.
        recall: the setting that filters are measured at is the fastest with so much at k = 10.

    Returns:
        ``queries``, ``held_out`` ("items" or "given"), ``exact_ms`` {k: ms a query asked alone}, ``settings``
        [{``setting``, ``recall`` {k: [mean, lower bound]}, ``ms`` {k: …}, ``scanned`` {k: share of the
        queries that went over to the exact scan}}] from fast to thorough, and
        ``exact_below``: the least share of rows at which a random filter was answered faster than exactly
        and at most .02 worse.

    Raises:
        LimbeckError: queries of another width, fewer than two items.
    """
    asked, own = (queries, None) if queries is not None else _stored(store)
    asked = store.space.check(asked, what="queries")
    if not len(asked):
        raise LimbeckError("queries: none; give at least one")
    exact = ExactSearch(store)
    ks = [k for k in KS if k < store.rows] or [1]
    truth = {k: _without(exact(asked, k + 1), own, k)[0][:, -1] for k in ks}
    timed = asked[:_TIMED]
    exact_ms = {str(k): _median_ms(exact, timed, k) for k in ks}
    found, engine = [], derived.open(store.space)
    for setting in engine.settings():
        search = ApproximateSearch(store, derived, setting, exact=exact)
        entry: dict[str, Any] = {"setting": setting, "recall": {}, "ms": {}, "scanned": {}}
        for k in ks:
            before = search.scanned
            scores = _without(search(asked, k + 1), own, k)[0]
            entry["scanned"][str(k)] = round((search.scanned - before) / len(asked), 4)
            entry["recall"][str(k)] = _recall(store.space.score_sign, scores, truth[k])
            entry["ms"][str(k)] = _median_ms(search, timed, k)
        found.append(entry)
        mean, bound = (min(pair[i] for pair in entry["recall"].values()) for i in (0, 1))
        slower = entry["ms"][str(ks[0])] / exact_ms[str(ks[0])]
        if mean >= _ENOUGH or slower > _HOPELESS or (bound >= recall and slower > 1):
            break
    first = str(ks[0])
    good = [entry for entry in found if entry["recall"][first][0] >= recall]
    return {
        "queries": len(asked),
        "held_out": "items" if own is not None else "given",
        "exact_ms": exact_ms,
        "settings": found,
        "exact_below": _exact_below(store, derived, exact, timed, good, ks[0]),
    }


def _stored(store: IndexStore) -> tuple[np.ndarray, np.ndarray]:
    """Points (q, width) of some items and their rows (q,)."""
    alive = None if store.alive is None else np.flatnonzero(store.alive)
    count = store.rows if alive is None else len(alive)
    if count < 2:
        raise LimbeckError(f"{store.path}: {count} item(s); nothing to measure an engine on")
    rows = np.random.default_rng(0).choice(count, min(_QUERIES, count), replace=False)
    rows = rows if alive is None else alive[rows]
    return store.points_at(rows), rows


def _without(answer: Answer, own: np.ndarray | None, k: int) -> Answer:
    """The first k hits of each query (q, k + 1), its own row left out."""
    scores, rows = answer
    if own is None:
        return scores[:, :k], rows[:, :k]
    order = np.argsort(rows == own[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _recall(sign: int, scores: np.ndarray, last: np.ndarray) -> list[float]:
    """Mean share of hits as near as the exact k-th (q,), and its lower bound (one-sided 95 %)."""
    each = (sign * scores >= sign * last[:, None]).mean(axis=1)
    error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0.0
    return [round(float(each.mean()), 4), round(float(each.mean() - 1.645 * error), 4)]


def _median_ms(search: Search, queries: np.ndarray, k: int, mask: np.ndarray | None = None) -> float:
    """Median time of a query asked alone; the first, which compiles and maps, does not count."""
    search(queries[:1], k, mask)
    times = []
    for q in range(len(queries)):
        start = time.perf_counter()
        search(queries[q : q + 1], k, mask)
        times.append(time.perf_counter() - start)
    return round(1e3 * float(np.median(times)), 5)


def _exact_below(
    store: IndexStore,
    derived: Derived,
    exact: ExactSearch,
    queries: np.ndarray,
    good: list[dict[str, Any]],
    k: int,
) -> float:
    """Least share at which a random filter was still worth the engine; 1 where none was."""
    if not good:
        return 1.0
    best = min(good, key=lambda entry: entry["ms"][str(k)])
    search, least = ApproximateSearch(store, derived, best["setting"], exact=exact), 1.0
    draws = np.random.default_rng(1).random(store.rows, dtype=np.float32)
    for share in _SHARES:
        mask = draws < share
        if np.count_nonzero(mask) <= 2 * k:
            break
        limit = exact(queries, k, mask)[0][:, -1]
        reached = _recall(store.space.score_sign, search(queries, k, mask)[0], limit)[0]
        slower = _median_ms(search, queries, k, mask) >= _median_ms(exact, queries, k, mask)
        if slower or reached < best["recall"][str(k)][0] - _LOSS:
            break
        least = share
    return least
