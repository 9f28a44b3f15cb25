"""Weighted sums of points: a float64 oracle for each space, and what the sum promises."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from limbeck.spaces import Euclid, Hamming, Lorentz, Space, Sphere
from raising import raises_code

SPACES = [Sphere(6), Euclid(6), Lorentz(6, 0.5), Hamming(16)]
WEIGHTS = [1.0, -0.5, 2.0, 0.25]


def terms(space: Space, count: int = 4, seed: int = 0) -> np.ndarray:
    """Points; for codes, numbers before the signs."""
    x = np.random.default_rng(seed).standard_normal((count, 16 if space.storage == "codes" else 6))
    return space.restored(x) if space.storage == "vectors" else x.astype(np.float32)


def oracle(space: Space, weights: list[float], vectors: np.ndarray) -> np.ndarray:
    """In plain float64: the direction of the sum, at the mean length of the terms."""
    w, x = np.array(weights), vectors.astype(np.float64)
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    if isinstance(space, Hamming):
        x, norms = x / norms, np.ones_like(norms)
    root = np.sqrt(space.curv) if isinstance(space, Lorentz) else None
    if root is not None:  # log at the origin: the length is the distance
        x, norms = np.arcsinh(root * norms) / root * x / norms, np.arcsinh(root * norms) / root
    total = w @ x
    length = float(np.abs(w) @ norms[:, 0] / np.abs(w).sum())
    if root is not None:
        length = np.sinh(root * length) / root
    return length * total / np.linalg.norm(total)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_the_sum_is_that_of_the_oracle_in_any_order(space):
    vectors = terms(space)
    found = space.combine(WEIGHTS, vectors)
    np.testing.assert_allclose(found, oracle(space, WEIGHTS, vectors), atol=2e-6)
    if space.storage == "vectors":
        space.check(found[None])
    for order in itertools.permutations(range(4)):
        same = space.combine([WEIGHTS[n] for n in order], vectors[list(order)])
        assert same.tobytes() == found.tobytes()


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_one_term_is_itself_and_a_negative_one_its_opposite(space):
    vector = terms(space, 1)
    alone = space.combine([1.0], vector)
    if space.storage == "vectors":
        assert alone.tobytes() == vector[0].tobytes() == space.combine([7.0], vector).tobytes()
    assert ((alone >= 0) == (vector[0] >= 0)).all()
    np.testing.assert_allclose(space.combine([-3.0], vector), -alone, rtol=1e-5, atol=1e-7)


def test_a_sum_stays_as_far_from_the_root_as_its_terms():
    space = Lorentz(6, 0.5)
    vectors = terms(space, 3)
    radii = space.radius(vectors)
    found = space.radius(space.combine([1, 1, -1], vectors)[None])
    assert found == pytest.approx(radii.mean(), rel=1e-5)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_bad_sums_are_refused(space):
    vectors = terms(space, 2)
    for weights in ([1.0, 0.0], [1.0, np.nan]):
        with raises_code("E-OPTION-RANGE", "weight"):
            space.combine(weights, vectors)
    with raises_code("E-ARRAY-ROWS", "one weight per term"):
        space.combine([1.0], vectors)
    with raises_code("E-SPACE-POINTS", "cancel out"):
        space.combine([1.0, -1.0], vectors[[0, 0]])
