"""The formulas against float64 oracles of the published equations, in float64 and in float32."""

from __future__ import annotations

import math

import lorentz_oracle as oracle
import numpy as np
import pytest
import torch

from limbeck.errors import LimbeckError
from limbeck.geometry import lorentz

CURVATURES = [0.1, 1.0, 2.5, 10.0]
WIDTHS = [2, 64, 512]


def directions(rng, rows, dim):
    x = rng.standard_normal((rows, dim))
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def points(seed, rows, dim, c, low, high):
    """Space parts with √c‖x‖ between low and high, evenly in the logarithm."""
    rng = np.random.default_rng(seed)
    norm = np.exp(rng.uniform(math.log(low), math.log(high), (rows, 1)))
    return directions(rng, rows, dim) * norm / math.sqrt(c)


def pairs(seed, rows, dim, c, low=0.05, high=10.0):
    """Pairs of all kinds in float32-exact numbers: unrelated, along one ray, near ones; float64 arrays."""
    rng = np.random.default_rng(seed)
    x = points(seed, rows, dim, c, low, high)
    far = points(seed + 1, rows, dim, c, low, high)
    ray = x * (np.linalg.norm(far, axis=-1) / np.linalg.norm(x, axis=-1))[:, None]
    ray = ray + 10 ** rng.uniform(-4, -1, (rows, 1)) * directions(rng, rows, dim) / math.sqrt(c)
    near = x + 10 ** rng.uniform(-3, 0, (rows, 1)) * directions(rng, rows, dim) / math.sqrt(c)
    x, y = np.concatenate([x, x, x]), np.concatenate([far, ray, near])
    return x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)


def relative(got, expected):
    return np.max(np.abs(got.double().numpy() - expected) / np.abs(expected))


def absolute(got, expected):
    return np.max(np.abs(got.double().numpy() - expected), initial=0.0)


def tensors(*arrays, dtype=torch.float64):
    return tuple(torch.tensor(a, dtype=dtype) for a in arrays)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", WIDTHS)
def test_float64_equals_the_published_equations(c, dim):
    x, y = pairs(0, 150, dim, c)
    length = oracle.distance(x, y, c)
    apart = math.sqrt(c) * length > 0.05  # where acosh and acos have digits to compare with
    tx, ty = tensors(x, y)
    assert relative(lorentz.inner(tx, ty, c), oracle.inner(x, y, c)) < 1e-10
    assert relative(lorentz.distance(tx, ty, c)[apart], length[apart]) < 1e-9
    assert relative(lorentz.exp_map0(tx, c), oracle.exp_map0(x, c)) < 1e-10
    assert relative(lorentz.log_map0(tx, c), oracle.log_map0(x, c)) < 1e-6
    wide = math.sqrt(c) * np.linalg.norm(x, axis=-1) > 0.21
    assert relative(lorentz.half_aperture(tx[wide], c), oracle.half_aperture(x[wide], c)) < 1e-10
    angle = oracle.exterior_angle(x, y, c)
    plain = apart & (angle > 0.02) & (angle < math.pi - 0.02)
    assert plain.sum() > 150
    assert relative(lorentz.exterior_angle(tx, ty, c)[plain], angle[plain]) < 1e-6
    assert absolute(lorentz.exterior_angle(tx, ty, c)[plain], oracle.triangle_angle(x, y, c)[plain]) < 1e-6


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", WIDTHS)
def test_small_angles(dim, c):
    """Where acos has no digits: y almost on the far ray of x, angles from 1e-7 to 0.5."""
    rng = np.random.default_rng(9)
    x = points(9, 300, dim, c, 0.01, 5)
    y = x * rng.uniform(1.2, 3.0, (300, 1))
    y = (
        y
        + 10 ** rng.uniform(-6, 0, (300, 1))
        * np.linalg.norm(x, axis=-1)[:, None]
        * directions(rng, 300, dim)
        / 10
    )
    x, y = x.astype(np.float32).astype(np.float64), y.astype(np.float32).astype(np.float64)
    angle = oracle.small_angle(x, y, c)
    small = (angle > 1e-7) & (angle < 0.5)
    assert small.sum() > 200
    x, y, angle = x[small], y[small], angle[small]
    apart = math.sqrt(c) * oracle.distance(x, y, c)
    # the floor of float64 puts 1e-10 in the sine leg at most
    assert np.all(
        np.abs(lorentz.exterior_angle(*tensors(x, y), c).numpy() - angle) < 1e-6 * angle + 1e-10 / apart
    )
    single = lorentz.exterior_angle(*tensors(x, y, dtype=torch.float32), c).double().numpy()
    assert np.all(np.abs(single - angle) < 2e-6 + 1e-6 / apart)


