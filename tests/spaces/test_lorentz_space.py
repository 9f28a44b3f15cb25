"""The Lorentz space against the published equations, and where they have no digits left."""

from __future__ import annotations

import numpy as np
import published
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.geometry import lorentz as geometry
from limbeck.spaces import Hamming, Lorentz, Sphere, space_from_json
from limbeck.spaces.lorentz import MAX_RADIUS
from raising import raises_code

CURVATURES = [0.1, 1.0, 7.0]


def at_radius(rng: np.random.Generator, radius, dim: int, curv: float = 1.0) -> np.ndarray:
    """float32 (N, dim) points in random directions, their distances from the origin in units of 1/√curv."""
    r = np.asarray(radius, dtype=np.float64)[:, None]
    x = rng.standard_normal((len(r), dim))
    return (np.sinh(r) / np.sqrt(curv) * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def near(rng: np.random.Generator, x: np.ndarray, size: float) -> np.ndarray:
    """Other float32 points, about ``size`` of each point's length away."""
    y = (x * (1 + size * rng.standard_normal(x.shape))).astype(np.float32)
    return np.where((y == x).all(axis=1, keepdims=True), np.nextafter(x, np.float32(9)), y)


# ------------------------------------------------------------------------------ distances
@pytest.mark.parametrize("curv", CURVATURES)
@pytest.mark.parametrize("radius", [0.01, 1.0, 4.0, 10.0])
@pytest.mark.parametrize("size", [None, 1e-2, 1e-6], ids=["far", "close", "closest"])
def test_distances_are_the_published_ones(curv, radius, size):
    rng = np.random.default_rng(0)
    space, x = Lorentz(9, curv), at_radius(rng, [radius] * 12, 9, curv)
    y = at_radius(rng, rng.uniform(0, radius, 12), 9, curv) if size is None else near(rng, x, size)
    want = published.rows(published.distance, x, y, curv)
    digits = 1e-15 * np.cosh(radius) ** 2  # what float64 keeps
    np.testing.assert_allclose(space.rescore(x, y), want, rtol=4 * digits + 1e-15)
    similarity = space.similarity(x, y)
    assert similarity.dtype == np.float32 and similarity.shape == (12, 12)
    np.testing.assert_allclose(-similarity.diagonal(), want, rtol=1e-7 + 4 * digits)


def test_equal_points_are_at_distance_zero_and_none_is_negative():
    rng = np.random.default_rng(1)
    space, x = Lorentz(64, 1.0), at_radius(rng, np.linspace(0, MAX_RADIUS - 1e-6, 40), 64)
    similarity = space.similarity(x, x)
    assert (similarity.diagonal() == 0).all() and (similarity <= 0).all()
    assert (space.rescore(x, x) == 0).all()
    np.testing.assert_allclose(similarity, similarity.T, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-3, 1.0])
def test_pairs_agree_with_rows_whatever_the_blocks(size, monkeypatch):
    """One matrix product, corrected where it has no digits, in blocks or not."""
    rng = np.random.default_rng(2)
    space = Lorentz(16, 0.5)
    x = near(rng, np.repeat(at_radius(rng, [5.0], 16, 0.5), 150, axis=0), size)
    whole = space.similarity(x[:30], x)
    np.testing.assert_allclose(-whole, space.rescore(x[:30, None], x[None]), rtol=2e-7)
    monkeypatch.setattr("limbeck.spaces.lorentz.BLOCK_CELLS", 100)
    monkeypatch.setattr("limbeck.spaces.hyperboloid.BLOCK", 1000)
    np.testing.assert_allclose(space.similarity(x[:30], x), whole, rtol=1e-6)


