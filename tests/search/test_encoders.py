"""Which encoder an index uses: ONNX graphs on the CPU, torch elsewhere and where there are no graphs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import limbeck
from limbeck.encoders import chosen
from limbeck.encoders.chosen import on_cpu, on_device
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.encoder import Encoder
from limbeck.encoders.sources import starter_folder
from limbeck.onnx import OnnxEncoder
from limbeck.search import add_items, replace_query_encoder
from limbeck.search.encoders import open_model, own_encoder
from limbeck.search.sync import sync_folder
from raising import raises_code
from tiny_encoder import WORDS, pixel_encoder, write_pictures


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with and without graphs, graphs alone, and pictures."""
    root = tmp_path_factory.mktemp("models")
    model = pixel_encoder(bits=16)
    model.save(root / "plain")
    model.save(root / "run/model", graphs=True)
    model.save_onnx(root / "exported")
    write_pictures(root / "pictures", range(12))
    return root


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(*_: Any, **__: Any) -> None:
        raise AssertionError("torch is used")

    monkeypatch.setattr(DualEncoder, "load", loaded)
    monkeypatch.setattr(DualEncoder, "run", loaded)


def points(index: limbeck.Index) -> dict[str, bytes]:
    """The code of each item."""
    store = index.store
    rows = np.flatnonzero(np.ones(store.rows, bool) if store.alive is None else store.alive)
    return {store.metadata([row])[0]["id"]: store.points_at(np.array([row])).tobytes() for row in rows}


def test_graphs_and_torch_agree(place: Path) -> None:
    torch, graphs = limbeck.load(place / "plain"), open_model(place / "run")
    assert isinstance(graphs, OnnxEncoder)
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)) for _ in range(700)]
    for encoder in (torch, graphs):
        found = encoder.encode("image", pictures, "points", "embeddings", batch_size=64)
        once = encoder.compute("image", encoder.collate("image", pictures[:5]), "embeddings", "points")
        assert found[0].shape == (700, 2)
        np.testing.assert_allclose(found[1][:5], once[0], rtol=0, atol=1e-5)
        np.testing.assert_array_equal(found[0][:5], once[1])
    codes, wanted = (one.encode("image", pictures, "points")[0] for one in (graphs, torch))
    assert np.bitwise_count(codes ^ wanted).sum() <= 1e-4 * 8 * codes.size
    assert (graphs.space, graphs.space_id, graphs.kept) == (torch.space, torch.space_id, torch.kept)
    assert graphs.asymmetric is torch.asymmetric is False
    assert graphs.inputs == torch.inputs == {"text": "text", "image": "pixels"}


