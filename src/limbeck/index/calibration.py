"""Measures recall and latency of a derived index on held-out queries.

If you give no queries, stored items are the queries, and each one is excluded from its own answer. Recall
counts a hit if its distance is at most that of the exact k-th, so ties do not matter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import Derived, write_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.measured import Measured, Measurement
from limbeck.index.query import Answer, ExactSearch
from limbeck.index.store import IndexStore

KS = (10, 100)
_QUERIES = 200
_TIMED = 30  # queries that are timed one by one
_SHARES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001)  # of the rows that a random filter allows
_ENOUGH = 0.999
_HOPELESS = 20.0  # times slower than exact search
_LOSS = 0.02  # of recall that a filter may cost

Search = Callable[..., Answer]


def build_engine(
    store: IndexStore,
    name: str,
    params: Mapping[str, int] | None = None,
    queries: np.ndarray | None = None,
    *,
    recall: float = 0.95,
) -> Derived:
    """Build an engine over all of a store and measure it.

    Args:
        store: an opened index.
        name: the name of the engine.
        params: build parameters of the engine.
        queries: (Q, width) points to measure with; by default stored items.
        recall: see `measure`.

    Returns:
        The description of the derived index.

    Raises:
        LimbeckError: as `write_derived` and `measure`.
    """
    if queries is not None:
        store.space.check(queries, what="queries")
    derived = write_derived(store, name, params)
    derived.keep_measured(measure(store, derived, queries, recall=recall))
    return derived


def measure(
    store: IndexStore, derived: Derived, queries: np.ndarray | None = None, *, recall: float = 0.95
) -> Measured:
    """Measure recall and latency of each of an engine's search parameters, with and without filters.

    Args:
        store: the index; the engine covers all of it.
        derived: one of its derived indexes.
        queries: (Q, width) query points; by default up to 200 stored items, each excluded from its answer.
        recall: filters are measured at the fastest parameters with this mean recall at the smallest k.

    Raises:
        LimbeckError: the queries have another width, there are none, or the index has fewer than two items.
    """
    query_points, query_rows = (queries, None) if queries is not None else _stored(store)
    query_points = store.space.check(query_points, what="queries")
    if not len(query_points):
        raise LimbeckError("queries: the list is empty; give at least one", code="E-ARRAY-EMPTY")
    exact = ExactSearch(store)
    ks = [k for k in KS if k < store.rows] or [1]
    truth = {k: _without(exact(query_points, k + 1), query_rows, k)[0][:, -1] for k in ks}
    timed = query_points[:_TIMED]
    exact_ms = {str(k): _median_ms(exact, timed, k) for k in ks}
    entries, engine = [], derived.open(store.space)
    for params in engine.search_params():
        search = ApproximateSearch(store, derived, params, exact=exact)
        entry = Measurement(params, {}, {})
        for k in ks:
            before = search.fallbacks
            scores = _without(search(query_points, k + 1), query_rows, k)[0]
            entry.fallbacks[str(k)] = round((search.fallbacks - before) / len(query_points), 4)
            entry.recall[str(k)] = _recall(store.space.score_sign, scores, truth[k])
            entry.ms[str(k)] = _median_ms(search, timed, k)
        entries.append(entry)
        mean, bound = (min(pair[i] for pair in entry.recall.values()) for i in (0, 1))
        slower = entry.ms[str(ks[0])] / exact_ms[str(ks[0])]
        if mean >= _ENOUGH or slower > _HOPELESS or (bound >= recall and slower > 1):
            break
    first = str(ks[0])
    good = [entry for entry in entries if entry.recall[first][0] >= recall]
    held_out = "items" if query_rows is not None else "given"
    exact_below = _exact_below(store, derived, exact, timed, good, ks[0])
    return Measured(len(query_points), held_out, exact_ms, entries, exact_below)


def _stored(store: IndexStore) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (q, width) and rows (q,) of a random sample of items."""
    alive = None if store.alive is None else np.flatnonzero(store.alive)
    count = store.rows if alive is None else len(alive)
    if count < 2:
        raise LimbeckError(
            f"{store.path}: has {count} items; an engine needs at least two to be measured",
            code="E-INDEX-EMPTY",
        )
    rows = np.random.default_rng(0).choice(count, min(_QUERIES, count), replace=False)
    rows = rows if alive is None else alive[rows]
    return store.points_at(rows), rows


def _without(answer: Answer, query_rows: np.ndarray | None, k: int) -> Answer:
    """Return the first k hits of each query (q, k + 1) without the query's own row."""
    scores, rows = answer
    if query_rows is None:
        return scores[:, :k], rows[:, :k]
    order = np.argsort(rows == query_rows[:, None], axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _recall(sign: int, scores: np.ndarray, last: np.ndarray) -> list[float]:
    """Return the mean share of hits as near as the exact k-th (q,), and its one-sided 95 % lower bound."""
    each = (sign * scores >= sign * last[:, None]).mean(axis=1)
    error = each.std(ddof=1) / np.sqrt(len(each)) if len(each) > 1 else 0.0
    return [round(float(each.mean()), 4), round(float(each.mean() - 1.645 * error), 4)]


def _median_ms(search: Search, queries: np.ndarray, k: int, mask: np.ndarray | None = None) -> float:
    """Return the median milliseconds per query, one at a time; a first call, which compiles, is not timed."""
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
    good: list[Measurement],
    k: int,
) -> float:
    """Return the least share of rows at which the engine beat exact search under a random filter, else 1."""
    if not good:
        return 1.0
    best = min(good, key=lambda entry: entry.ms[str(k)])
    search, least = ApproximateSearch(store, derived, best.params, exact=exact), 1.0
    draws = np.random.default_rng(1).random(store.rows, dtype=np.float32)
    for share in _SHARES:
        mask = draws < share
        if np.count_nonzero(mask) <= 2 * k:
            break
        limit = exact(queries, k, mask)[0][:, -1]
        reached = _recall(store.space.score_sign, search(queries, k, mask)[0], limit)[0]
        slower = _median_ms(search, queries, k, mask) >= _median_ms(exact, queries, k, mask)
        if slower or reached < best.recall[str(k)][0] - _LOSS:
            break
        least = share
    return least