@pytest.mark.parametrize("c", CURVATURES)
def test_pairwise_equals_every_pair_of_rows(c):
    x, y = points(1, 7, 16, c, 0.1, 10), points(2, 5, 16, c, 0.1, 10)
    tx, ty = tensors(x, y)
    assert lorentz.pairwise_inner(tx, ty, c).shape == (7, 5)
    assert relative(lorentz.pairwise_inner(tx, ty, c), oracle.inner(x[:, None], y, c)) < 1e-12
    assert relative(lorentz.pairwise_distance(tx, ty, c), oracle.distance(x[:, None], y, c)) < 1e-9
    torch.testing.assert_close(lorentz.pairwise_distance(tx, ty, c), lorentz.distance(tx[:, None], ty, c))


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", WIDTHS)
def test_float32_distance_within_its_limit(c, dim):
    x, y = pairs(3, 400, dim, c, low=1e-3)
    inside = (np.sqrt(c) * np.linalg.norm(y, axis=-1) <= 10) & (
        math.sqrt(c) * oracle.distance(x, y, c) >= 1e-3
    )
    x, y = x[inside], y[inside]
    got = lorentz.distance(*tensors(x, y, dtype=torch.float32), c)
    assert got.dtype == torch.float32
    assert relative(got, lorentz.distance(*tensors(x, y), c).numpy()) < 1e-4
    assert relative(got, oracle.distance(x, y, c)) < 1e-4


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", WIDTHS)
def test_float32_pairwise_distance_within_its_limit(c, dim):
    x, y = pairs(4, 60, dim, c, low=1e-3)
    keep = np.sqrt(c) * np.linalg.norm(y, axis=-1) <= 10
    x, y = x[keep], y[keep]
    truth = oracle.distance(x[:, None], y, c)
    got = lorentz.pairwise_distance(*tensors(x, y, dtype=torch.float32), c)
    apart = math.sqrt(c) * truth >= 1
    assert relative(got[apart], truth[apart]) < 2e-4
    assert absolute(got[~apart], truth[~apart]) < 2e-2 / math.sqrt(c)


@pytest.mark.parametrize("c", CURVATURES)
@pytest.mark.parametrize("dim", WIDTHS)
def test_float32_angles_within_their_limits(c, dim):
    x, y = pairs(5, 400, dim, c, low=1e-4)
    apart = math.sqrt(c) * oracle.distance(x, y, c) >= 1e-2
    x, y = x[apart], y[apart]
    got = lorentz.exterior_angle(*tensors(x, y, dtype=torch.float32), c).double().numpy()
    truth = lorentz.exterior_angle(*tensors(x, y), c).numpy()  # it has digits for small angles too
    assert np.all(np.abs(got - truth) < 2e-6 + 1e-6 / (math.sqrt(c) * oracle.distance(x, y, c)))
    wide = x[math.sqrt(c) * np.linalg.norm(x, axis=-1) > 0.22]
    assert (
        relative(lorentz.half_aperture(*tensors(wide, dtype=torch.float32), c), oracle.half_aperture(wide, c))
        < 1e-6
    )


@pytest.mark.parametrize("c", CURVATURES)
def test_float32_maps_within_their_limits(c):
    x = points(6, 1000, 64, c, 1e-3, 10).astype(np.float32).astype(np.float64)
    tx = torch.tensor(x, dtype=torch.float32)
    assert relative(lorentz.exp_map0(tx, c), oracle.exp_map0(x, c)) < 1e-5
    assert relative(lorentz.log_map0(tx, c), lorentz.log_map0(tx.double(), c).numpy()) < 1e-6


@pytest.mark.parametrize("r", [0.0, 1e-30, 1e-5, 9.9e-5, 1.01e-4, 1e-3])
def test_maps_near_the_origin_are_almost_the_identity(r):
    u = torch.tensor([[0.3 * r, -0.4 * r]], dtype=torch.float64)  # r = √curv‖u‖ for curv = 4
    for image, factor in (
        (lorentz.exp_map0(u, 4.0), math.sinh(r) / r if r > 1e-20 else 1.0),
        (lorentz.log_map0(u, 4.0), math.asinh(r) / r if r > 1e-20 else 1.0),
    ):
        torch.testing.assert_close(image, u * factor, rtol=1e-14, atol=0)


def test_known_values():
    x, y = tensors([[math.sinh(1.0), 0.0]], [[-math.sinh(2.0), 0.0]])
    assert lorentz.distance(x, y, 1.0).item() == pytest.approx(3.0, rel=1e-14)
    assert lorentz.inner(x, x, 1.0).item() == pytest.approx(-1.0, rel=1e-14)
    assert lorentz.exterior_angle(x, y, 1.0).item() == pytest.approx(math.pi, abs=1e-6)
    assert lorentz.exterior_angle(x, -y, 1.0).item() == pytest.approx(0.0, abs=1e-6)
    assert lorentz.half_aperture(torch.tensor([0.4, 0.0]), 1.0).item() == pytest.approx(math.pi / 6, rel=1e-6)
    assert lorentz.half_aperture(torch.tensor([0.2, 0.0]), 4.0, 0.1).item() == pytest.approx(
        math.pi / 6, rel=1e-6
    )
    # a right angle at x: the geodesic through x across the ray is cosh(t) x + sinh(t) e
    x, y = tensors([1.0, 0.0], [math.cosh(0.7), math.sinh(0.7)])
    assert lorentz.exterior_angle(x, y, 1.0).item() == pytest.approx(math.pi / 2, abs=1e-12)