@pytest.mark.parametrize("name", ["run", "run/model", "exported"])
def test_an_index_is_built_extended_and_searched_by_graphs(
    name: str, place: Path, tmp_path: Path, no_torch: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    write_pictures(pictures, range(8))
    built = limbeck.Index.build(tmp_path / "ix", pictures, model=place / name, embeddings=True)
    write_pictures(pictures, range(8, 10))
    assert add_items(tmp_path / "ix", pictures, rows=np.array([8])).items == 1
    write_pictures(pictures, range(1, 2), size=(40, 8))
    report = sync_folder(tmp_path / "ix", pictures)
    assert (report.new, report.changed, report.unchanged) == (1, 1, 8)
    whole = limbeck.Index.build(tmp_path / "whole", pictures, model=place / name, embeddings=True)
    index = limbeck.Index.open(tmp_path / "ix")
    assert points(index) == points(whole) != points(built)
    assert index.search(WORDS[0], rerank=10) and index.search(image=pictures / "0001.png")[0].score == 0
    assert capsys.readouterr().err == ""


def test_an_index_carries_the_model_where_it_is_whole(place: Path, tmp_path: Path) -> None:
    def files(name: str) -> list[str]:
        index = limbeck.Index.build(tmp_path / name, place / "pictures", model=place / name)
        found = index.store.encoder_for("image")
        assert found is not None
        return sorted(file.relative_to(found[0]).as_posix() for file in found[0].rglob("*") if file.is_file())

    graphs = ["onnx/encoder.json", "onnx/image/model.onnx", "onnx/text/model.onnx"]
    graphs.append("onnx/text/vocabulary.json")
    assert files("exported") == graphs
    whole = ["image/image.json", "model.json", "model.safetensors", *graphs, "text/vocabulary.json"]
    assert files("run") == files("plain") == whole
    again = limbeck.Index.open(tmp_path / "run").store.encoder_for("image")
    assert again is not None
    assert DualEncoder.load(again[0], bundled=True).space_id == limbeck.load(place / "plain").space_id


def test_weights_kept_elsewhere_are_left_there(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    pixel_encoder().save(folder, graphs=True)
    model = json.loads((folder / "model.json").read_text())
    model["references"] = {"towers.image.backbone.model.": {"source": "a/b", "sha256": "c"}}
    (folder / "model.json").write_text(json.dumps(model))
    encoder = open_model(folder)
    (tmp_path / "to").mkdir()
    encoder.bundle(tmp_path / "to")
    assert [entry.name for entry in (tmp_path / "to").iterdir()] == ["onnx"]


def test_an_index_of_the_starter_holds_its_graphs_alone(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("limbeck.encoders.starter.make_starter", pixel_encoder)  # at the first use
    index = limbeck.Index.build(tmp_path / "ix", place / "pictures", model="starter")
    found = index.store.encoder_for("image")
    assert found is not None and [entry.name for entry in found[0].iterdir()] == ["onnx"]
    assert index.search(WORDS[0], k=1) and index.search(image=place / "pictures/0001.png", k=1)
    again = limbeck.Index.build(tmp_path / "again", place / "pictures", model="starter")
    assert points(again) == points(index) and starter_folder().is_dir()
    assert capsys.readouterr().err.count("starter") == 1  # made once, and no word of missing graphs


def test_graphs_keep_the_default_search(tmp_path: Path) -> None:
    model = pixel_encoder(bits=16)
    model.lift.asymmetric = True
    model.save_onnx(tmp_path)
    assert open_model(tmp_path).asymmetric
    settings = tmp_path / "onnx/encoder.json"
    stored = json.loads(settings.read_text())
    del stored["asymmetric"]  # graphs from before this setting
    settings.write_text(json.dumps(stored))
    assert not open_model(tmp_path).asymmetric


def test_half_a_model_is_named(place: Path, tmp_path: Path) -> None:
    pixel_encoder().save(tmp_path / "m", graphs=True)
    (tmp_path / "m/model.safetensors").unlink()
    with raises_code("E-MODEL-DAMAGED", "model.safetensors: is missing"):
        limbeck.Index.build(tmp_path / "ix", place / "pictures", model=tmp_path / "m")
    assert not (tmp_path / "ix").exists()


def test_without_graphs_torch_is_loaded_and_a_line_says_so(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = limbeck.Index.build(tmp_path / "ix", place / "pictures", model=place / "plain")
    plain = place / "plain"
    assert capsys.readouterr().err == (
        f"limbeck: {plain}: has no ONNX graphs, so torch is loaded; "
        f"limbeck export {plain} --onnx DIR writes some\n"
    )
    assert points(index) == points(
        limbeck.Index.build(tmp_path / "2", place / "pictures", model=place / "run")
    )
    assert isinstance(own_encoder(index.store), OnnxEncoder)  # made when the index was built


def test_another_device_is_torchs(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def found(driver: bool) -> tuple[type[Encoder], type[Encoder]]:
        monkeypatch.setattr(chosen, "_DRIVERS", [str(place)] if driver else [str(place / "no driver")])
        return type(open_model(place / "run")), type(open_model(place / "exported"))

    monkeypatch.setattr(sys, "platform", "linux")
    assert on_cpu() and found(True) == (OnnxEncoder, OnnxEncoder)  # a program that imports limbeck: the CPU
    with on_device(None):
        assert found(False) == (OnnxEncoder, OnnxEncoder)
        assert found(True) == (DualEncoder, OnnxEncoder)
        assert not on_cpu()
        monkeypatch.setattr(chosen, "installed", lambda package: False)
        assert on_cpu()
    with on_device("cuda"), raises_code("E-DEVICE-MISSING", "exported: holds only ONNX graphs"):
        open_model(place / "exported")
    with on_device("cpu"):
        assert found(True) == (OnnxEncoder, OnnxEncoder)


def test_graphs_alone_are_no_model_to_train(place: Path) -> None:
    with raises_code("E-MODEL-MISSING", "exported: holds only ONNX graphs"):
        limbeck.load(place / "exported")


def test_no_model(place: Path) -> None:
    with raises_code("E-MODEL-MISSING", "no such run or model directory"):
        open_model(place / "nothing")


def test_another_text_tower_needs_no_torch(place: Path, tmp_path: Path, no_torch: None) -> None:
    index = limbeck.Index.build(tmp_path / "ix", place / "pictures", model=place / "run")
    replace_query_encoder(tmp_path / "ix", place / "exported")
    assert limbeck.Index.open(tmp_path / "ix").search(WORDS[0]) == index.search(WORDS[0])
