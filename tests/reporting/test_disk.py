"""The Poincaré disk: exact geodesics and radii, angles in the order of a tree, names that stand apart."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.reporting.disk import (
    Disk,
    fit_angles,
    geodesic,
    label_places,
    leaf_angles,
    poincare_disks,
)
from limbeck.reporting.style import SERIES

PATHS = [
    ["root", "warm", "red"],
    ["root", "warm", "orange"],
    ["root", "cool", "blue"],
    ["root", "cool", "green"],
]


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Poincaré distance, arcosh(1 + 2 |a − b|² / ((1 − |a|²)(1 − |b|²))), float64."""
    gap = np.square(a - b).sum(-1)
    rest = (1 - np.square(a).sum(-1)) * (1 - np.square(b).sum(-1))
    return np.arccosh(1 + 2 * gap / rest)


@pytest.mark.parametrize("seed", range(20))
def test_every_point_of_the_way_splits_its_length(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn, far = rng.uniform(0, 2 * np.pi, 2), rng.uniform(0, 0.97, 2)
    a, b = (far * np.stack([np.cos(turn), np.sin(turn)])).T
    way = geodesic(a, b, 31)
    assert way.shape == (31, 2)
    np.testing.assert_allclose(way[[0, -1]], [a, b], atol=1e-12)
    inner = way[1:-1]
    np.testing.assert_allclose(distance(a, inner) + distance(inner, b), distance(a, b), rtol=1e-9)
    np.testing.assert_allclose(np.diff(distance(a, inner)), distance(a, b) / 30, rtol=1e-6)  # equal steps


def test_a_way_through_the_middle_is_straight_and_one_to_itself_stays() -> None:
    way = geodesic(np.array([-0.6, 0.0]), np.array([0.8, 0.0]))
    assert np.abs(way[:, 1]).max() < 1e-15
    here = np.array([0.3, -0.2])
    np.testing.assert_allclose(geodesic(here, here), np.tile(here, (24, 1)), atol=1e-15)


def test_leaves_stand_at_equal_angles_siblings_beside_each_other() -> None:
    angles = leaf_angles(PATHS)
    order = sorted(angles, key=angles.__getitem__)
    assert order in (["blue", "green", "orange", "red"], ["green", "blue", "red", "orange"])
    np.testing.assert_allclose(np.diff(sorted(angles.values())), np.pi / 2)


def test_the_map_puts_separable_leaves_in_the_order_of_the_tree() -> None:
    rng = np.random.default_rng(0)
    leaves = [path[-1] for path in PATHS for _ in range(30)]
    middles = {path[-1]: rng.standard_normal(40) for path in PATHS}
    shared = 3 * rng.standard_normal(40)  # texts lie in a cone of their own
    points = np.stack([shared + middles[leaf] + 0.1 * rng.standard_normal(40) for leaf in leaves])
    radii = rng.uniform(0.5, 2, len(points))
    placed = fit_angles(points, leaves, PATHS).place(points, radii)
    np.testing.assert_allclose(distance(placed, np.zeros(2)), radii)  # distances from the root are exact
    expected = leaf_angles(PATHS)
    for spot, leaf in zip(placed, leaves, strict=True):
        off = np.angle(complex(*spot) * np.exp(-1j * expected[leaf]))
        assert abs(off) < np.pi / 4  # nearer to its own place than to any other leaf's


def test_another_kind_is_placed_around_its_own_mean() -> None:
    rng = np.random.default_rng(1)
    points = rng.standard_normal((60, 8)) + np.eye(8)[0]
    angles = fit_angles(points, [PATHS[at % 4][-1] for at in range(60)], PATHS)
    radii = np.ones(60)
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    np.testing.assert_allclose(angles.place(points, radii), angles.place(points, radii, unit.mean(0)))
    assert not np.allclose(angles.place(points, radii), angles.place(points, radii, np.zeros(8)))


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_names_stand_apart_on_a_circle_outside(count: int) -> None:
    rng = np.random.default_rng(count)
    spots = rng.uniform(-0.1, 0.1, (count, 2)) + np.array([0.4, 0.3])  # a heap on one side
    places = label_places(spots, inner=0.1)
    far = np.linalg.norm(places, axis=1)
    np.testing.assert_allclose(far, np.linalg.norm(spots, axis=1).max() + 0.1)
    turns = np.sort(np.arctan2(places[:, 1], places[:, 0]))
    gaps = np.diff(np.append(turns, turns[0] + 2 * np.pi))
    assert gaps.min() > min(0.36, 2 * np.pi / count) - 0.02
    assert np.allclose(np.linalg.norm(label_places(spots, inner=0.1, least=2.0), axis=1), 2.0)
    assert label_places(np.zeros((0, 2)), 0.1).shape == (0, 2)


def test_a_disk_names_the_tree_and_colours_its_branches() -> None:
    rng = np.random.default_rng(2)
    nodes = {name: rng.uniform(-0.5, 0.5, 2) for name in ("one figure", "warm", "red")}
    edges = [("one figure", "warm"), ("warm", "red")]
    spots = rng.uniform(-0.6, 0.6, (20, 2))
    disk = Disk(spots, ["warm"] * 20, nodes, edges, {"warm": "warm", "red": "warm"})
    chart = poincare_disks({"a model": disk}, {"warm": SERIES[1]})
    assert chart is not None and [key.label for key in chart.legend] == ["warm"]
    ((name, svg),) = chart.inline()
    assert name == "a model" and "var(--s1" in svg
    for node in nodes:
        assert f">{node}<" in svg, node
    assert poincare_disks({}) is None
