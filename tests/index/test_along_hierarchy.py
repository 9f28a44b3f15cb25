"""Search for what is more general or more specific than a point."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.index.hierarchy import in_hierarchy, nearest_cone
from limbeck.index.writer import StoreMeta, commit
from limbeck.search import Index, SearchOptions
from limbeck.spaces import Hamming, Lorentz
from raising import raises_code

SPACE = Lorentz(2, 1.0)


@pytest.fixture
def index(tmp_path):
    rng = np.random.default_rng(0)
    points = (rng.standard_normal((300, 2)) * rng.uniform(0.1, 3, (300, 1))).astype(np.float32)
    points[0] = 0  # the root
    points[1:4] = np.array([[0.5, 0], [1.5, 0], [4.0, 0]])  # a chain
    items = {"id": [f"i{i}" for i in range(300)], "even": [i % 2 == 0 for i in range(300)]}
    cut = {name: values[:100] for name, values in items.items()}, {n: v[100:] for n, v in items.items()}
    commit(tmp_path / "ix", [[(points[:100], cut[0])], [(points[100:], cut[1])]], StoreMeta(SPACE))
    return Index.open(tmp_path / "ix")


def points_of(index: Index) -> np.ndarray:
    return np.concatenate(index.store.points)


def test_both_directions_by_definition(index):
    points = points_of(index)
    for row in (1, 2, 50, 200):
        point = points[row : row + 1]
        radius = np.linalg.norm(points, axis=1)
        up = SPACE.entails(points, point) & (radius < radius[row])
        down = SPACE.entails(point, points) & (radius > radius[row])
        for along, wanted in (("more-general", up), ("more-specific", down)):
            found = in_hierarchy(SPACE, index.store.points, point, along)
            np.testing.assert_array_equal(found, wanted)
            hits = index.search(points=point, k=300, hierarchy=along)
            assert sorted(hit.row for hit in hits) == np.flatnonzero(wanted).tolist()
            assert [hit.score for hit in hits] == sorted(hit.score for hit in hits)
        assert not (up & down).any()


def test_a_chain(index):
    general = [hit.id for hit in index.search(like="i2", k=300, hierarchy="more-general")]
    specific = [hit.id for hit in index.search(like="i2", k=300, hierarchy="more-specific")]
    assert "i1" in general and "i0" in general and "i3" not in general
    assert "i3" in specific and "i1" not in specific and "i2" not in general + specific
    assert index.search(like="i0", k=5, hierarchy="more-general") == []  # nothing above the root
    assert len(index.search(like="i0", k=300, hierarchy="more-specific")) == 299


def test_with_filters_a_radius_and_several_queries(index):
    hits = index.search(like="i2", k=300, hierarchy="more-specific", where="even = true")
    assert hits and all(hit.metadata["even"] for hit in hits)
    within = index.search(like="i2", hierarchy="more-specific", radius=0.5)
    assert {hit.id for hit in within} <= {
        hit.id for hit in index.search(like="i2", k=300, hierarchy="more-specific")
    }
    points = points_of(index)[:3]
    together = index.search_many(points, SearchOptions(4, hierarchy="more-specific"))
    alone = [index.search(points=point, k=4, hierarchy="more-specific") for point in points]
    assert together == alone


def test_spaces_without_cones_and_other_words_are_refused(index, tmp_path):
    with raises_code("E-OPTION-CHOICE", "'up'"):
        index.search(like="i2", hierarchy="up")
    codes = np.zeros((3, 1), np.uint8)
    flat = Index.build(tmp_path / "flat", codes, items={"id": ["a", "b", "c"]}, space=Hamming(8))
    with raises_code("E-SPACE-CONES", "more-general:"):
        flat.search(like="a", hierarchy="more-general")


def test_by_how_much_the_cones_miss(index):
    ahead = np.array([[2.0, 0.0]], np.float32)
    aside = np.array([[1.9, 0.8]], np.float32)
    cone = SPACE.cone_excess(aside, ahead)[0]
    beyond = np.array([[3.0, 3.0]], np.float32)
    assert cone > 0
    found = nearest_cone(SPACE, [aside, beyond], ahead * 1.2, "more-general")
    assert found == pytest.approx(np.rad2deg(SPACE.cone_excess(aside, ahead * 1.2)[0]))
    assert nearest_cone(SPACE, [ahead], ahead, "more-specific") == np.inf
    assert nearest_cone(SPACE, index.store.points, points_of(index)[2:3], "more-specific") == 0
