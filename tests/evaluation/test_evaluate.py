from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.resolved_splits import ResolvedSplit, resolve_splits
from limbeck.evaluation import Result, evaluate
from limbeck.evaluation.ceiling import label_codes
from limbeck.evaluation.encode import encode_pictures, encode_texts
from raising import raises_code


def brute_force_map(similarity: np.ndarray, relevant: np.ndarray, draws: int = 3000) -> float:
    """Average precision averaged over random orders of the ties."""
    rng = np.random.default_rng(0)
    values = []
    for row, wanted in zip(similarity, relevant, strict=True):
        if not wanted.any():
            continue
        orders = np.argsort(-(row + 1e-6 * rng.random((draws, len(row)))), axis=1)
        hits = wanted[orders]
        precision = np.cumsum(hits, axis=1) / np.arange(1, len(row) + 1)
        values.append(((precision * hits).sum(axis=1) / wanted.sum()).mean())
    return float(np.mean(values))


@pytest.mark.parametrize("kind", ["coder", "embedder"])
def test_map_equals_brute_force(
    kind: str, pairs: Pairs, hashing: Protocol, labels: np.ndarray, request: pytest.FixtureRequest
) -> None:
    encoder = request.getfixturevalue(kind)
    result = evaluate(encoder, pairs, hashing)
    query, database = np.arange(20), resolve_splits(hashing, pairs).database.rows
    image = encode_pictures(encoder, pairs, query).points
    text = encode_texts(encoder, ResolvedSplit(pairs, hashing.text, database).texts, database).points
    relevant = (labels[query].astype(int) @ labels[database].T.astype(int)) > 0
    expected = brute_force_map(encoder.space.similarity(image, text), relevant)
    assert result.metrics["i2t"]["map"] == pytest.approx(expected, abs=2e-3)
    assert result.metrics["i2t"]["floor"] < result.metrics["i2t"]["map"] < 1
    assert result.per_query["i2t"][3] is None
    assert result.metrics["i2t"]["without_relevant"] == 1
    assert len(result.per_query["t2i"]) == 20


def test_codes_get_curves_health_and_ceiling(coder: Any, pairs: Pairs, hashing: Protocol) -> None:
    result = evaluate(coder, pairs, hashing)
    assert result.bits == 16
    assert result.metrics["i2t"]["map"] < result.metrics["i2t"]["ceiling"] <= 1
    assert len(result.curves["t2i"]["recall"]) == 17
    assert result.curves["t2i"]["recall"][-1] == pytest.approx(1)
    assert len(result.health["database_image"]["ones"]) == 16  # type: ignore[arg-type]
    without = evaluate(coder, pairs, hashing, ceiling=False)
    assert "ceiling" not in without.metrics["i2t"]


def test_vectors_have_no_code_figures(embedder: Any, pairs: Pairs, hashing: Protocol) -> None:
    result = evaluate(embedder, pairs, hashing)
    assert result.bits is None
    assert "ceiling" not in result.metrics["i2t"]
    assert not any(result.curves.values()) and not any(result.health.values())


def test_trained_items_are_taken_out(coder: Any, pairs: Pairs, hashing: Protocol, labels: np.ndarray) -> None:
    result = evaluate(coder, pairs, hashing)
    unseen = np.arange(60, 90)
    relevant = (labels[:20].astype(int) @ labels[unseen].T.astype(int)) > 0
    image = encode_pictures(coder, pairs, np.arange(20)).points
    text = encode_texts(coder, ResolvedSplit(pairs, hashing.text, unseen).texts, unseen).points
    expected = brute_force_map(coder.space.similarity(image, text), relevant)
    assert result.metrics["i2t"]["map_unseen"] == pytest.approx(expected, abs=3e-3)


@pytest.mark.parametrize("kind", ["coder", "embedder"])
def test_retrieval_with_several_captions(
    kind: str, pairs: Pairs, retrieval: Protocol, request: pytest.FixtureRequest
) -> None:
    encoder = request.getfixturevalue(kind)
    result = evaluate(encoder, pairs, retrieval)
    rows = np.arange(20)
    image = encode_pictures(encoder, pairs, rows)
    text = encode_texts(encoder, ResolvedSplit(pairs, retrieval.text, rows).texts, rows)
    assert len(text) == 40
    assert result.settings["counts"] == {"query_image": 20, "query_text": 40}
    similarity = encoder.space.similarity(image.points, text.points).astype(float)
    rng = np.random.default_rng(0)
    hits, ranks = [], []
    for _ in range(2000):
        order = np.argsort(-(similarity + 1e-6 * rng.random(similarity.shape)), axis=1)
        own = text.rows[order] == image.rows[:, None]
        hits.append(own[:, :5].any(axis=1).mean())
        ranks.append(own.argmax(axis=1) + 1)
    assert result.metrics["i2t"]["r@5"] == pytest.approx(np.mean(hits), abs=0.01)
    assert result.metrics["i2t"]["median_rank"] == pytest.approx(np.median(np.mean(ranks, axis=0)), abs=0.3)
    assert result.metrics["t2i"]["r@1"] <= result.metrics["t2i"]["r@5"] <= result.metrics["t2i"]["r@10"]
    assert len(result.per_query["t2i"]) == 40


def test_label_codes_are_seeded_and_depend_on_labels_alone(labels: np.ndarray) -> None:
    doubled = np.concatenate([labels, labels])
    codes = label_codes(doubled, 32, steps=60)
    assert codes.shape == (180, 4) and codes.dtype == np.uint8
    np.testing.assert_array_equal(codes[:90], codes[90:])
    np.testing.assert_array_equal(codes, label_codes(doubled, 32, steps=60))


def run_directory(folder: Path, pairs: Pairs, protocol_file: Path, protocol_hash: str) -> None:
    folder.mkdir()
    run = {
        "recipe": "fake/soda", "methods": ["soda-teacher", "soda"], "seed": 4, "seconds": 12.5,
        "protocol": str(protocol_file), "protocol_hash": protocol_hash, "pairs": str(pairs.path),
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))


def test_a_run_says_what_it_is(
    tmp_path: Path, coder: Any, pairs: Pairs, hashing: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limbeck.encoders import load as loading

    protocol_file = tmp_path / "own.yaml"
    protocol_file.write_text(json.dumps(hashing.model_dump(mode="json")))
    run_directory(tmp_path / "run", pairs, protocol_file, hashing.hash)
    monkeypatch.setattr(loading, "load", lambda path: coder)
    result = evaluate(tmp_path / "run", json=tmp_path / "out.json")
    assert (result.label, result.method, result.seed) == ("fake/soda", "soda", 4)
    assert result.seconds["train"] == 12.5
    assert Result.load(tmp_path / "out.json") == result
    assert Result.load(tmp_path / "run" / "result.json") == result


def test_nothing_to_evaluate_on(coder: Any, pairs: Pairs) -> None:
    with raises_code("E-OPTION-MISSING", "--data"):
        evaluate(coder)
    with raises_code("E-OPTION-MISSING", "--protocol"):
        evaluate(coder, pairs)
