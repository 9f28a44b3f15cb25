"""A model directory that is damaged, incomplete, newer or no model at all: one line that names the file."""

from __future__ import annotations

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_dual_encoder import simple

import limbeck
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from raising import raises_code


@pytest.fixture
def model_dir(tmp_path: Path) -> Path:
    simple().save(tmp_path / "m")
    return tmp_path / "m"


def in_json(key: str, value: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        stored = read_json(folder / "model.json")
        if value is None:
            del stored[key]
        else:
            stored[key] = value
        write_json(folder / "model.json", stored)

    return damage


def written(file: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / file).write_bytes(content) and None


def removed(file: str) -> Callable[[Path], None]:
    return lambda folder: (folder / file).unlink()


def truncated(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])


def torch_saved(folder: Path) -> None:
    torch.save({"a": torch.zeros(1)}, folder / "model.safetensors")


def renamed_tensor(folder: Path) -> None:
    tensors = load_tensors(folder / "model.safetensors")
    first = sorted(tensors)[0]
    tensors["odd"] = tensors.pop(first)
    save_tensors(folder / "model.safetensors", tensors)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncated, "model.safetensors: is not a readable safetensors file (truncated or damaged)"),
        (torch_saved, "a pickle or zip archive, which is never loaded"),
        (written("model.safetensors", pickle.dumps([1])), "a pickle or zip archive, which is never loaded"),
        (written("model.safetensors", b""), "model.safetensors: is not a readable safetensors file"),
        (
            removed("model.safetensors"),
            "m: the directory is incomplete, it lacks its weights (model.safetensors); copy or download",
        ),
        (renamed_tensor, "model.safetensors: does not fit model.json"),
        (
            removed("text/vocabulary.json"),
            "m: the directory is incomplete, it lacks text/vocabulary.json; copy or download the whole model",
        ),
        (removed("model.json"), "m: the directory is incomplete, it lacks config.json or model.json beside"),
        (written("text/vocabulary.json", b'["a"]'), "model.safetensors: does not fit model.json"),
        (written("text/vocabulary.json", b'["a'), "vocabulary.json: is not valid JSON"),
        (written("image/features.json", b"{}"), "m: is damaged"),
        (written("model.json", b"{"), "model.json: is not valid JSON"),
        (written("model.json", b"[]"), "model.json: is not a limbeck model"),
        (in_json("kind", "other"), "model.json: is not a limbeck model"),
        (in_json("format", 99), "model.json: format 99 is newer than this version"),
        (in_json("towers", {}), "m: is damaged"),
        (in_json("towers", {"image": {"config": {"backbone": {"kind": "new"}}}}), "m: is damaged"),
        (in_json("lift", {"config": {"kind": "cone"}}), "m: is damaged"),
        (
            in_json("lift", {"config": {"kind": "sphere", "dim": 8, "dimm": 1}}),
            "m: is damaged or of another version (dimm: Extra inputs are not permitted); train again",
        ),
        (
            in_json("lift", {"config": {"kind": "polar", "dim": 8, "curv": 20.0}}),
            "m: is damaged or of another version (Value error, needs min_curv <= curv <= max_curv); train",
        ),
        (in_json("references", None), "m: is damaged"),
    ],
)
def test_damaged_models_are_one_line(model_dir: Path, damage: Callable[[Path], None], said: str) -> None:
    damage(model_dir)
    with pytest.raises(LimbeckError) as found:
        limbeck.load(model_dir)
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_places_without_a_model_say_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(LimbeckError, match=r"contains no model \(found no file\); use a run, a model dir"):
        limbeck.load(tmp_path)
    (tmp_path / "recipe.yaml").write_text("name: x\n")
    with raises_code("E-MODEL-MISSING", "--resume"):
        limbeck.load(tmp_path)


def test_a_full_disk_leaves_the_model_that_stands(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = np.ones((2, 6), np.float32)
    before = limbeck.load(model_dir).encode_image(features)
    other = simple()
    with torch.no_grad():
        other.lift.head("image").weight.neg_()  # type: ignore[operator, union-attr]

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("limbeck.encoders.tensors.save_file", full)
        with raises_code("E-PATH-WRITE", "m:"):
            other.save(model_dir)
    np.testing.assert_array_equal(limbeck.load(model_dir).encode_image(features), before)
    assert [p.name for p in model_dir.parent.iterdir() if p.name.startswith(".")] == []
