"""A tiny untrained dual encoder that reads pictures, and pictures for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limbeck.encoders.config import BagConfig, ClipImageConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import HashConfig, SphereConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower

WORDS = ["red", "green", "blue", "dark"]


def pixel_encoder(seed: int = 0, bits: int | None = None, image_size: int = 16) -> DualEncoder:
    """A vision transformer and a bag of words, onto a sphere of 8 dimensions or into codes."""
    torch.manual_seed(seed)
    image = ClipImageConfig(image_size=image_size, patch_size=8, width=16, layers=1, heads=2)
    towers = {
        "image": Tower(TowerConfig(backbone=image), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["text"].fit(WORDS * 3, seed=0)
    lift = SphereConfig(dim=8) if bits is None else HashConfig(bits=bits)
    return DualEncoder(
        towers["image"], towers["text"], build_lift(lift, {m: t.dim for m, t in towers.items()})
    ).eval()


def write_pictures(folder: Path, numbers: range, size: tuple[int, int] = (20, 30)) -> None:
    """One PNG of random colours a number."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        pixels = np.random.default_rng(number).integers(0, 256, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST).save(folder / f"{number:04}.png")