@pytest.mark.parametrize("curv", CURVATURES)
def test_agreement_with_the_torch_half(curv):
    rng = np.random.default_rng(3)
    space = Lorentz(32, curv)
    x, y = (at_radius(rng, rng.uniform(0.3, 5, 40), 32, curv) for _ in range(2))
    a, b = torch.from_numpy(x).double(), torch.from_numpy(y).double()
    pairs = (a[:, None], b[None])
    np.testing.assert_allclose(-space.similarity(x, y), geometry.distance(*pairs, curv), rtol=2e-7)
    np.testing.assert_allclose(space.rescore(x, y), geometry.distance(a, b, curv), rtol=1e-10)
    angle = geometry.exterior_angle(a, b, curv) - geometry.half_aperture(a, curv)
    np.testing.assert_allclose(space.cone_excess(x, y), angle, atol=1e-9)
    np.testing.assert_allclose(space.radius(x), geometry.log_map0(a, curv).norm(dim=-1), rtol=1e-12)
    middle = geometry.exp_map0(geometry.log_map0(a, curv).mean(0), curv)
    np.testing.assert_allclose(space.mean(x), middle, rtol=1e-5, atol=1e-7)


# ------------------------------------------------------------------------------ what an engine sees
@pytest.mark.parametrize("curv", CURVATURES)
def test_the_engines_product_is_the_lorentzian_one(curv):
    rng = np.random.default_rng(4)
    space = Lorentz(8, curv)
    x, y = at_radius(rng, [0.0, 1, 2, 3], 8, curv), at_radius(rng, [0.5, 1, 2, 3], 8, curv)
    items, queries = space.index_items(x), space.index_queries(y)
    assert items.shape == (4, 9) and items.dtype == queries.dtype == np.float32
    np.testing.assert_array_equal(items[:, :-1], x)
    raw = np.sum(items.astype(float) * queries, axis=1)
    np.testing.assert_allclose(raw, published.rows(published.inner, x, y, curv), rtol=1e-5)
    scores = space.score(raw.astype(np.float32))
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, space.rescore(x, y), rtol=1e-4)
    assert space.score(np.float32([-0.999 / curv])) == 0  # rounding above -1/curv is no NaN


def _sums(items: np.ndarray, query: np.ndarray):
    """float32 inner products, summed in several orders."""
    terms = (items * query).astype(np.float32)
    yield np.cumsum(terms, axis=1, dtype=np.float32)[:, -1]
    yield np.cumsum(terms[:, ::-1], axis=1, dtype=np.float32)[:, -1]
    yield np.cumsum(np.sort(terms, axis=1), axis=1, dtype=np.float32)[:, -1]
    yield items @ query


@pytest.mark.parametrize("space", [Lorentz(48, 1.0), Lorentz(48, 0.1), Sphere(48)], ids=str)
@pytest.mark.parametrize("radius", [0.5, 6.0, 11.0])
def test_no_near_item_falls_below_the_raw_limit(space, radius):
    rng = np.random.default_rng(5)
    if space.name == "sphere":
        x = rng.standard_normal((400, 48))
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    else:
        x = at_radius(rng, rng.uniform(0, radius, 400), 48, space.curv)
    x = np.concatenate([x, near(rng, x[:100], 1e-4)])
    items = space.index_items(x)
    longest = np.linalg.norm(items.astype(float), axis=1).max()
    for q in range(20):
        query = x[q : q + 1]
        scores = space.rescore(query, x)
        limits = space.raw_limit(np.repeat(query, len(x), axis=0), scores, longest)
        for raw in _sums(items, space.index_queries(query)[0]):
            assert (raw >= limits).all()
            far = space.raw_limit(
                query, np.sort(-space.score_sign * scores)[9:10] * -space.score_sign, longest
            )
            allowed = set(np.flatnonzero(raw >= far))
            assert set(np.argsort(-space.score_sign * scores, kind="stable")[:10]) <= allowed


def test_one_item_far_out_does_not_blur_the_limit():
    space = Lorentz(4, 1.0)
    query, score = at_radius(np.random.default_rng(6), [1.0], 4), np.array([0.5])
    alone, beside = (space.raw_limit(query, score, longest) for longest in (1e1, 1e5))
    assert -np.cosh(0.5) - 1e-4 < beside <= alone < -np.cosh(0.5)


