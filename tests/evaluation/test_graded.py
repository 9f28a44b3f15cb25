"""mAP counts any shared label; beside it stands what the number of shared labels says."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.evaluation.hashing import Labelled, score_hashing
from limbeck.evaluation.results import Result
from limbeck.reporting.tables import hashing_table
from limbeck.spaces import Hamming, Sphere

SETTINGS = {"k": None, "ties": "expected", "normalizer": "relevant", "empty": "skip"}


def collection(space: str) -> dict[str, Labelled]:
    """One label on nearly every row, and codes that know nothing of the other labels."""
    rng = np.random.default_rng(0)
    labels = rng.random((400, 6)) < 0.2
    labels[:, 0] = rng.random(400) < 0.97
    if space == "codes":
        points = rng.integers(0, 256, (400, 2), dtype=np.uint8)
    else:
        points = rng.standard_normal((400, 8)).astype(np.float32)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    query, database = Labelled(points[:50], labels[:50]), Labelled(points[50:], labels[50:])
    return {"query_image": query, "query_text": query, "database_image": database, "database_text": database}


@pytest.mark.parametrize("space", ["codes", "vectors"])
def test_map_is_high_where_one_label_is_everywhere_and_ndcg_is_not(space: str) -> None:
    sets = collection(space)
    scores = score_hashing(Hamming(16) if space == "codes" else Sphere(8), sets, SETTINGS, ceiling=False)
    found = scores.metrics["i2t"]
    assert found["map"] == pytest.approx(found["floor"], abs=0.02)
    assert found["map"] > 0.9
    assert found["ndcg@100"] == pytest.approx(found["ndcg_floor@100"], abs=0.05)
    assert found["ndcg@100"] < 0.7
    # The best order by shared labels is 1, by definition.
    query, items = sets["query_image"], sets["database_text"]
    grades = query.labels.astype(int) @ items.labels.T.astype(int)
    gains = 2.0**grades - 1
    discount = 1 / np.log2(2 + np.arange(100))
    ideal = -np.sort(-gains, axis=1)[:, :100] @ discount
    expected = (gains.mean(axis=1) * discount.sum() / ideal)[grades.any(axis=1)].mean()
    assert found["ndcg_floor@100"] == pytest.approx(expected)


def test_it_stands_beside_map() -> None:
    scores = score_hashing(Sphere(8), collection("vectors"), SETTINGS, ceiling=False)
    result = Result(
        protocol="p",
        protocol_hash="0",
        task="hashing",
        method="m",
        run="r",
        space={"name": "sphere"},
        settings={},
        **vars(scores),
    )
    table = hashing_table([result])
    row = dict(zip(table.head, table.rows[0], strict=True))
    assert list(row)[2:] == ["i→t", "t→i", "mean", "floor", "NDCG", "NDCG floor"]
    assert row["NDCG"].startswith(".") and any(note.startswith("NDCG: the first 100") for note in table.notes)