def test_where_nothing_is_defined_there_is_still_a_number():
    zero, x = torch.zeros(3), torch.tensor([0.3, -0.2, 0.5])
    assert lorentz.distance(x, x, 1.0).item() < 2e-7
    assert lorentz.pairwise_distance(x[None], x[None], 1.0).item() < 2e-3
    assert lorentz.exterior_angle(x, x, 1.0).item() == pytest.approx(math.pi / 2, abs=1e-6)
    assert lorentz.exterior_angle(zero, x, 1.0).item() == pytest.approx(math.pi / 2, abs=1e-6)
    assert 0 < lorentz.exterior_angle(zero, zero, 1.0).item() < math.pi
    for inside in (zero, torch.tensor([0.2, 0.0, 0.0]), torch.tensor([0.1, 0.0, 0.0])):
        assert lorentz.half_aperture(inside, 1.0).item() == pytest.approx(math.pi / 2, abs=1.5e-3)


def test_a_nan_is_not_hidden():
    x, y = torch.tensor([[math.nan, 0.0]]), torch.tensor([[1.0, 0.0]])
    for f in (lorentz.inner, lorentz.distance, lorentz.pairwise_inner, lorentz.pairwise_distance):
        assert f(x, y, 1.0).isnan().all() and f(y, x, 1.0).isnan().all()
    assert lorentz.exterior_angle(x, y, 1.0).isnan().all() and lorentz.exterior_angle(y, x, 1.0).isnan().all()
    for g in (lorentz.exp_map0, lorentz.log_map0):
        assert g(x, 1.0).isnan().any()
    assert lorentz.half_aperture(x, 1.0).isnan().all()


BINARY = [
    lorentz.inner, lorentz.pairwise_inner, lorentz.distance, lorentz.pairwise_distance, lorentz.exterior_angle
]  # fmt: skip
UNARY = [lorentz.exp_map0, lorentz.log_map0, lorentz.half_aperture]


def outputs(x, y, c):
    return [f(x, y, c) for f in BINARY] + [f(x, c) for f in UNARY]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.float32, torch.float64])
def test_types(dtype):
    x, y = torch.tensor([[1, 2], [0, 3]]).to(dtype), torch.tensor([[2, 2], [1, -1]]).to(dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    for c in (2.0, torch.tensor(2.0), torch.tensor(2.0, dtype=torch.float64), torch.tensor([2.0]).half()):
        for got, exact in zip(outputs(x, y, c), outputs(x.float(), y.float(), 2.0), strict=True):
            assert got.dtype == expected
            torch.testing.assert_close(got.float(), exact)
    assert lorentz.distance(x[0].float(), y[0].double(), 1.0).dtype == torch.float64


def test_autocast_does_not_touch_it():
    x, y = (torch.tensor(points(s, 6, 32, 1.0, 0.5, 5), dtype=torch.float32) for s in (7, 8))
    plain = outputs(x, y, 1.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for got, exact in zip(outputs(x, y, 1.0), plain, strict=True):
            assert got.dtype == torch.float32 and torch.equal(got, exact)


def test_shapes_broadcast():
    x, y = torch.randn(4, 1, 3), torch.randn(5, 3)
    for f in (lorentz.inner, lorentz.distance, lorentz.exterior_angle):
        assert f(x, y, 1.0).shape == (4, 5)
        assert f(x[0, 0], y[0], 1.0).shape == ()
        assert f(x[:0], y, torch.tensor([1.0])).shape == (0, 5)
    assert lorentz.pairwise_distance(x[:0, 0], y, 1.0).shape == (0, 5)
    assert lorentz.exp_map0(x, 1.0).shape == lorentz.log_map0(x, 1.0).shape == (4, 1, 3)
    assert lorentz.half_aperture(x, 1.0).shape == (4, 1)


@pytest.mark.parametrize("curv", [0.0, -1.0, math.nan, math.inf, torch.ones(2)])
def test_a_wrong_curvature_is_named(curv):
    x = torch.ones(2, 3)
    for f in BINARY:
        with pytest.raises(LimbeckError, match="curv"):
            f(x, x, curv)
    for g in UNARY:
        with pytest.raises(LimbeckError, match="curv"):
            g(x, curv)


def test_wrong_shapes_are_named():
    for f in BINARY:
        with pytest.raises(LimbeckError, match="width"):
            f(torch.ones(2, 3), torch.ones(2, 1), 1.0)
    for f in (lorentz.pairwise_inner, lorentz.pairwise_distance):
        with pytest.raises(LimbeckError, match="pairwise"):
            f(torch.ones(3), torch.ones(2, 3), 1.0)
