"""The nearest k, exactly, from engines that round: against brute force by the published formula."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.index.exact import search_vectors
from limbeck.index.exact_rescore import Source, longest_row, nearest
from limbeck.spaces import Lorentz, Space, Sphere
from limbeck.spaces.base import product_error
from raising import raises_code

TIE = 1e-9


def on_hyperboloid(tangent: np.ndarray, curv: float) -> np.ndarray:
    r = np.linalg.norm(tangent, axis=1, keepdims=True)
    return (np.sinh(r) / r * tangent / np.sqrt(curv)).astype(np.float32)


def clustered(n: int, dim: int, curv: float = 1.0, *, low=0.0, far=4.0, spread=0.1, seed=0) -> np.ndarray:
    """Points about centres at radius low to far, 50 about each, so that near neighbours exist."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, n // 50), dim))
    centres *= rng.uniform(low, far, (len(centres), 1)) / np.linalg.norm(centres, axis=1, keepdims=True)
    noise = spread * rng.uniform(0, 1, (n, 1)) * rng.standard_normal((n, dim)) / np.sqrt(dim)
    return on_hyperboloid(centres[rng.integers(0, len(centres), n)] + noise, curv)


def geodesic(queries: np.ndarray, items: np.ndarray, curv: float) -> np.ndarray:
    """acosh(-curv<x, y>)/√curv in float64."""
    x, y = queries.astype(np.float64), items.astype(np.float64)
    times = np.outer(np.sqrt(1 / curv + np.sum(x**2, 1)), np.sqrt(1 / curv + np.sum(y**2, 1)))
    cosine = np.maximum(curv * (times - x @ y.T), 1)
    a, b = np.nonzero(cosine < 1 + 1e-9)
    cosine[a, b] = np.where((x[a] == y[b]).all(axis=1), 1, cosine[a, b])  # acosh sees 1e-8 there
    return np.arccosh(cosine) / np.sqrt(curv)


def ours(items: np.ndarray):
    return lambda asked, m: search_vectors(asked, items, m)


def faiss_flat(items: np.ndarray):
    faiss = pytest.importorskip("faiss")
    flat = faiss.IndexFlatIP(items.shape[1])
    flat.add(items)
    return flat.search


def source(space: Space, items: np.ndarray, engine=ours) -> Source:
    stored = space.index_items(items)
    return Source(engine(stored), items.__getitem__, len(items), longest_row(stored))


def assert_nearest(found, distances: np.ndarray, k: int) -> None:
    """Place by place the true distance, each row once, and the score that belongs to the row."""
    scores, rows = found
    truth = np.sort(distances, axis=1)[:, :k]
    assert scores.shape == rows.shape == truth.shape and scores.dtype == float and rows.dtype == np.int64
    np.testing.assert_allclose(scores, truth, rtol=0, atol=TIE)
    np.testing.assert_allclose(np.take_along_axis(distances, rows, 1), truth, rtol=0, atol=TIE)
    assert all(len(set(line)) == len(line) for line in rows.tolist())


@pytest.mark.parametrize("engine", [ours, faiss_flat])
def test_the_geodesic_top_ten_of_100_000_points(engine):
    space, points = Lorentz(32, 1.0), clustered(100_050, 32)
    queries, items = points[:50], points[50:]
    distances = geodesic(queries, items, 1.0)
    searched = source(space, items, engine)
    assert_nearest(nearest(space, searched, queries, 10), distances, 10)
    # what this test is for: the float32 order alone is not the geodesic one
    raw = searched.search(space.index_queries(queries), 10)[1]
    gap = np.take_along_axis(distances, raw, 1) - np.sort(distances, axis=1)[:, :10]
    assert (np.abs(gap) > TIE).any()


@pytest.mark.parametrize("engine", [ours, faiss_flat])
@pytest.mark.parametrize("curv", [0.1, 5.0])
def test_far_out_where_the_engine_sees_nothing(engine, curv):
    """At radius 8 float32 cannot tell neighbours at distance 1 apart."""
    space = Lorentz(16, curv)
    points = clustered(3000, 16, curv, low=6, far=8, spread=1.0)
    queries, items = points[:20], points[20:]
    for k in (1, 10):
        found = nearest(space, source(space, items, engine), queries, k)
        np.testing.assert_allclose(
            found[0], np.sort(geodesic(queries, items, curv))[:, :k], rtol=1e-4, atol=1e-3
        )
        best = np.sort(space.rescore(queries[:, None], items[None]), axis=1)[:, :k]
        np.testing.assert_array_equal(found[0], best)


