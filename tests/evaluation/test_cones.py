"""Cones and radii of a split against the published formulas, written plainly in float64."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doubles import Encodes
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.resolved_splits import resolve_splits
from limbeck.evaluation import evaluate
from limbeck.evaluation.cones import score_cones, text_details
from limbeck.evaluation.encode import Side
from limbeck.spaces import Lorentz, Sphere

SPACE = Lorentz(4, 0.6)
CAPTIONS = [
    ["a big red ball on the green grass in the morning", "a red  ball", "thing"],
    ["a boat", "  ", "something small on water today"],
    ["a tree stands here in the rain", "two trees"],
]


def inside(general: np.ndarray, specific: np.ndarray) -> bool:
    """MERU (Desai et al. 2023), eqs. 5 and 6, K = 0.1."""
    c, x, y = SPACE.curv, general.astype(float), specific.astype(float)
    x_time, y_time = np.sqrt(1 / c + x @ x), np.sqrt(1 / c + y @ y)
    inner = x @ y - x_time * y_time
    norm = np.sqrt(x @ x)
    aperture = np.arcsin(min(1.0, 2 * 0.1 / (np.sqrt(c) * norm)))
    below = norm * np.sqrt((c * inner) ** 2 - 1)
    exterior = np.arccos(np.clip((y_time + x_time * c * inner) / below, -1, 1))
    return bool(exterior <= aperture)


def radius(points: np.ndarray) -> float:
    norms = np.linalg.norm(points.astype(float), axis=1)
    return float(np.mean(np.arcsinh(np.sqrt(SPACE.curv) * norms) / np.sqrt(SPACE.curv)))


class ByLength(Encodes):
    """Longer texts lie farther out; texts and pictures of one row point the same way, but for some noise."""

    image_input, space_id, space = "features:cnn", "fake", SPACE

    def __init__(self) -> None:
        self.heard: list[str] = []

    def encode_image(self, images: Any, *, output: str = "points", batch_size: int = 256) -> np.ndarray:
        return np.asarray(images, np.float32) * 2

    def encode_text(self, texts: list[str], *, output: str = "points", batch_size: int = 256) -> np.ndarray:
        self.heard += texts
        rng = np.random.default_rng(len(texts))
        ahead = np.eye(4)[[len(text) % 4 for text in texts]] + 0.2 * rng.standard_normal((len(texts), 4))
        return (0.1 * ahead * np.array([[len(text.split())] for text in texts])).astype(np.float32)

    def is_clipped(self, points: np.ndarray, modality: str) -> np.ndarray:
        return np.linalg.norm(points, axis=1) > 2


def write_pairs(folder: Path) -> Pairs:
    features = np.abs(np.random.default_rng(2).standard_normal((6, 4))).astype(np.float32)
    np.save(folder / "cnn.npy", features)
    columns = {
        "id": [f"r{i}" for i in range(6)],
        "captions": [CAPTIONS[i % 3] for i in range(6)],
        "split": ["test", "test", "train", "train", "train", "test"],
    }
    meta = {"name": "p", "features": {"cnn": {"file": str(folder / "cnn.npy"), "scale": 1.0}}}
    Pairs.write(folder / "pairs", columns, meta)
    return Pairs.open(folder / "pairs")


def protocol(**changes: Any) -> Protocol:
    content = {
        "name": "t", "task": "retrieval", "text": {"column": "captions"}, "relevance": "paired",
        "splits": {"query": {"column_value": "test"}, "train": {"column_value": "train"}},
        "metric": {"ks": [1]}, "validation": {"size": 1},
    }  # fmt: skip
    return Protocol.model_validate(content | changes)


def test_pairs_inside_and_radii_by_the_formulas() -> None:
    rng = np.random.default_rng(0)
    rows = np.array([7, 3, 5])  # as a protocol may list them
    images = Side((2 * rng.standard_normal((3, 4))).astype(np.float32), rows)
    owner = np.repeat(rows, 30)
    towards = images.points[np.repeat(np.arange(3), 30)]
    near = towards * rng.uniform(0.02, 1, (90, 1)) + 0.05 * rng.standard_normal((90, 4))
    texts = Side(near.astype(np.float32), owner)
    wanted = [
        inside(text, images.points[rows == row][0]) for text, row in zip(texts.points, owner, strict=True)
    ]
    assert 10 < sum(wanted) < 80
    bounded = {"image": np.array([True, False, False]), "text": np.zeros(90, bool)}
    scores = score_cones(SPACE, images, texts, {"detail-1": texts.points[::2]}, bounded)
    assert scores.metrics["cone"]["capped_image"] == pytest.approx(1 / 3)
    assert scores.metrics["cone"]["capped_text"] == 0
    assert scores.per_query["cone"] == [float(value) for value in wanted]
    assert scores.metrics["cone"]["inside"] == pytest.approx(np.mean(wanted))
    found = scores.metrics["radius"]
    assert list(found) == ["image", "text", "text/detail-1"]
    assert found["image"] == pytest.approx(radius(images.points))
    assert found["text"] == pytest.approx(radius(texts.points))
    assert found["text/detail-1"] == pytest.approx(radius(texts.points[::2]))


def test_detail_by_words_takes_the_texts_shown(tmp_path: Path) -> None:
    pairs, rule = write_pairs(tmp_path), protocol()
    splits = resolve_splits(rule, pairs)
    shown = [text for own in splits.query.texts for text in own]
    points = np.arange(4 * len(shown), dtype=np.float32).reshape(-1, 4)
    model = ByLength()
    found = text_details(model, splits, Side(points, splits.query.rows[:1].repeat(len(shown))))  # type: ignore[arg-type]
    counts = np.array([len(text.split()) for text in shown])
    assert list(found) == ["words-1-4", "words-5-8", "words-9-12"]
    np.testing.assert_array_equal(found["words-1-4"], points[counts <= 4])
    np.testing.assert_array_equal(found["words-9-12"], points[counts > 8])
    assert not model.heard  # nothing is encoded again


def test_detail_by_order_takes_every_text_at_its_place(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path)
    rule = protocol(text={"column": "captions", "which": "first"}, detail="order")
    splits = resolve_splits(rule, pairs)
    model = ByLength()
    texts = Side(np.zeros((3, 4), np.float32), splits.query.rows)
    found = text_details(model, splits, texts)  # type: ignore[arg-type]
    assert {name: len(points) for name, points in found.items()} == {
        "detail-1": 3,
        "detail-2": 2,
        "detail-3": 2,
    }
    assert "a red ball" in model.heard and "" not in model.heard
    third = ByLength().encode_text(model.heard)[[model.heard.index(t[2]) for t in CAPTIONS[:2]]]
    np.testing.assert_array_equal(found["detail-3"], third)


@pytest.mark.parametrize("detail", ["words", "order"])
def test_evaluation_measures_cones_where_there_are_some(tmp_path: Path, detail: str) -> None:
    pairs, model = write_pairs(tmp_path), ByLength()
    result = evaluate(model, pairs, protocol(detail=detail))  # type: ignore[arg-type]
    assert list(result.metrics) == ["i2t", "t2i", "cone", "radius", "entailment"]
    level = {"words": "text/words-1-4", "order": "text/detail-3"}[detail]
    assert result.metrics["radius"][level] < result.metrics["radius"]["image"]
    assert result.metrics["cone"]["capped_image"] > 0 == result.metrics["cone"]["capped_text"]
    assert len(result.per_query["cone"]) == result.settings["counts"]["query_text"] == 7
    assert result.mean("r@1") == pytest.approx(np.mean([result.metrics[d]["r@1"] for d in ("i2t", "t2i")]))


def test_a_space_without_cones_has_no_such_rows(tmp_path: Path) -> None:
    class Flat(ByLength):
        space = Sphere(4)

        def encode_image(self, images: Any, **options: Any) -> np.ndarray:
            return self._unit(super().encode_image(images))

        def encode_text(self, texts: list[str], **options: Any) -> np.ndarray:
            return self._unit(super().encode_text(texts))

        def _unit(self, x: np.ndarray) -> np.ndarray:
            return x / np.linalg.norm(x, axis=1, keepdims=True)

    result = evaluate(Flat(), write_pairs(tmp_path), protocol(detail="order"))  # type: ignore[arg-type]
    assert list(result.metrics) == ["i2t", "t2i", "entailment"]
