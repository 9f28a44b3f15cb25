"""Pairs of ONNX graphs against the models of `transformers` that were exported."""

from __future__ import annotations

import copy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck
from hub_models import write_clip
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.onnx_source import open_onnx_source
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.onnx import OnnxEncoder
from pretrained_models import TEXTS, export_onnx, write_immich, write_siglip, write_transformers_js
from test_base_install import BASE

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pairs of graphs and the models that they come from."""
    folder = tmp_path_factory.mktemp("onnx")
    write_immich(folder / "immich", write_clip(folder / "clip"))
    write_transformers_js(folder / "js-clip", folder / "clip", mask=True)
    write_transformers_js(folder / "js-siglip", write_siglip(folder / "siglip"), mask=False)
    return folder


@pytest.mark.parametrize(
    ("graphs", "source"), [("immich", "clip"), ("js-clip", "clip"), ("js-siglip", "siglip")]
)
def test_embeddings_are_those_of_the_exported_model(
    place: Path, pictures: list[Image.Image], graphs: str, source: str
) -> None:
    wanted, found = limbeck.load(place / source), limbeck.load(place / graphs)
    np.testing.assert_allclose(found.encode_text(TEXTS), wanted.encode_text(TEXTS), atol=2e-6)
    # immich's models crop as torchvision does; CLIP of transformers rounds the centre down
    own = pictures[:2] if graphs == "immich" else pictures
    np.testing.assert_allclose(found.encode_image(own), wanted.encode_image(own), atol=2e-6)


def test_a_saved_copy_holds_the_graphs(place: Path, pictures: list[Image.Image], tmp_path: Path) -> None:
    encoder = limbeck.load(place / "immich")
    encoder.save(tmp_path / "whole", bundle=True)
    encoder.save(tmp_path / "by reference")
    for again in (
        DualEncoder.load(tmp_path / "whole", bundled=True),
        limbeck.load(tmp_path / "by reference"),
        copy.deepcopy(encoder),
    ):
        assert again.space_id == encoder.space_id
        np.testing.assert_array_equal(again.encode_text(TEXTS), encoder.encode_text(TEXTS))
        np.testing.assert_array_equal(again.encode_image(pictures), encoder.encode_image(pictures))
    assert encoder.towers["image"].backbone.worth_caching


def test_weights_in_a_file_of_their_own(place: Path, tmp_path: Path) -> None:
    apart = tmp_path / "apart"
    shutil.copytree(place / "immich", apart)
    file = apart / "textual/model.onnx"
    options = {"save_as_external_data": True, "location": "model.onnx.data", "size_threshold": 0}
    onnx.save_model(onnx.load(str(file)), str(file), **options)
    whole = limbeck.load(place / "immich").encode_text(TEXTS)
    encoder, source = limbeck.load(apart), open_onnx_source(str(apart))
    encoder.save(tmp_path / "saved", bundle=True)
    assert source is not None and source.space_id == encoder.space_id
    source.bundle(tmp_path / "copy")
    shutil.rmtree(apart)
    np.testing.assert_array_equal(encoder.encode_text(TEXTS), whole)
    np.testing.assert_array_equal(limbeck.load(tmp_path / "saved").encode_text(TEXTS), whole)
    copied = OnnxEncoder.open(tmp_path / "copy")
    assert copied is not None
    np.testing.assert_allclose(copied.encode_text(TEXTS), whole, atol=1e-6)


def test_what_cannot_be_read_is_one_line(place: Path, tmp_path: Path) -> None:
    def refused(change: str, message: str, graphs: str = "immich") -> None:
        folder = tmp_path / change
        shutil.copytree(place / graphs, folder)
        _CHANGES[change](folder)
        with pytest.raises(LimbeckError, match=message) as found:
            limbeck.load(folder)
        assert "\n" not in str(found.value)

    refused("no text side", r"the directory is incomplete, it lacks textual/model\.onnx")
    refused("no tokenizer", r"it lacks textual/tokenizer\.json")
    refused("unknown inputs", r"its inputs are tokens tensor\(float\).*limbeck gives integer ids")
    refused("unknown outputs", r"its outputs are x .*, y .*; none of them is known as the embedding")
    refused("damaged", r"visual/model\.onnx: onnxruntime cannot read it")
    refused("another size", r"reads squares of 16, the preprocessing makes 24")
    refused("another kind", r"config\.json is of a blip model; clip and siglip are read", "js-clip")


def _unknown_inputs(folder: Path) -> None:
    export_onnx(torch.nn.Linear(12, 10), (torch.zeros(1, 12),), folder / "textual/model.onnx",
                input_names=["tokens"], output_names=["embedding"])  # fmt: skip


class _Two(torch.nn.Module):
    def forward(self, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return text * 2.0, text * 3.0


def _unknown_outputs(folder: Path) -> None:
    export_onnx(_Two(), (torch.ones(1, 12, dtype=torch.int32),), folder / "textual/model.onnx",
                input_names=["text"], output_names=["x", "y"])  # fmt: skip


def _another_size(folder: Path) -> None:
    file = folder / "visual/preprocess_cfg.json"
    write_json(file, read_json(file) | {"size": [24, 24]})


_CHANGES = {
    "no text side": lambda folder: (folder / "textual/model.onnx").unlink(),
    "no tokenizer": lambda folder: (folder / "textual/tokenizer.json").unlink(),
    "unknown inputs": _unknown_inputs,
    "unknown outputs": _unknown_outputs,
    "damaged": lambda folder: (folder / "visual/model.onnx").write_bytes(b"\x08\x01 not a graph"),
    "another size": _another_size,
    "another kind": lambda folder: write_json(folder / "config.json", {"model_type": "blip"}),
}


@pytest.mark.parametrize("graphs", ["immich", "js-clip", "js-siglip"])
def test_without_torch_the_points_are_the_same(
    place: Path, pictures: list[Image.Image], tmp_path: Path, graphs: str
) -> None:
    wanted, found = limbeck.load(place / graphs), open_onnx_source(str(place / graphs))
    assert found is not None and found.space_id == wanted.space_id and found.space == wanted.space
    assert found.kept == wanted.kept and found.inputs == wanted.inputs
    found.bundle(tmp_path)
    stored = OnnxEncoder.open(tmp_path)
    assert stored is not None and stored.space_id == found.space_id
    for encoder in (found, stored):
        np.testing.assert_allclose(encoder.encode_text(TEXTS), wanted.encode_text(TEXTS), atol=1e-6)
        np.testing.assert_allclose(encoder.encode_image(pictures), wanted.encode_image(pictures), atol=1e-6)
    assert open_onnx_source(str(place / "clip")) is None


@pytest.mark.slow  # starts Python
def test_an_index_of_graphs_needs_no_torch(place: Path, pictures: list[Image.Image], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(pictures):
        picture.convert("RGB").save(tmp_path / f"pictures/{number}.png")
    script = f"""
import limbeck
limbeck.Index.build("index", "pictures", model={str(place / "immich")!r})
index = limbeck.Index.open("index")
print(index.search("a dog", k=1)[0].id, index.search(image="pictures/1.png", k=1)[0].id)
"""
    done = subprocess.run(
        [sys.executable, "-c", BASE + script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    index = limbeck.Index.build(
        tmp_path / "other", tmp_path / "pictures", model=limbeck.load(place / "immich")
    )
    assert done.stdout.split() == [index.search("a dog", k=1)[0].id, "1.png"]
