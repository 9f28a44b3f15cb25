"""A new text tower on an index that exists: not one item encoded again, the old encoder until it stands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck
from limbeck.cli.app import app
from limbeck.errors import LimbeckError
from limbeck.evaluation import evaluate
from limbeck.index.manifest import newest_manifest
from limbeck.index.store import IndexStore
from limbeck.search import replace_query_encoder
from limbeck.training import train
from raising import raises_code
from tiny import soda_recipe, write_pairs, write_protocol


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tower")
    write_pairs(folder, rows=120)
    write_protocol(folder)
    train(tree(folder), out=folder / "old", quiet=True)
    return folder


def tree(place: Path) -> dict[str, Any]:
    return soda_recipe(place / "pairs", place / "hashing.yaml", steps=40, validate_every=40)


def new_text(place: Path, image: Path) -> dict[str, Any]:
    """A transformer in place of the bag of words, from the image side of a run or an index."""
    recipe = tree(place)
    text = {"kind": "clip_text", "context": 8, "width": 16, "layers": 1, "heads": 2}
    recipe["towers"]["text"] = {"backbone": text, "hidden": [12]}
    student = {"method": {"name": "soda-student"}, "freeze": ["image"], "init": {"image": str(image)}}
    recipe["schedule"]["steps"] = 60
    return recipe | {"stages": {"student": student}}


@pytest.fixture
def index(place: Path, tmp_path: Path) -> Path:
    limbeck.Index.build(tmp_path / "index", place / "pairs", model=place / "old")
    return tmp_path / "index"


def test_an_index_answers_through_a_tower_trained_later(
    place: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = newest_manifest(index)
    points = np.concatenate(IndexStore.open(index).points)
    run = train(new_text(place, index), out=tmp_path / "new", quiet=True)
    app(["index", "encoder", str(index), "--model", str(run)], standalone_mode=False)
    assert "queries are now encoded by" in capsys.readouterr().out
    after = newest_manifest(index)
    assert (after.segments, after.space_id, after.rows) == (before.segments, before.space_id, before.rows)
    assert after.generation == before.generation + 1
    assert after.encoders != before.encoders
    for name, entry in before.files.items():
        assert name.startswith("encoders/") or after.files[name] == entry
    np.testing.assert_array_equal(np.concatenate(IndexStore.open(index).points), points)
    assert IndexStore.open(index).verify() == len(after.files)
    asked = ["cat", "dog tree", "sky extra1"]
    opened, model = limbeck.Index.open(index), limbeck.load(run)
    np.testing.assert_array_equal(opened.encode(asked), model.encode_text(asked))
    assert {"clip_text", "bag"} == {
        limbeck.load(folder).towers["text"].config.backbone.kind for folder in (run, place / "old")
    }
    features = np.load(place / "cnn.npy")[:3]  # pictures still ask as they did
    np.testing.assert_array_equal(
        opened.encode(features=features), limbeck.load(place / "old").encode_image(features)
    )
    found = evaluate(run, ceiling=False).metrics["t2i"]
    assert found["map"] > found["floor"] + 0.05


def test_a_run_serves_as_well_as_an_index(place: Path, index: Path, tmp_path: Path) -> None:
    runs = [
        train(new_text(place, image), out=tmp_path / f"from-{image.name}", quiet=True)
        for image in (index, place / "old")
    ]
    assert len({limbeck.load(run).space_id for run in runs}) == 1
    asked = ["cat", "dog tree"]
    first, second = (limbeck.load(run).encode_text(asked) for run in runs)
    np.testing.assert_array_equal(first, second)


def test_models_that_do_not_fit_are_refused(place: Path, index: Path, tmp_path: Path) -> None:
    recipe = tree(place)
    other = train(recipe | {"seed": 1}, out=tmp_path / "other", quiet=True)
    before = newest_manifest(index)
    with raises_code("E-INDEX-OTHER-MODEL", "index:") as found:
        replace_query_encoder(index, other)
    assert "\n" not in str(found.value)
    labels = tree(place)
    del labels["stages"]["student"]
    labels["stages"]["teacher"] |= {
        "method": {"name": "multihot-teacher"},
        "towers": {"text": {"backbone": {"kind": "multihot"}}},
    }
    with raises_code("E-MODEL-INPUT", "labels:"):
        replace_query_encoder(index, train(labels, out=tmp_path / "labels", quiet=True))
    with raises_code("E-INDEX-MISSING", "nowhere:"):
        replace_query_encoder(tmp_path / "nowhere", place / "old")
    assert newest_manifest(index) == before


def test_codes_from_elsewhere_have_no_model(place: Path, tmp_path: Path) -> None:
    codes = np.zeros((3, 1), np.uint8)
    limbeck.Index.build(tmp_path / "codes", codes, items={"id": ["a", "b", "c"]})
    with raises_code("E-INDEX-MODEL", "codes:"):
        replace_query_encoder(tmp_path / "codes", place / "old")
    with raises_code("E-INDEX-MODEL", "codes:"):
        train(new_text(place, tmp_path / "codes"), out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("broken", ["fsync", "link"])
def test_on_a_failure_the_old_encoder_stands(
    place: Path, index: Path, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = newest_manifest(index)
    files = {file for file in index.rglob("*") if file.parent.name != "" and "writer" not in file.name}

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, broken, fail)
    with pytest.raises(LimbeckError, match="No space left"):
        replace_query_encoder(index, place / "old")
    monkeypatch.undo()
    assert newest_manifest(index) == before
    assert {file for file in index.rglob("*") if "writer" not in file.name} == files