# ------------------------------------------------------------------------------ tangent space
@pytest.mark.parametrize("curv", CURVATURES)
def test_mean_and_path_are_straight_in_the_tangent_space(curv):
    rng = np.random.default_rng(7)
    space, x = Lorentz(5, curv), at_radius(rng, [0.2, 1.0, 3.0, 5.0], 5, curv)
    logs = np.stack([published.log_map0(row, curv) for row in x])
    np.testing.assert_allclose(space.mean(x), published.exp_map0(logs.mean(0), curv), rtol=1e-6)
    stacked = space.mean(np.stack([x, x[::-1]]), axis=1)
    np.testing.assert_allclose(stacked, np.stack([space.mean(x)] * 2), rtol=1e-6)
    path = space.interpolate(x[0], x[3], [0, 0.25, 1])
    assert path.shape == (3, 5) and path.dtype == np.float32
    np.testing.assert_allclose(path[[0, 2]], x[[0, 3]], rtol=1e-5)
    want = published.exp_map0(0.75 * logs[0] + 0.25 * logs[3], curv)
    np.testing.assert_allclose(path[1], want, rtol=1e-5)
    np.testing.assert_allclose(space.interpolate(x, x[::-1], 0.5)[0], space.mean(x[[0, 3]]), rtol=1e-6)


def test_the_way_to_the_root_is_walked_evenly():
    space = Lorentz(6, 2.0)
    x = at_radius(np.random.default_rng(8), [3.0], 6, 2.0)[0]
    path = space.interpolate(x, space.root(), np.linspace(0, 1, 7))
    np.testing.assert_allclose(space.radius(path), np.linspace(3, 0, 7) / np.sqrt(2.0), atol=1e-6)
    assert (path[-1] == 0).all() and space.radius(space.root()) == 0
    assert (space.mean([x, -x]) == 0).all()


# ------------------------------------------------------------------------------ cones
@pytest.mark.parametrize("curv", CURVATURES)
@pytest.mark.parametrize("k", [0.1, 0.3])
def test_cones_are_the_published_ones(curv, k):
    rng = np.random.default_rng(9)
    space = Lorentz(3, curv)
    x = at_radius(rng, rng.uniform(0.7, 4, 60), 3, curv)
    y = at_radius(rng, rng.uniform(0.1, 6, 60), 3, curv)
    y[::2] = (x[::2] * rng.uniform(1, 50, (30, 1)) + 0.02 * x[::2] * rng.standard_normal((30, 3))).astype(
        "f4"
    )
    angle = published.rows(published.exterior_angle, x, y, curv)
    aperture = published.rows(published.half_aperture, x, curv, k)
    np.testing.assert_allclose(space.cone_excess(x, y, k), angle - aperture, atol=1e-9)
    inside = angle <= aperture
    assert 10 < inside.sum() < 50
    np.testing.assert_array_equal(space.entails(x, y, k), inside)
    np.testing.assert_array_equal(space.pairwise_entails(x, y, k).diagonal(), inside)


def on_the_surface(rng, space, count):
    """General points and specific ones that lie on their cones' surface but for rounding."""
    x = at_radius(rng, rng.uniform(0.5, 4, count), space.dim, space.curv).astype(np.float64)
    y = at_radius(rng, rng.uniform(0.5, 4, count), space.dim, space.curv).astype(np.float64)
    low, high = np.zeros((count, 1)), np.ones((count, 1))
    far = x * 30
    for _ in range(45):  # between a point of the ray, inside, and one that is mostly outside
        share = (low + high) / 2
        outside = (space.cone_excess(x, far + share * (y - far)) > 0)[:, None]
        low, high = np.where(outside, low, share), np.where(outside, share, high)
    return x.astype(np.float32), (far + low * (y - far)).astype(np.float32)


