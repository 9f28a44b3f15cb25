"""Flat space against naive float64, and exact through an inner-product engine."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.index.exact_rescore import Source, longest_row, nearest
from limbeck.spaces import Euclid
from raising import raises_code

SPACE = Euclid(6)


def some(seed: int, rows: int, scale: float = 1.0) -> np.ndarray:
    return (scale * np.random.default_rng(seed).standard_normal((rows, 6))).astype(np.float32)


def test_distances_by_loops() -> None:
    a, b = some(0, 4), some(1, 5, 3.0)
    wanted = [
        [np.sqrt(sum((x - y) ** 2 for x, y in zip(p, q, strict=True))) for q in b.tolist()]
        for p in a.tolist()
    ]
    np.testing.assert_allclose(-SPACE.similarity(a, b), wanted, rtol=1e-6)
    np.testing.assert_allclose(SPACE.rescore(a[:, None], b[None]), wanted, rtol=1e-12)
    np.testing.assert_allclose(
        SPACE.score(SPACE.index_queries(a) @ SPACE.index_items(b).T), wanted, rtol=1e-4
    )
    assert (SPACE.rescore(a, a) == 0).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_the_engine_is_made_exact(scale: float) -> None:
    """Items so near each other that the float32 sum cannot tell them apart."""
    items = np.concatenate([some(0, 300, scale), some(1, 1, scale) + some(2, 300, 1e-4 * scale)])
    queries = items[[5, 310, 400]] + some(3, 3, 1e-5 * scale)
    stored = SPACE.index_items(items)

    def search(asked: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray]:
        raw = asked @ stored.T
        order = np.argsort(-raw, axis=1, kind="stable")[:, :m]
        return np.take_along_axis(raw, order, 1), order

    source = Source(search, lambda rows: items[rows], len(items), longest_row(stored))
    scores, rows = nearest(SPACE, source, queries, 7)
    exact = np.linalg.norm(queries[:, None].astype(np.float64) - items[None].astype(np.float64), axis=-1)
    np.testing.assert_array_equal(rows, np.argsort(exact, axis=1, kind="stable")[:, :7])
    np.testing.assert_allclose(scores, np.sort(exact, axis=1)[:, :7])


def test_the_limit_holds() -> None:
    for seed in range(20):
        scale = 10.0 ** np.random.default_rng(seed).uniform(-3, 3)
        a, b = some(seed, 50, scale), some(seed + 99, 50, scale)
        raw = (SPACE.index_queries(a) * SPACE.index_items(b)).sum(1)
        longest = longest_row(SPACE.index_items(b))
        assert (raw >= SPACE.raw_limit(a, SPACE.rescore(a, b), longest)).all()


def test_mean_and_line() -> None:
    a, b = some(0, 3), some(1, 3)
    np.testing.assert_allclose(SPACE.mean(a), a.mean(0), rtol=1e-6)
    np.testing.assert_allclose(SPACE.interpolate(a, b, [0.0, 0.25, 1.0])[1], 0.75 * a + 0.25 * b, rtol=1e-5)


def test_what_is_refused() -> None:
    with raises_code("E-OPTION-RANGE", "dim:"):
        Euclid(0)
    with raises_code("E-ARRAY-VALUES", "row 1", "NaN"):
        SPACE.check(np.array([[0.0] * 6, [np.nan] * 6]))
    with raises_code("E-SPACE-POINTS", "row 0"):
        SPACE.check(np.full((1, 6), 1e9))
    with raises_code("E-SPACE-CONES", "radius:"):
        SPACE.radius(some(0, 2))