def worst_engine(space: Space, queries: np.ndarray, items: np.ndarray):
    """Errors as large as float32 sums may have, against the true order: near items low, far items high."""
    stored, asked = space.index_items(items).astype(float), space.index_queries(queries).astype(float)
    true = asked @ stored.T
    near = np.argsort(np.argsort(-true, axis=1), axis=1) < 10
    size = np.abs(asked) @ np.abs(stored).T * product_error(stored.shape[1])
    raw = np.where(near, true - size, true + size)

    def search(which, m):
        number = [int(np.flatnonzero((asked == row).all(axis=1))[0]) for row in which.astype(float)]
        rows = np.argsort(-raw[number], axis=1, kind="stable")[:, :m]
        return np.take_along_axis(raw[number], rows, 1).astype(np.float32), rows

    return search


@pytest.mark.parametrize("space", [Lorentz(64, 1.0), Sphere(64)], ids=str)
def test_the_worst_rounding_changes_nothing(space):
    points = clustered(4000, 64, far=5.0, spread=0.02)
    if space.name == "sphere":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    queries, items = points[:30], points[30:]
    engine = worst_engine(space, queries, items)
    stored = space.index_items(items)
    calls: list[int] = []

    def search(asked, m):
        calls.append(m)
        return engine(asked, m)

    found = nearest(space, Source(search, items.__getitem__, len(items), longest_row(stored)), queries, 10)
    scores = space.rescore(queries[:, None], items[None])
    order = np.argsort(-space.score_sign * scores, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(found[1], order)
    np.testing.assert_array_equal(found[0], np.take_along_axis(scores, order, 1))
    assert not np.array_equal(engine(space.index_queries(queries), 10)[1], order)
    assert len(calls) > 1  # the first answer did not suffice, and that was noticed


def test_separated_neighbours_need_one_answer_of_the_engine():
    space = Lorentz(8, 1.0)
    points = on_hyperboloid(np.random.default_rng(1).standard_normal((2000, 8)), 1.0)
    plain, calls = source(space, points), []
    watched = Source(
        lambda asked, m: calls.append((len(asked), m)) or plain.search(asked, m),
        plain.points,
        2000,
        plain.longest,
    )
    nearest(space, watched, points[:50], 10)
    assert calls == [(50, 36)]


def test_equal_points_fall_by_row_and_blocks_change_nothing(monkeypatch):
    space = Lorentz(4, 2.0)
    items = np.repeat(clustered(20, 4, 2.0, spread=0.5), 30, axis=0)[
        np.random.default_rng(2).permutation(600)
    ]
    found = nearest(space, source(space, items), items[:9], 40)
    scores = space.rescore(items[:9, None], items[None])
    order = np.lexsort((np.broadcast_to(np.arange(600), scores.shape), scores), axis=1)[:, :40]
    np.testing.assert_array_equal(found[1], order)
    assert (found[0][:, :30] == 0).all()
    monkeypatch.setattr("limbeck.index.exact_rescore.BLOCK_CELLS", 300)
    for left, right in zip(nearest(space, source(space, items), items[:9], 40), found, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("engine", [ours, faiss_flat])
def test_few_items_many_asked_for_and_no_queries(engine):
    space, items = Lorentz(3, 1.0), clustered(7, 3)
    for k in (1, 6, 7, 100):
        assert_nearest(
            nearest(space, source(space, items, engine), items[:2], k),
            geodesic(items[:2], items, 1),
            min(k, 7),
        )
    scores, rows = nearest(space, source(space, items, engine), items[:0], 3)
    assert scores.shape == rows.shape == (0, 3)
    assert nearest(space, Source(ours(items), items.__getitem__, 0, 0.0), items[:2], 3)[1].shape == (2, 0)
    assert longest_row(items[:0]) == 0
    with raises_code("E-ARRAY-SHAPE", "query:", "width 2"):
        nearest(space, source(space, items, engine), items[:, :2], 1)
