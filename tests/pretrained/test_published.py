"""open_clip, MERU, HyCoCLIP and Hyper3-CLIP against their published definitions, computed in float64."""

from __future__ import annotations

import math
from pathlib import Path

import float64
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tokenizers import Tokenizer

import limbeck
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.pretrained.hyperbolic import IMAGENET_MEAN, IMAGENET_STD
from limbeck.spaces import Lorentz, Sphere
from pretrained_models import (
    TEXTS,
    write_hyper3,
    write_meru,
    write_open_clip,
    write_open_clip_siglip,
)


def doubles(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in weights.items()}


def normalised(squares: list[Image.Image], mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    raw = np.stack([np.asarray(square, np.float64) / 255 for square in squares])
    return torch.from_numpy((raw - np.array(mean)) / np.array(std)).permute(0, 3, 1, 2)


def squeezed(pictures: list[Image.Image]) -> list[Image.Image]:
    return [picture.resize((16, 16), Image.Resampling.BICUBIC) for picture in pictures]


def cut(pictures: list[Image.Image]) -> list[Image.Image]:
    """torchvision's Resize(16) and CenterCrop(16): long side rounded down, centre to the even pixel."""
    squares = []
    for picture in pictures:
        short = min(picture.size)
        size = tuple(16 if n == short else int(16 * n / short) for n in picture.size)
        left, top = (round((n - 16) / 2) for n in size)
        whole = picture.resize(size, Image.Resampling.BICUBIC)
        squares.append(whole.crop((left, top, left + 16, top + 16)))
    return squares


def clip_ids(folder: Path) -> torch.Tensor:
    """Token ids padded with zeros, as CLIP's own tokenizer pads; a long text keeps its end."""
    from transformers import AutoTokenizer

    rows = AutoTokenizer.from_pretrained(folder)(TEXTS)["input_ids"]
    rows = [row if len(row) <= 12 else [*row[:11], row[-1]] for row in rows]
    assert max(map(len, rows)) == 12 > min(map(len, rows))
    return torch.tensor([row + [0] * (12 - len(row)) for row in rows])


def close(encoder: DualEncoder, pictures: list[Image.Image], image: torch.Tensor, text: torch.Tensor) -> None:
    np.testing.assert_allclose(encoder.encode_image(pictures), image.numpy(), atol=2e-5, rtol=2e-5)
    np.testing.assert_allclose(encoder.encode_text(TEXTS), text.numpy(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("quick", [True, False])
def test_open_clip(tmp_path: Path, pictures: list[Image.Image], quick: bool) -> None:
    folder = write_open_clip(tmp_path / "model", quick=quick)
    w = doubles(load_file(folder / "open_clip_model.safetensors"))
    act = float64.quick_gelu if quick else float64.gelu
    pixels = normalised(cut(pictures), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25))
    image = float64.unit(float64.open_clip_image(pixels, w, heads=2, act=act))
    text = float64.unit(float64.open_clip_text(clip_ids(folder), w, heads=2, act=act))
    encoder = limbeck.load(folder)
    close(encoder, pictures, image, text)
    logits = encoder.lift.logits(*(torch.from_numpy(x.numpy()).float() for x in (image, text)))
    torch.testing.assert_close(logits.double(), math.exp(3) * image @ text.T, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mode", ["squash", "longest"])
def test_open_clip_keeps_its_way_of_resizing(tmp_path: Path, pictures: list[Image.Image], mode: str) -> None:
    told = {"resize_mode": mode, "interpolation": "bilinear", "fill_color": 7}
    encoder = limbeck.load(write_open_clip(tmp_path / "model", preprocess=told))
    square = encoder.towers["image"].backbone.preprocessor.square
    for picture in pictures:
        if mode == "squash":
            wanted = picture.resize((16, 16), Image.Resampling.BILINEAR)
        else:
            size = [round(16 * n / max(picture.size)) for n in picture.size]
            wanted = Image.new("RGB", (16, 16), (7, 7, 7))
            whole = picture.resize(tuple(size), Image.Resampling.BILINEAR)
            wanted.paste(whole, ((16 - size[0]) // 2, (16 - size[1]) // 2))
        np.testing.assert_array_equal(np.asarray(square(picture)), np.asarray(wanted))


def test_open_clip_siglip(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = write_open_clip_siglip(tmp_path / "model")
    w = doubles(load_file(folder / "open_clip_model.safetensors"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cleaned = ["a red cat", "two dogs", "the dog of a cat with a very long tail", "zebra"]
    rows = [
        own if len(own) <= 12 else [*own[:11], own[-1]] for own in (tokenizer.encode(t).ids for t in cleaned)
    ]
    ids = torch.tensor([row + [1] * (12 - len(row)) for row in rows])
    pixels = normalised(squeezed(pictures), (0.5,) * 3, (0.5,) * 3)
    image = float64.unit(float64.siglip_image(pixels, w, heads=1, act=float64.gelu))
    text = float64.unit(float64.siglip_text(ids, w, heads=2, act=float64.gelu_tanh))
    close(limbeck.load(folder), pictures, image, text)


@pytest.mark.parametrize("alpha", [-0.7, 0.01])  # the last step of a training may leave alpha above its clamp
@pytest.mark.parametrize("as_file", [False, True])
def test_meru(tmp_path: Path, pictures: list[Image.Image], alpha: float, as_file: bool) -> None:
    folder = write_meru(tmp_path / "meru", alpha=alpha)
    w = doubles(torch.load(folder / "checkpoint.pth", weights_only=True)["model"])
    pixels = normalised(squeezed(pictures), IMAGENET_MEAN, IMAGENET_STD)
    features = float64.timm_image(pixels, w, "visual.", heads=1, eps=1e-5, mean=False)
    curv = math.exp(-1.2)
    image = float64.lifted(float64.linear(features, w, "visual_proj"), alpha, curv)
    text = float64.lifted(float64.meru_text(clip_ids(folder), w, heads=1), -0.9, curv)
    encoder = limbeck.load(folder / "checkpoint.pth" if as_file else folder)
    assert isinstance(encoder.space, Lorentz)
    assert encoder.space.curv == pytest.approx(curv)
    close(encoder, pictures, image, text)
    distance = float64.lorentz_distance(image, text, curv)
    logits = encoder.lift.logits(image.float(), text.float())
    torch.testing.assert_close(logits.double(), -math.exp(3) * distance, atol=1e-3, rtol=1e-4)


def test_the_clip_baseline_of_meru(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = write_meru(tmp_path / "clip", hyperbolic=False)
    w = doubles(torch.load(folder / "checkpoint.pth", weights_only=True)["model"])
    pixels = normalised(squeezed(pictures), IMAGENET_MEAN, IMAGENET_STD)
    features = float64.timm_image(pixels, w, "visual.", heads=1, eps=1e-5, mean=False)
    image = float64.unit(float64.linear(features, w, "visual_proj"))
    encoder = limbeck.load(folder)
    assert isinstance(encoder.space, Sphere)
    close(encoder, pictures, image, float64.unit(float64.meru_text(clip_ids(folder), w, heads=1)))


@pytest.mark.parametrize("hub", [True, False])
def test_hyper3(tmp_path: Path, pictures: list[Image.Image], hub: bool) -> None:
    folder = write_hyper3(tmp_path / "hyper3", hub=hub)
    w = doubles(load_file(folder / "model.safetensors"))
    squares = squeezed(pictures) if hub else cut(pictures)
    pixels = normalised(squares, IMAGENET_MEAN, IMAGENET_STD)
    eps, prefix = 1e-6 if hub else 1e-5, "text_encoder.backbone." + ("text_model." if hub else "")
    features = float64.timm_image(pixels, w, "vision_encoder.backbone.", heads=1, eps=eps, mean=hub)
    curv = 10.0  # exp(3), clamped to ten times the initial curvature
    image = float64.lifted(float64.linear(features, w, "image_proj"), -3.0, curv)
    text = float64.lifted(float64.hyper3_text(clip_ids(folder), w, prefix, heads=1), -2.9, curv)
    encoder = limbeck.load(folder)
    assert encoder.space.curv == pytest.approx(curv)
    assert float(encoder.lift.logit_scale) == pytest.approx(math.exp(2))
    close(encoder, pictures, image, text)
