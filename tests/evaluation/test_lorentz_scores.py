"""Evaluation of points of the hyperboloid ranks by the published geodesic distance."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.evaluation.encode import Side
from limbeck.evaluation.hashing import Labelled, score_hashing
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.metrics import ranking_map
from limbeck.spaces import Lorentz

SPACE = Lorentz(8, 0.3)


def points(n: int, seed: int) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, 8))
    return (x * np.random.default_rng(seed + 1).uniform(0.1, 4, (n, 1))).astype(np.float32)


def geodesic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    c, x, y = SPACE.curv, x.astype(float), y.astype(float)
    times = np.outer(np.sqrt(1 / c + np.sum(x**2, 1)), np.sqrt(1 / c + np.sum(y**2, 1)))
    return np.arccosh(np.maximum(c * (times - x @ y.T), 1)) / np.sqrt(c)


def test_retrieval_ranks_follow_the_geodesic_order():
    images, texts, owner = points(30, 0), points(75, 5), np.repeat(np.arange(30), [2, 3] * 15)
    scores = score_retrieval(SPACE, Side(images, np.arange(30)), Side(texts, owner), (1, 5))
    distances = geodesic(images, texts)
    ranked = owner[np.argsort(distances, axis=1)]
    i2t = [1 + int(np.flatnonzero(line == row)[0]) for row, line in enumerate(ranked)]
    t2i = [1 + int((column < column[row]).sum()) for row, column in zip(owner, distances.T, strict=True)]
    for direction, ranks in (("i2t", i2t), ("t2i", t2i)):
        assert scores.per_query[direction] == ranks
        assert scores.metrics[direction]["median_rank"] == np.median(ranks)
        assert scores.metrics[direction]["r@5"] == pytest.approx(np.mean(np.array(ranks) <= 5))


def test_mean_average_precision_follows_the_geodesic_order():
    rng = np.random.default_rng(9)
    sets = {
        f"{part}_{modality}": Labelled(points(n, seed), rng.random((n, 4)) < 0.3)
        for part, n in (("query", 12), ("database", 60))
        for modality, seed in (("image", 20 + n), ("text", 40 + n))
    }
    settings = {"k": None, "ties": "expected", "normalizer": "relevant", "empty": "skip"}
    scores = score_hashing(SPACE, sets, settings)
    query, items = sets["query_image"], sets["database_text"]
    relevant = (query.labels[:, None] & items.labels[None]).any(axis=2)
    want = ranking_map(-geodesic(query.points, items.points), relevant).value
    assert scores.metrics["i2t"]["map"] == pytest.approx(want, abs=1e-12)
    assert "ceiling" not in scores.metrics["t2i"] and not scores.curves["t2i"]
