"""Iterative quantization."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from limbeck.codes import itq, unpack_bits
from raising import raises_code


def clustered(seed: int, count: int = 400, width: int = 24) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((12, width))[rng.integers(0, 12, count)]
        + 0.3 * rng.standard_normal((count, width))
        + 2
    )


def loss(fitted, x: np.ndarray) -> float:
    flat = fitted.project(x)
    return float(np.sum((np.where(flat >= 0, 1, -1) - flat) ** 2))


def test_shapes_and_codes_are_the_signs_of_the_projection():
    x = clustered(0)
    fitted = itq(x, 16, seed=0)
    assert fitted.bits == 16 and fitted.mean.shape == (24,) and fitted.projection.shape == (24, 16)
    codes = fitted.encode(x.astype(np.float32))
    assert codes.shape == (400, 2) and codes.dtype == np.uint8
    np.testing.assert_array_equal(unpack_bits(codes) > 0, fitted.project(x.astype(np.float32)) >= 0)


def test_projection_is_principal_directions_turned():
    x = clustered(1)
    fitted = itq(x, 8, seed=0)
    np.testing.assert_allclose(fitted.projection.T @ fitted.projection, np.eye(8), atol=1e-10)
    _, _, rows = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    outside = fitted.projection - rows[:8].T @ (rows[:8] @ fitted.projection)
    np.testing.assert_allclose(outside, 0, atol=1e-8)


def test_iterations_lower_the_quantization_error():
    x = clustered(2)
    losses = [loss(itq(x, 16, seed=3, iterations=n), x) for n in (0, 1, 5, 50)]
    assert losses == sorted(losses, reverse=True) and losses[-1] < 0.98 * losses[0]


def test_same_seed_same_result_and_seeds_differ():
    x = clustered(4)
    first, again, other = itq(x, 16, seed=1), itq(x, 16, seed=1), itq(x, 16, seed=2)
    np.testing.assert_array_equal(first.projection, again.projection)
    assert not np.array_equal(first.projection, other.projection)
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.mean = None


@pytest.mark.parametrize(
    ("x", "bits", "message"),
    [
        (np.zeros((10, 8)), 16, ("E-CODES-LENGTH", "bits:")),
        (np.zeros((10, 16)), 12, ("E-CODES-LENGTH", "of 8")),
        (np.zeros((10, 16)), 0, ("E-CODES-LENGTH", "of 8")),
        (np.zeros((1, 16)), 8, ("E-ARRAY-ROWS", "x:")),
        (np.full((10, 16), np.nan), 8, ("E-ARRAY-VALUES", "NaN")),
        (np.zeros(16), 8, ("E-ARRAY-SHAPE", "x:")),
    ],
)
def test_errors(x, bits, message):
    with raises_code(*message):
        itq(x, bits, seed=0)


def test_encode_refuses_another_width():
    with raises_code("E-ARRAY-SHAPE", "width 9"):
        itq(clustered(5), 8, seed=0).encode(np.zeros((2, 9)))
