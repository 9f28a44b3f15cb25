"""The Lorentz space compared by angles, against the published exterior angle in 60 digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import published
import pyarrow as pa
import pytest

from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Lorentz, LorentzAngle, Space, space_from_json
from raising import raises_code


def at_radius(rng: np.random.Generator, radius, dim: int, curv: float) -> np.ndarray:
    r = np.asarray(radius, dtype=np.float64)[:, None]
    x = rng.standard_normal((len(r), dim))
    return (np.sinh(r) / np.sqrt(curv) * x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("curv", [0.1, 1.0, 7.0])
def test_the_similarity_is_the_difference_of_both_angles(curv: float) -> None:
    """At the farther point less at the nearer one, whichever of the two is the query."""
    rng = np.random.default_rng(0)
    space = LorentzAngle(5, curv)
    x, y = (at_radius(rng, rng.uniform(0.1, 5, 12), 5, curv) for _ in range(2))
    y[:6] = x[:6] * np.linspace(0.3, 2, 6)[:, None] * (1 + 0.1 * rng.standard_normal((6, 5)))
    at_x = published.rows(published.exterior_angle, x, y, curv)
    at_y = published.rows(published.exterior_angle, y, x, curv)
    x_is_far = np.linalg.norm(x, axis=1) > np.linalg.norm(y, axis=1)
    wanted = np.where(x_is_far, at_x - at_y, at_y - at_x)
    assert 0 < x_is_far.sum() < 12 and (wanted > 0).all()
    np.testing.assert_allclose(space.rescore(x, y), wanted, rtol=1e-9)
    np.testing.assert_allclose(space.rescore(y, x), wanted, rtol=1e-9)
    table = space.similarity(x, y)
    assert table.dtype == np.float32
    np.testing.assert_allclose(table.diagonal(), wanted, rtol=1e-6)
    np.testing.assert_allclose(table, space.similarity(y, x).T, rtol=1e-6)


def test_the_ends_of_the_scale() -> None:
    space = LorentzAngle(2, 1.0)
    near, far, other, root = np.array([[1, 0], [3, 0], [0, 3], [0, 0]], np.float32)
    scores = space.rescore(near, np.stack([far, near, -far, root, other]))
    np.testing.assert_allclose(scores[:4], [np.pi, 0, 0, np.pi / 2], atol=1e-7)
    assert 0 < scores[4] < np.pi / 2
    assert space.rescore(far, other) == 0  # equally far


def test_it_is_a_space_of_its_own_with_cones_but_without_an_index(tmp_path: Path) -> None:
    space = LorentzAngle(2, 2.0)
    assert isinstance(space, Space) and space.has_cones and space != Lorentz(2, 2.0)
    assert space_from_json(space.to_json()) == space
    assert space.to_json() == {"name": "lorentz-angle", "dim": 2, "curv": 2.0}
    assert (space.score_name, space.score_sign) == ("similarity", 1)
    points = np.ones((2, 2), np.float32)
    with raises_code("E-ENGINE-CANNOT", "out", "lorentz-angle", "meru", "lift.logit: distance"):
        IndexStore.build(tmp_path / "out", [(points, pa.table({"id": ["a", "b"]}))], StoreMeta(space))
    assert not (tmp_path / "out").exists()
    for use in (space.score, space.index_items, space.index_queries):
        with raises_code("E-ENGINE-CANNOT", "lift.logit: distance"):
            use(points)
    with raises_code("E-ENGINE-CANNOT", "lift.logit: distance"):
        space.raw_limit(points, points[:, 0], 1.0)