def test_pairs_and_rows_agree_on_the_surface_of_a_cone():
    rng = np.random.default_rng(10)
    space = Lorentz(7, 1.0)
    x, y = on_the_surface(rng, space, 60)
    assert (np.abs(space.cone_excess(x, y)) < 1e-5).mean() > 0.5
    ray = (x[:20] * 3).astype(np.float32)
    x = np.concatenate([x, x[:5], np.zeros((1, 7), np.float32), 1e-3 * x[:3]])
    y = np.concatenate([y, ray, x[:5], np.zeros((1, 7), np.float32)])
    pairs = space.pairwise_entails(x, y)
    np.testing.assert_array_equal(pairs, space.entails(x[:, None], y[None]))
    assert pairs[65].all() and pairs.shape == (69, 86)
    assert pairs[np.arange(20), 60 + np.arange(20)].all()


def test_tip_ray_and_root():
    rng = np.random.default_rng(11)
    space = Lorentz(4, 1.0)
    x = at_radius(rng, [0.05, 0.5, 2, 6, 11], 4)
    assert space.entails(x, x).all()  # a cone holds its tip
    assert space.entails(x[:3], (x[:3] * 50).astype(np.float32)).all()  # and the ray behind it
    assert not space.entails((x[1:] * 0.9).astype(np.float32), -x[1:]).any()
    assert not space.entails(x[1:], (x[1:] / 2).astype(np.float32)).any()  # nothing nearer to the root
    assert space.entails(space.root(), x).all() and not space.entails(x[1:], space.root()).any()
    np.testing.assert_array_equal(space.root(), np.zeros(4, np.float32))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.3, 4), st.sampled_from(CURVATURES))
def test_entailment_is_transitive(seed, radius, curv):
    rng = np.random.default_rng(seed)
    space = Lorentz(3, curv)
    x = at_radius(rng, [radius], 3, curv)
    cloud = (
        x * rng.uniform(0.5, 8, (200, 1)) + 0.1 * np.linalg.norm(x) * rng.standard_normal((200, 3))
    ).astype("f4")
    middle = cloud[space.entails(x, cloud)]
    within = space.cone_excess(middle[:, None], cloud[None]) < -1e-6
    assert (space.cone_excess(x[0], cloud[within.any(axis=0)]) < 1e-9).all()


def test_coordinates_are_those_of_the_poincare_ball():
    space = Lorentz(2, 4.0)
    points = np.array([[0.0, 0.0], [0.3, -0.4], [100.0, 0.0]], np.float32)
    found = space.coordinates(points)
    radius = np.tanh(np.arcsinh(2 * np.linalg.norm(points, axis=1)) / 2)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), radius, rtol=1e-6)
    np.testing.assert_allclose(found[1] / radius[1], [0.6, -0.8], rtol=1e-6)


def test_shapes_of_the_verbs_of_cones():
    space, x = Lorentz(3, 1.0), at_radius(np.random.default_rng(12), [1.0] * 8, 3)
    assert space.entails(x[0], x[1]).shape == () and space.radius(x[0]).shape == ()
    assert space.cone_excess(x[None], x[:, None]).shape == (8, 8)
    assert space.radius(x.reshape(2, 4, 3)).shape == (2, 4)
    assert space.pairwise_entails(x[:0], x).shape == (0, 8)
    assert space.entails(x, x).dtype == bool


# ------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize("space", [Sphere(3), Hamming(16)], ids=str)
def test_spaces_without_cones_say_which_has_them(space):
    assert not space.has_cones and Lorentz(3, 1.0).has_cones
    for verb, count in [
        ("radius", 1),
        ("entails", 2),
        ("cone_excess", 2),
        ("pairwise_entails", 2),
        ("root", 0),
    ]:
        with raises_code("E-SPACE-CONES", verb):
            getattr(space, verb)(*[None] * count)


@pytest.mark.parametrize("curv", [0, -1.0, np.nan, np.inf, True, "1", None, 1e-9, 1e9])
def test_curvature_is_a_positive_number(curv):
    with raises_code("E-OPTION-RANGE", "curv:"):
        Lorentz(3, curv)


