"""From a directory of a pretrained model to hits: encode, index, search, evaluate, codes, fine-tuning."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck as package
from limbeck.encoders.onnx_export import export_tower
from limbeck.errors import LimbeckError
from limbeck.training import train
from pretrained_models import TEXTS, write_all
from tiny import write_pairs, write_protocol

Run = Callable[..., tuple[int, str, str]]


NAMES = ("clip", "siglip", "sentence-clip", "open-clip", "open-clip-siglip", "immich", "transformers-js",
         "meru", "hyper3-clip")  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = write_all(tmp_path_factory.mktemp("models"))
    assert tuple(found) == NAMES
    return found


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_pairs(folder, rows=40, pictures=16)
    write_protocol(folder, "retrieval")
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_encode_index_and_search(
    name: str, models: dict[str, Path], data: Path, tmp_path: Path, limbeck: Run
) -> None:
    model, media, index = tmp_path / "model", data / "media", tmp_path / "index"
    shutil.copytree(models[name], model)
    encoder = package.load(model)
    assert limbeck("encode", model, media, "--out", tmp_path / "encoded")[0] == 0
    assert limbeck("index", "build", media, "--model", model, "--out", index)[0] == 0
    shutil.rmtree(model)  # the index holds its whole model
    status, out, _ = limbeck("search", index, "a red cat", "-k", "5")
    assert status == 0
    files = sorted(media.iterdir())
    points = torch.from_numpy(encoder.encode_image([Image.open(file).convert("RGB") for file in files]))
    query = torch.from_numpy(encoder.encode_text(["a red cat"]))
    order = encoder.lift.logits(query, points)[0].argsort(descending=True).tolist()
    places = [out.index(files[i].name) for i in order[:5]]
    assert places == sorted(places)


def test_a_sentence_transformers_clip_is_its_own_clip(models: dict[str, Path]) -> None:
    folder = models["sentence-clip"]
    inner = package.load(folder / "0_CLIPModel").encode_text(TEXTS)
    np.testing.assert_array_equal(package.load(folder).encode_text(TEXTS), inner)


def recipe(data: Path, source: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny/source",
        "data": {"pairs": str(data / "pairs"), "protocol": str(data / "retrieval.yaml")},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "towers": {
            "image": {"backbone": {"kind": "clip_image", "source": str(source)}},
            "text": {"backbone": {"kind": "clip_text", "source": str(source)}},
        },
        "optim": {"lr": 0.001, "warmup": 0.0},
        "schedule": {"steps": 2, "batch_size": 16, "select": "last", "log_every": 1},
    } | changes


@pytest.mark.parametrize("name", ["siglip", "open-clip", "meru", "immich"])
def test_towers_from_a_source_start_where_it_is_and_give_codes(
    name: str, models: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    source, dim = models[name], package.load(models[name]).lift.dim
    inner = {"backbone": {"kind": "run", "path": "start"}}
    tree = recipe(
        data,
        source,
        stages={
            "start": {"method": {"name": "clip"}, "lift": {"kind": "sphere", "dim": dim},
                      "schedule": {"steps": 0}},
            "codes": {"method": {"name": "binarize"}, "lift": {"kind": "binary", "bits": 8},
                      "towers": {"image": inner, "text": inner}, "schedule": {"steps": 0}},
        },
    )  # fmt: skip
    run = train(tree, out=tmp_path / "run", quiet=True)
    own = package.load(source)
    coded = package.load(run)
    assert coded.encode_text(TEXTS).dtype == np.uint8
    assert coded.encode_text(TEXTS).shape == (4, 1)
    # what the codes are ranked again by are the embeddings of the source
    floats = coded.encode("text", TEXTS, "floats")[0]
    tangent = own.towers["text"](own.towers["text"].backbone.collate(TEXTS)).detach().numpy()
    wanted = tangent / np.linalg.norm(tangent, axis=1, keepdims=True)
    np.testing.assert_allclose(floats, wanted, atol=1e-5)


@pytest.mark.parametrize("name", ["siglip", "open-clip", "meru", "hyper3-clip"])
def test_init_keeps_the_whole_model(name: str, models: dict[str, Path], data: Path, tmp_path: Path) -> None:
    source = models[name]
    own = package.load(source)
    lift = own.lift.describe()["config"] | {"kind": own.lift.config.kind}
    stage = {
        "method": {"name": "clip"},
        "lift": lift,
        "init": dict.fromkeys(("image", "text"), str(source)),
    }
    tree = recipe(data, source, stages={"tune": stage})
    tree["schedule"]["steps"] = 0
    found = package.load(train(tree, out=tmp_path / "run", quiet=True))
    np.testing.assert_allclose(found.encode_text(TEXTS), own.encode_text(TEXTS), atol=1e-5, rtol=1e-5)
    assert found.space.to_json() == pytest.approx(own.space.to_json())


@pytest.mark.parametrize("name", NAMES)
def test_towers_export_as_onnx_unless_they_are(name: str, models: dict[str, Path], tmp_path: Path) -> None:
    encoder = package.load(models[name])
    preprocess = encoder.towers["text"].backbone.preprocessor
    assert preprocess is not None
    if name in ("immich", "transformers-js"):
        with pytest.raises(LimbeckError, match="is an ONNX graph already; use the files of its source"):
            export_tower(encoder, "text", preprocess, tmp_path)
    else:
        assert export_tower(encoder, "text", preprocess, tmp_path).error < 1e-5
