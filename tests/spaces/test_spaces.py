"""The numpy half of the spaces."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limbeck import spaces
from limbeck.errors import LimbeckError
from limbeck.spaces import Euclid, Hamming, Lorentz, Space, Sphere, space_from_json
from raising import raises_code


def units(seed: int, *shape: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal(shape)
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)


def some_codes(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("space", [Sphere(5), Hamming(24), Lorentz(5, 1.0), Euclid(5)])
def test_every_space_keeps_the_protocol(space):
    assert isinstance(space, Space)
    assert space_from_json(space.to_json()) == space == spaces.from_json(space.to_json())
    assert space.score_sign == (1 if space.score_name == "similarity" else -1)
    points = units(0, 4, 5) if space.storage == "vectors" else some_codes(0, 4, 3)
    assert points.shape[1] == space.width and points.dtype == space.dtype
    near = space.similarity(points, points)
    items, queries = space.index_items(points), space.index_queries(points)
    raw = {"vectors": queries @ items.T, "codes": -near}[space.storage]
    np.testing.assert_allclose(space.score_sign * space.score(raw), near, atol=1e-3)
    np.testing.assert_allclose(
        space.score_sign * space.rescore(points[:, None], points[None]), near, atol=1e-6
    )
    assert space.coordinates(points).dtype == np.float32 and len(space.coordinates(points)) == 4
    apart = np.square(space.coordinates(points)[:, None] - space.coordinates(points)[None]).sum(axis=-1)
    apart = apart * space.stretch(points)[:, None] * space.stretch(points)[None]
    assert (np.argsort(apart, axis=1) == np.argsort(-near, axis=1)).all()
    assert space.raw_limit(points, space.rescore(points, points), 2.0).shape == (4,)
    assert isinstance(space.has_cones, bool)
    hash(space)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"name": "torus"},
        {"name": "hamming"},
        {"name": "sphere", "bits": 8},
        {"name": "hamming", "bits": 12},
        {"name": "lorentz", "dim": 3},
        {"name": "lorentz", "dim": 3, "curv": -1.0},
    ],
)
def test_a_wrong_space_is_refused_in_one_line(value):
    with pytest.raises(LimbeckError) as caught:
        space_from_json(value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [0, 7, 12, 5000, -8, 8.0, True])
def test_hamming_refuses_bad_lengths(bits):
    with pytest.raises(LimbeckError, match="bits"):
        Hamming(bits)


@pytest.mark.parametrize("dim", [0, -1, 2.0])
def test_sphere_refuses_bad_dims(dim):
    with raises_code("E-OPTION-RANGE", "dim:"):
        Sphere(dim)


def test_check_names_what_is_wrong():
    with raises_code("E-ARRAY-SHAPE", "query:", "width 12", "64-bit", "8 bytes"):
        Hamming(64).index_queries(some_codes(0, 2, 12))
    with raises_code("E-CODES-FORM", "pack_bits"):
        Hamming(64).check(np.ones((2, 8), dtype=bool))
    with raises_code("E-ARRAY-SHAPE", "points:"):
        Hamming(64).check(some_codes(0, 8))
    with raises_code("E-ARRAY-VALUES", "row 1", "NaN"):
        Sphere(2).check([[1.0, 0.0], [np.nan, 1.0]])
    with raises_code("E-ARRAY-VALUES", "row 0", "NaN", "infinity"):
        Sphere(2).check([[np.inf, 0.0]])
    with raises_code("E-SPACE-POINTS", "row 0"):
        Sphere(2).check([[2.0, 0.0]])
    with raises_code("E-ARRAY-SHAPE", "width 3"):
        Sphere(2).check(units(0, 4, 3))
    with raises_code("E-ARRAY-TYPE", "points:"):
        Sphere(2).check([[1, 0]])


def test_check_takes_half_and_double_precision():
    for dtype in (np.float16, np.float64):
        assert Sphere(8).check(units(0, 3, 8).astype(dtype)).dtype == np.float32


def test_similarities_against_the_definition():
    q, x = units(1, 3, 6), units(2, 5, 6)
    np.testing.assert_allclose(Sphere(6).similarity(q, x), q.astype(float) @ x.T, atol=1e-6)
    a, b = some_codes(1, 3, 5), some_codes(2, 7, 5)
    expected = [[-sum(int(u ^ v).bit_count() for u, v in zip(p, r, strict=True)) for r in b] for p in a]
    got = Hamming(40).similarity(a, b)
    assert got.dtype == np.int32 and got.tolist() == expected


def test_sphere_mean_and_its_edge():
    x = units(3, 4, 2, 3)
    np.testing.assert_allclose(np.linalg.norm(Sphere(3).mean(x, axis=1), axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(Sphere(2).mean(np.eye(2)), [0.5**0.5] * 2, atol=1e-6)
    with raises_code("E-SPACE-POINTS", "points:"):
        Sphere(2).mean([[1.0, 0.0], [-1.0, 0.0]])
    with raises_code("E-ARRAY-EMPTY", "none"):
        Sphere(2).mean(np.empty((0, 2), np.float32))


def test_hamming_mean_is_the_majority_and_a_draw_is_plus_one():
    codes = np.packbits(np.array([[1, 1, 0, 0, 1, 0, 0, 1], [1, 0, 1, 0, 1, 0, 1, 0]], dtype=bool), axis=1)
    assert np.unpackbits(Hamming(8).mean(codes)).tolist() == [1, 1, 1, 0, 1, 0, 1, 1]
    three = some_codes(5, 3, 4, 2)
    majority = np.unpackbits(three, axis=-1).sum(axis=0) >= 1.5
    np.testing.assert_array_equal(Hamming(16).mean(three), np.packbits(majority, axis=-1))


def test_mean_refuses_the_last_axis():
    with raises_code("E-ARRAY-SHAPE", "points:"):
        Hamming(16).mean(some_codes(0, 3, 2), axis=1)


def test_slerp_goes_evenly_along_the_great_circle():
    a, b = units(6, 1, 4)[0], units(7, 1, 4)[0]
    path = Sphere(4).interpolate(a, b, np.linspace(0, 1, 6))
    np.testing.assert_allclose(path[[0, -1]], [a, b], atol=1e-6)
    steps = np.sum(path[1:].astype(float) * path[:-1], axis=1)
    np.testing.assert_allclose(steps, steps[0], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=1e-6)


def test_slerp_at_the_edges():
    a = units(8, 3, 4)
    np.testing.assert_allclose(Sphere(4).interpolate(a, a, 0.3), a, atol=1e-6)
    with raises_code("E-SPACE-POINTS", "interpolate:"):
        Sphere(4).interpolate(a, -a, 0.5)
    with raises_code("E-OPTION-RANGE", "t:"):
        Sphere(4).interpolate(a, a, 1.5)
    with raises_code("E-ARRAY-SHAPE", "interpolate:"):
        Sphere(4).interpolate(a, a[:2], 0.5)


two_codes = hnp.arrays(np.uint8, (2, 4))


@settings(deadline=None)
@given(two_codes, st.floats(0, 1), st.floats(0, 1))
def test_hamming_interpolation_walks_straight(ends, t, u):
    space, (a, b) = Hamming(32), ends
    low, high = space.interpolate(a, b, [min(t, u), max(t, u)])

    def apart(x: np.ndarray, y: np.ndarray) -> int:
        return -int(space.similarity(x[None], y[None])[0, 0])

    assert apart(a, low) == int(np.floor(min(t, u) * apart(a, b) + 0.5))
    assert apart(a, low) + apart(low, high) + apart(high, b) == apart(a, b)
    np.testing.assert_array_equal(space.interpolate(a, b, 0.0), a)
    np.testing.assert_array_equal(space.interpolate(a, b, 1.0), b)


def test_prefix():
    assert Hamming(64).prefix(16) == Hamming(16)
    for bits in (72, 12):
        with raises_code("E-CODES-LENGTH", "bits:"):
            Hamming(64).prefix(bits)


def test_spaces_import_neither_torch_nor_numba():
    code = "import sys, limbeck.spaces; sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
