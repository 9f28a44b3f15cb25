"""`limbeck compress`: from a CLIP directory and pictures to a model with codes, an index and hits."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hub_models import write_clip
from limbeck import load
from limbeck.encoders.lifts import ranking
from limbeck.evaluation.compress import Compression, LabelUse, candidates, fitted, measured, of_floats
from limbeck.evaluation.compress_features import features_of
from limbeck.evaluation.compress_labels import label_metric
from limbeck.spaces import Sphere

Run = Callable[..., tuple[int, str, str]]


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((20, 24)).save(folder / f"{i:02}.png")
    return folder


@pytest.mark.slow
def test_from_clip_and_pictures_to_hits(
    limbeck: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "STEPS", 5)
    clip, photos = write_clip(tmp_path / "clip"), pictures(tmp_path / "photos", 40)
    out, report, hits = tmp_path / "small", tmp_path / "report.json", tmp_path / "hits.json"
    code, said, err = limbeck("compress", clip, photos, "--bits", "8,16", "--out", out, "--json", report)
    assert code == 0, err
    assert "no texts" in said and "2 bytes per item instead of 40" in said
    told = json.loads(report.read_text())
    assert told["counts"]["image queries"] == 8 and told["counts"]["pictures"] == 32
    tried = {
        bits: [one["candidate"] for one in length["candidates"]] for bits, length in told["lengths"].items()
    }
    assert sorted(tried["8"]) == ["itq", "itq, texts", "learned", "pca-random", "random"]
    assert sorted(tried["16"]) == ["learned", "random"]  # a model of 10 dimensions
    assert tried["8"][0] == told["lengths"]["8"]["chosen"]

    index = tmp_path / "ix"
    code, _, err = limbeck(
        "index", "build", photos, "--model", f"{out}-8", "--out", index, "--keep-embeddings"
    )
    assert code == 0, err
    code, _, err = limbeck("search", index, "red cat", "--asymmetric", "--rerank", "40", "--json", hits)
    assert code == 0, err
    # The short list is the whole index, so that the order is that of CLIP itself.
    model = load(clip)
    scores = model.encode_text(["red cat"]) @ model.encode_image(sorted(photos.iterdir())).T
    found = json.loads(hits.read_text())["results"][0]["hits"]
    assert found[0]["id"] == f"{int(scores[0].argmax()):02}.png"
    code, _, err = limbeck("compress", f"{out}-8", photos, "--out", tmp_path / "again")
    assert code == 1 and "has codes of 8 bits" in err and "[E-SPACE-OTHER]" in err
    code, _, err = limbeck("compress", clip, photos, "--out", f"{out}-8")
    assert code == 1 and "small-8" in err and err.count("\n") == 1


def test_bad_input(limbeck: Run, tmp_path: Path) -> None:
    clip, photos = write_clip(tmp_path / "clip"), pictures(tmp_path / "photos", 5)
    (tmp_path / "empty").mkdir()
    for words, fact, named in (
        ((photos, "--bits", "12"), "12", "E-CODES-LENGTH"),
        ((photos, "--bits", "many"), "many", "E-OPTION-FORM"),
        ((photos, "--labels", "some"), "auto, always, never", "E-OPTION-CHOICE"),
        ((photos,), "5 pictures", "E-ARRAY-ROWS"),
        ((tmp_path / "empty",), "no pictures", "E-ENCODE-EMPTY"),
    ):
        code, _, err = limbeck("compress", clip, *words, "--out", tmp_path / "small")
        line = err.strip().splitlines()[-1]
        assert code == 1 and fact in line and line.endswith(f"[{named}]"), err
        assert not (tmp_path / "small").exists()


def clusters(seed: int, count: int) -> np.ndarray:
    """Unit vectors of 16 numbers around 12 centres."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).standard_normal((12, 16))
    points = centres[rng.integers(0, 12, count)] + 0.4 * rng.standard_normal((count, 16))
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)


def test_every_candidate_is_fitted_to_the_training_pictures_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "STEPS", 60)
    image, database = clusters(0, 300), clusters(1, 120)
    gap = np.zeros(16, np.float32)
    gap[0] = 0.7
    text, asked = clusters(2, 200) + gap, clusters(3, 40) + gap
    options = {
        "asked_texts": asked / np.linalg.norm(asked, axis=1, keepdims=True),
        "own": None,
        "asked_images": 30,
    }
    one = features_of(Sphere(16), image, text, database, **options)
    other = features_of(Sphere(16), image, text, database[::-1].copy(), **options)
    scores = {}
    for candidate in candidates(one, 16):
        lift = fitted(one, candidate, 16, 0)
        # Held-out rows change nothing.
        assert torch.equal(lift.projection, fitted(other, candidate, 16, 0).projection)
        scores[candidate.name] = measured(one, candidate, lift).score
    assert list(scores) == ["itq", "itq, texts", "pca-random", "random", "learned"]
    assert [candidate.name for candidate in candidates(one, 32)] == ["random", "learned"]
    assert max(scores, key=lambda name: scores[name]) == "learned"