def test_the_space_as_json():
    space = Lorentz(16, np.float32(0.5))
    assert space.to_json() == {"name": "lorentz", "dim": 16, "curv": 0.5}
    assert space == space_from_json(space.to_json()) == Lorentz(16, 0.5) and hash(space)
    assert Lorentz(16, 1) == Lorentz(16, 1.0) and Lorentz(16, 1.0) != Lorentz(16, 2.0)
    for value in ({"name": "lorentz", "dim": 16}, {"name": "lorentz", "dim": 16, "curv": 1.0, "bits": 8}):
        with raises_code("E-SPACE-FORM", "space:"):
            space_from_json(value)


def test_bad_points_are_one_line():
    space, good = Lorentz(4, 0.25), np.ones((2, 4), np.float32)
    far = np.full((2, 4), 2 * np.sinh(12.1) / 2)
    for call, message in [
        (
            lambda: space.check([[1, 0, 0, 0]]),
            r"points: holds int64, Lorentz\(dim=4, curv=0.25\) needs float",
        ),
        (lambda: space.check(good[0]), r"shape \(4,\), expected \(N, 4\)"),
        (lambda: space.index_items(good[:, :3]), "items: has width 3, expected 4-d vectors"),
        (lambda: space.index_queries(good * np.nan), "query: row 0 holds NaN or infinity"),
        (lambda: space.check(np.vstack([good, good * np.inf])), "row 2 holds NaN or infinity"),
        (
            lambda: space.check(far, what="a.npy"),
            "a.npy: row 0 is 12.1/√curv from the origin, .* limit the radius to 12/",
        ),
        (lambda: space.check(np.full((1, 4), 1e300)), "row 0 is inf/√curv"),
        (
            lambda: space.rescore(good, np.ones((3, 4))),
            r"items: shape \(3, 4\) does not broadcast with queries \(2, 4\)",
        ),
        (lambda: space.entails(good, good[:, :3]), "specific: has width 3"),
        (lambda: space.radius(np.float32(1)), r"points: has shape \(\)"),
        (lambda: space.pairwise_entails(good[0], good), "generals: has shape"),
        (lambda: space.interpolate(good, good, 2), "between 0 and 1"),
        (lambda: space.interpolate(good, good[0], 0), "the ends have shapes"),
        (lambda: space.mean(good, axis=1), "cannot be averaged over axis 1"),
        (lambda: space.mean(good[:0]), "there are none"),
        *(
            (lambda k=k: space.cone_excess(good, good, k), "min_radius: .* is not a positive number")
            for k in (0, -1, np.nan, "a")
        ),
        (lambda: space.pairwise_entails(good, good, 0), "min_radius"),
        (lambda: Lorentz(0, 1.0), "dim: 0 is below 1"),
        (lambda: Lorentz(2.0, 1.0), "dim: 2.0 is not a whole number"),
    ]:
        with pytest.raises(LimbeckError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_points_of_other_precision_become_float32():
    space = Lorentz(4, 1.0)
    for dtype in (np.float16, np.float64):
        checked = space.check(np.ones((2, 4), dtype))
        assert checked.dtype == np.float32 and checked.flags.c_contiguous
    edge = at_radius(np.random.default_rng(13), [MAX_RADIUS - 1e-5], 4)
    np.testing.assert_array_equal(space.check(space.check(edge)), edge)


@pytest.mark.parametrize("space", [Sphere(6), Hamming(48)], ids=str)
def test_rescore_is_the_score_in_full(space):
    rng = np.random.default_rng(14)
    if space.storage == "codes":
        a, b = (rng.integers(0, 256, (5, 6), dtype=np.uint8) for _ in range(2))
    else:
        a, b = (np.eye(6)[rng.permutation(6)[:5]] for _ in range(2))
    want = space.score_sign * space.similarity(a, b)
    np.testing.assert_allclose(space.rescore(a[:, None], b[None]), want, rtol=1e-6)
    np.testing.assert_array_equal(space.rescore(a, b), np.diagonal(want))
