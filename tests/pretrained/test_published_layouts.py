"""open_clip, MERU, HyCoCLIP and Hyper3-CLIP against their published definitions, computed in float64."""

from __future__ import annotations

import math
from pathlib import Path

import float64
import numpy as np
import oracles
import pytest
import torch
from PIL import Image

import limbeck
from limbeck.encoders.dual import DualEncoder
from limbeck.spaces import Lorentz, Sphere
from pretrained_models import TEXTS, write_hyper3, write_meru, write_open_clip, write_open_clip_siglip


def close(encoder: DualEncoder, pictures: list[Image.Image], wanted: oracles.Both) -> None:
    np.testing.assert_allclose(encoder.encode_image(pictures), wanted[0], atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), wanted[1], atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip(tmp_path: Path, pictures: list[Image.Image], quick: bool) -> None:
    folder = write_open_clip(tmp_path / "model", quick=quick)
    encoder, wanted = limbeck.load(folder), oracles.open_clip(folder, pictures)
    close(encoder, pictures, wanted)
    logits = encoder.lift.logits(*(torch.from_numpy(side).float() for side in wanted))
    np.testing.assert_allclose(logits.detach(), math.exp(3) * wanted[0] @ wanted[1].T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["squash", "longest"])
def test_open_clip_keeps_its_way_of_resizing(tmp_path: Path, pictures: list[Image.Image], mode: str) -> None:
    told = {"resize_mode": mode, "interpolation": "bilinear", "fill_color": 7}
    encoder = limbeck.load(write_open_clip(tmp_path / "model", preprocess=told))
    encoder.save(tmp_path / "saved", bundle=True)
    for own in (encoder, limbeck.load(tmp_path / "saved")):
        square = own.towers["image"].backbone.preprocessor.square
        for picture in pictures:
            if mode == "squash":
                wanted = picture.resize((16, 16), Image.Resampling.BILINEAR)
            else:
                wide, tall = (round(16 * n / max(picture.size)) for n in picture.size)
                wanted = Image.new("RGB", (16, 16), (7, 7, 7))
                whole = picture.resize((wide, tall), Image.Resampling.BILINEAR)
                wanted.paste(whole, ((16 - wide) // 2, (16 - tall) // 2))
            np.testing.assert_array_equal(np.asarray(square(picture)), np.asarray(wanted))


def test_open_clip_siglip(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = write_open_clip_siglip(tmp_path / "model")
    close(limbeck.load(folder), pictures, oracles.open_clip_siglip(folder, pictures))


@pytest.mark.parametrize("alpha", [-0.7, 0.01])  # the last step of a training may leave alpha above its clamp
@pytest.mark.parametrize("as_file", [False, True])
def test_meru(tmp_path: Path, pictures: list[Image.Image], alpha: float, as_file: bool) -> None:
    folder = write_meru(tmp_path / "meru", alpha=alpha)
    encoder = limbeck.load(folder / "checkpoint.pth" if as_file else folder)
    wanted, curv = oracles.meru(folder, pictures), math.exp(-1.2)
    assert isinstance(encoder.space, Lorentz)
    assert encoder.space.curv == pytest.approx(curv)
    close(encoder, pictures, wanted)
    image, text = map(torch.from_numpy, wanted)
    logits = encoder.lift.logits(image.float(), text.float()).detach().double()
    distance = float64.lorentz_distance(image, text, curv)
    torch.testing.assert_close(logits, -math.exp(3) * distance, atol=1e-3, rtol=1e-4)


def test_the_clip_baseline_of_meru(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = write_meru(tmp_path / "clip", hyperbolic=False)
    encoder = limbeck.load(folder)
    assert isinstance(encoder.space, Sphere)
    close(encoder, pictures, oracles.meru(folder, pictures))


@pytest.mark.parametrize("hub", [True, False])
def test_hyper3(tmp_path: Path, pictures: list[Image.Image], hub: bool) -> None:
    folder = write_hyper3(tmp_path / "hyper3", hub=hub)
    encoder = limbeck.load(folder)
    assert encoder.space.curv == pytest.approx(10.0)  # exp(3), clamped to ten times the initial curvature
    assert float(encoder.lift.logit_scale) == pytest.approx(math.exp(2))
    close(encoder, pictures, oracles.hyper3(folder, pictures))