def test_a_picture_does_not_find_itself() -> None:
    one = features_of(
        Sphere(16),
        clusters(0, 40),
        clusters(2, 3)[:0],
        clusters(1, 50),
        asked_texts=None,
        own=None,
        asked_images=7,
    )
    ranking_of_floats = one.held["image"].ranking
    assert (ranking_of_floats[:, -1] == np.arange(7)).all()
    names = [candidate.name for candidate in candidates(one, 16)]
    assert names == ["itq", "pca-random", "random", "learned"]  # no texts to fit to


def test_captions_and_labels_are_asked_and_counted() -> None:
    database = clusters(1, 60)
    labels = np.eye(3, dtype=bool)[np.arange(60) % 3]
    own = np.repeat(np.arange(5), 2)
    one = features_of(
        Sphere(16),
        clusters(0, 40),
        clusters(2, 30),
        database,
        asked_texts=database[own],
        own=own,
        asked_images=5,
        labels=labels,
        text_rows=own,
    )
    floats = of_floats(one)
    assert floats["text"].recall == 1  # each text is its picture's own vector
    assert floats["image"].recall is None and floats["image"].mean_precision is not None
    itq = candidates(one, 16)[0]
    result = measured(one, itq, fitted(one, itq, 16, 0))
    assert result.codes["text"].reranked_recall == 1 and 0 < (result.codes["text"].mean_precision or 0) < 1


def test_the_label_metric_adds_predictions_of_the_given_variance() -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 6)).astype(np.float32)
    rows -= rows.mean(0)
    labels = {"image": rows[:, :1] > 0, "text": np.zeros((3, 1), bool)}  # texts without labels are not read
    metric = label_metric(rows, np.full((3, 6), 1e6, np.float32), labels, 0.5)
    np.testing.assert_allclose(metric, metric.T, atol=1e-12)
    squares = metric @ metric
    covariance = rows.T.astype(np.float64) @ rows / len(rows)
    assert np.trace(squares @ covariance) == pytest.approx(1.5 * np.trace(covariance))
    stretch, directions = np.linalg.eigh(squares)
    np.testing.assert_allclose(stretch[:-1], 1)
    assert abs(directions[0, -1]) > 0.95  # the dimension that the label is a sign of


def labelled(noise: float) -> Compression:
    """Pictures of 4 labels in 12 clusters, which ask as texts too; a share ``noise`` of labels is random."""
    rng, width = np.random.default_rng(5), 16
    centres = rng.standard_normal((12, width))
    kinds = rng.integers(0, 12, 400)
    points = centres[kinds] + 0.6 * rng.standard_normal((400, width))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    labels = np.eye(4, dtype=bool)[np.where(rng.random(400) < noise, rng.integers(0, 4, 400), kinds % 4)]
    ask, fit = np.arange(80), np.arange(80, 400)
    one = features_of(
        Sphere(width), points[fit], points[fit], points, asked_texts=points[ask], own=None, asked_images=80,
        labels=labels, text_rows=ask,
    )  # fmt: skip
    one = dataclasses.replace(one, labels={"image": labels[fit], "text": labels[fit]})
    return Compression(None, one, "captions", 0)


def test_labels_are_used_where_they_help_held_out_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "STEPS", 60)
    monkeypatch.setattr(ranking, "RATE", 2e-2)
    tried = labelled(noise=0).try_candidates(16)
    plain = next(one for one in tried if not one.candidate.label_weight)
    assert tried[0].candidate.label_weight and tried[0].result.precision > plain.result.precision + 0.03
    random = labelled(noise=1)  # labels that say nothing of the pictures
    assert not random.try_candidates(16)[0].candidate.label_weight
    assert random.try_candidates(16, LabelUse.ALWAYS)[0].candidate.label_weight
    names = [one.candidate.name for one in labelled(noise=0).try_candidates(16, LabelUse.NEVER)]
    assert sorted(names) == ["itq", "itq, texts", "learned", "pca-random", "random"]
