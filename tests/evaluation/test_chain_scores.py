"""PEP of an evaluation against a plain computation for each picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from doubles import Encodes
from limbeck.data.caption_chains import Chains
from limbeck.evaluation.encode import Side
from limbeck.evaluation.entailment_ranking import _swap, score_chains
from limbeck.spaces import Lorentz, Sphere

LORENTZ = Lorentz(3, 1.0)
CHAINS = Chains(
    [["animal", "a dog", "dog 0"], ["animal", "dog 1"], ["boat", "boat 2"], ["a dog", "dog 3"]],
    np.array([7, 3, 5, 9]),
    0,
)


class Fixed(Encodes):
    """Gives every text a fixed random point; ``flat`` normalises it."""

    def __init__(self, flat: bool = False) -> None:
        self.space: Any = Sphere(3) if flat else LORENTZ
        self.flat = flat
        self.points: dict[str, np.ndarray] = {}
        self.random = np.random.default_rng(1)

    def encode_text(self, texts: list[str], **options: Any) -> np.ndarray:
        for text in texts:
            self.points.setdefault(text, self._point())
        return np.array([self.points[text] for text in texts], np.float32)

    def _point(self) -> np.ndarray:
        point = self.random.standard_normal(3).astype(np.float32)
        return point / np.linalg.norm(point) if self.flat else point


def pictures(model: Fixed) -> Side:
    rows = np.array([1, 3, 5, 7, 9])
    return Side(np.array([model._point() for _ in rows], np.float32), rows)


def angle(x: np.ndarray, y: np.ndarray) -> float:
    """MERU, the exterior angle at x of curvature −1."""
    x_time, y_time = np.sqrt(1 + x @ x), np.sqrt(1 + y @ y)
    inner = x @ y - x_time * y_time
    return float(np.arccos((y_time + x_time * inner) / (np.linalg.norm(x) * np.sqrt(inner**2 - 1))))


@pytest.mark.parametrize("flat", [False, True])
def test_scores_of_each_picture(flat: bool) -> None:
    model = Fixed(flat)
    images = pictures(model)
    scores = score_chains(model, images, CHAINS)  # type: ignore[arg-type]
    found, inside = [], []
    for chain, row in zip(CHAINS.texts, CHAINS.rows, strict=True):
        picture = images.points[images.rows == row][0].astype(float)
        others = [other[-1] for other in CHAINS.texts if other is not chain and other[-1] not in chain]

        def value(text: str, picture: np.ndarray = picture) -> float:
            point = model.points[text].astype(float)
            return float(point @ picture) if flat else max(1 - 2 * angle(point, picture) / np.pi, 0)

        own, other = [value(text) for text in chain], [value(text) for text in others]
        found.append(np.mean([(a > b) + 0.5 * (a == b) for a in own for b in other]))
        point = model.points[chain[0]].astype(float)
        if not flat:
            inside.append(angle(point, picture) <= np.arcsin(min(1, 0.2 / np.linalg.norm(point))))
    assert scores.per_query["entailment"] == pytest.approx(found)
    assert scores.metrics["entailment"]["auc"] == pytest.approx(np.mean(found))
    if flat:
        named = {"auc", "ap", "distinct", "zeros", "swapped_auc", "finest_auc"}
        assert set(scores.metrics["entailment"]) == named
        assert "cone" not in scores.metrics
    else:
        assert scores.metrics["cone"]["inside_coarsest"] == pytest.approx(np.mean(inside))
        assert {"margin_auc", "margin_ap"} < set(scores.metrics["entailment"])


def test_perfect_cones_rank_perfectly() -> None:
    class OnAxes(Fixed):
        def encode_text(self, texts: list[str], **options: Any) -> np.ndarray:
            far = np.array([0.3 * (1 + len(text)) for text in texts])[:, None]
            return (np.eye(3)[[int(text[0]) for text in texts]] * far).astype(np.float32)

    chains = Chains([["0", "0 a"], ["1", "1 a"], ["2", "2 a"]], np.arange(3), 0)
    images = Side((np.eye(3) * 4).astype(np.float32), np.arange(3))
    scores = score_chains(OnAxes(), images, chains)  # type: ignore[arg-type]
    assert scores.metrics["entailment"]["auc"] == scores.metrics["entailment"]["margin_ap"] == 1
    assert scores.metrics["cone"] == {"inside_coarsest": 1, "inside_other_coarsest": 0, "inside_other": 0}


def test_controls_tell_a_ranking_by_level_from_one_by_picture() -> None:
    class ByLevel(Fixed):
        """Coarse texts at the root, detailed ones far out, all in one direction: the picture says nothing."""

        def encode_text(self, texts: list[str], **options: Any) -> np.ndarray:
            return np.array([[0.02 if "a" not in text else 5.0, 0, 0] for text in texts], np.float32)

    class ByPicture(Fixed):
        """Every text in the direction of its picture, at one radius."""

        def encode_text(self, texts: list[str], **options: Any) -> np.ndarray:
            return np.eye(3, dtype=np.float32)[[int(text[0]) for text in texts]]

    chains = Chains([["0", "0 a"], ["1", "1 a"], ["2", "2 a"]], np.arange(3), 0)
    images = Side((np.eye(3) * 4).astype(np.float32), np.arange(3))
    level, picture = (
        score_chains(one(), images, chains).metrics["entailment"] for one in (ByLevel, ByPicture)
    )  # type: ignore[arg-type]
    assert level["margin_swapped_auc"] == level["margin_auc"] > 0.5
    assert level["margin_finest_auc"] == 0.5
    assert picture["margin_finest_auc"] == picture["margin_auc"] == 1
    assert picture["margin_swapped_auc"] < 0.5


def test_swapped_pictures_are_others() -> None:
    for count in (2, 3, 50):
        swap = _swap(count, 0)
        assert sorted(swap) == list(range(count)) and (swap != np.arange(count)).all()


def test_the_draw_of_negatives_is_seeded_and_leaves_out_own_texts() -> None:
    model = Fixed()
    images = pictures(model)
    first, again = (score_chains(model, images, CHAINS, seed=4) for _ in range(2))  # type: ignore[arg-type]
    assert first.metrics == again.metrics


def test_one_picture_has_no_negatives() -> None:
    model = Fixed()
    one = Chains(CHAINS.texts[:1], CHAINS.rows[:1], 0)
    assert score_chains(model, pictures(model), one).metrics == {}  # type: ignore[arg-type]
