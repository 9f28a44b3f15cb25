"""ONNX encoders: what is refused, and what a model directory looks like with them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lifts.sphere import SphereLift
from limbeck.errors import LimbeckError
from limbeck.onnx import OnnxEncoder
from raising import raises_code
from tiny_encoder import pixel_encoder


def saved(folder: Path, bits: int | None = None) -> DualEncoder:
    model = pixel_encoder(bits=bits)
    model.save(folder, bundle=True)
    model.save_onnx(folder)
    return model


def test_the_graphs_stay_when_the_model_is_read(tmp_path: Path) -> None:
    model = saved(tmp_path / "m", bits=16)
    again = DualEncoder.load(tmp_path / "m")
    onnx = OnnxEncoder.open(tmp_path / "m")
    assert onnx is not None
    for encoder in (again, onnx):
        assert np.array_equal(
            encoder.encode_text(["red", "dark blue"]), model.encode_text(["red", "dark blue"])
        )
    assert sorted(p.name for p in (tmp_path / "m/onnx").rglob("*") if p.is_file()) == [
        "encoder.json",
        "model.onnx",
        "model.onnx",
        "vocabulary.json",
    ]
    pixel_encoder().save(tmp_path / "m")  # a model that is replaced takes its graphs with it
    assert OnnxEncoder.open(tmp_path / "m") is None


def test_a_graph_that_differs_from_torch_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def depends_on_the_batch(self: SphereLift, features: torch.Tensor, modality: str) -> torch.Tensor:
        return features[:, :8] * float(len(features))

    model = pixel_encoder()
    monkeypatch.setattr(SphereLift, "forward", depends_on_the_batch)
    with raises_code("E-EXPORT-DIFFERS", "export:"):
        model.save_onnx(tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_operator_that_onnx_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decomposed(self: SphereLift, features: torch.Tensor, modality: str) -> torch.Tensor:
        return torch.special.bessel_j0(features[:, :8])

    model = pixel_encoder()
    monkeypatch.setattr(SphereLift, "forward", decomposed)
    with raises_code("E-EXPORT-UNSUPPORTED", "bessel_j"):
        model.save_onnx(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told | {"format": 99}, "format 99 is newer"),
        (lambda told: {key: told[key] for key in told if key != "kept"}, "damaged"),
        (lambda told: told | {"towers": {"text": {}}}, "damaged"),
    ],
)
def test_damaged_settings(tmp_path: Path, change: object, said: str) -> None:
    saved(tmp_path / "m")
    file = tmp_path / "m/onnx/encoder.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))  # type: ignore[operator]
    with pytest.raises(LimbeckError, match=said):
        OnnxEncoder.open(tmp_path / "m")


def test_a_damaged_graph_is_named(tmp_path: Path) -> None:
    saved(tmp_path / "m")
    (tmp_path / "m/onnx/text/model.onnx").write_bytes(b"nothing")
    onnx = OnnxEncoder.open(tmp_path / "m")
    assert onnx is not None
    with raises_code("E-MODEL-DAMAGED", "model.onnx"):
        onnx.encode_text(["red"])
