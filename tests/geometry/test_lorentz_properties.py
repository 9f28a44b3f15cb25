"""What holds on every hyperboloid, for any points (hypothesis)."""

from __future__ import annotations

import math

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.geometry import lorentz

settings.register_profile("lorentz", max_examples=60, deadline=None)
FAST = settings.get_profile("lorentz")

curvatures = st.floats(0.1, 10.0)
radii = st.floats(0.01, 8.0)  # √curv times the distance to the origin


@st.composite
def spaces(draw, count, low=0.01, high=6.0):
    """A curvature and so many points of one width, float64, by tangent vectors at the origin."""
    c, dim = draw(curvatures), draw(st.integers(2, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    found = []
    for _ in range(count):
        u = torch.randn(dim, generator=generator, dtype=torch.float64)
        found.append(lorentz.exp_map0(u / u.norm() * draw(st.floats(low, high)) / math.sqrt(c), c))
    return c, found, generator


@FAST
@given(spaces(2))
def test_a_rotation_of_space_changes_nothing(case):
    c, (x, y), generator = case
    turn = torch.linalg.qr(torch.randn(len(x), len(x), generator=generator, dtype=torch.float64))[0]
    for f, tolerance in ((lorentz.inner, 1e-9), (lorentz.distance, 1e-6), (lorentz.exterior_angle, 1e-6)):
        torch.testing.assert_close(f(turn @ x, turn @ y, c), f(x, y, c), rtol=tolerance, atol=1e-6)
    torch.testing.assert_close(lorentz.half_aperture(turn @ x, c), lorentz.half_aperture(x, c))
    for g in (lorentz.exp_map0, lorentz.log_map0):
        torch.testing.assert_close(g(turn @ x, c), turn @ g(x, c))


@FAST
@given(spaces(2))
def test_distance_is_symmetric_and_positive(case):
    c, (x, y), _ = case
    assert lorentz.distance(x, y, c) > 0
    torch.testing.assert_close(lorentz.distance(x, y, c), lorentz.distance(y, x, c), rtol=1e-12, atol=0)
    both = torch.stack([x, y])
    pairwise = lorentz.pairwise_distance(both, both, c)
    torch.testing.assert_close(pairwise, pairwise.T)
    torch.testing.assert_close(pairwise[0, 1], lorentz.distance(x, y, c), rtol=1e-6, atol=1e-6)


@FAST
@given(spaces(3))
def test_triangle_inequality(case):
    c, (x, y, z), _ = case
    direct, detour = lorentz.distance(x, z, c), lorentz.distance(x, y, c) + lorentz.distance(y, z, c)
    assert direct <= detour * (1 + 1e-9)


@FAST
@given(spaces(1, low=1e-6, high=10.0))
def test_exp_and_log_undo_each_other(case):
    c, (x,), _ = case
    u = lorentz.log_map0(x, c)
    torch.testing.assert_close(lorentz.exp_map0(u, c), x, rtol=1e-12, atol=0)
    torch.testing.assert_close(lorentz.log_map0(x, c), u, rtol=1e-12, atol=0)
    single = lorentz.log_map0(lorentz.exp_map0(u.float(), c), c)
    torch.testing.assert_close(single, u.float(), rtol=3e-6, atol=0)
    # and the tangent vector is as long as the point is far from the origin
    torch.testing.assert_close(lorentz.distance(x, torch.zeros_like(x), c), u.norm(), rtol=1e-7, atol=2e-7)


@FAST
@given(spaces(1, low=0.01, high=5.0), st.floats(1e-2, 5.0))
def test_a_cone_contains_its_far_ray(case, further):
    c, (x,), _ = case
    u = lorentz.log_map0(x, c)
    y = lorentz.exp_map0(u * (1 + further / (math.sqrt(c) * u.norm())), c)
    for dtype in (torch.float32, torch.float64):
        a, b = x.to(dtype), y.to(dtype)
        assert lorentz.exterior_angle(a, b, c) < 1e-3
        assert lorentz.exterior_angle(a, b, c) <= lorentz.half_aperture(a, c)
        assert lorentz.exterior_angle(b, a, c) > math.pi - 1e-3  # the way back leaves b's cone
        assert lorentz.exterior_angle(b, a, c) > lorentz.half_aperture(b, c)


@FAST
@given(spaces(2), st.floats(1.0, 3.0))
def test_cones_narrow_outwards(case, factor):
    c, (x, _), _ = case
    assert lorentz.half_aperture(x * factor, c) <= lorentz.half_aperture(x, c)


@FAST
@given(spaces(2), st.floats(0.2, 5.0))
def test_only_the_unit_of_length_depends_on_curvature(case, unit):
    """Coordinates times `unit` under curv / unit²: distances grow by `unit`, angles stay."""
    c, (x, y), _ = case
    other = c / unit**2
    torch.testing.assert_close(
        lorentz.distance(x * unit, y * unit, other), unit * lorentz.distance(x, y, c), rtol=1e-6, atol=1e-6
    )
    torch.testing.assert_close(
        lorentz.exterior_angle(x * unit, y * unit, other), lorentz.exterior_angle(x, y, c), rtol=0, atol=1e-6
    )
    torch.testing.assert_close(lorentz.half_aperture(x * unit, other), lorentz.half_aperture(x, c))
