"""Small indexes: codes of generated scenes, points with cones of the same scenes, and codes alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.data.synthetic.generate import generate_scenes
from limbeck.encoders.config import BagConfig, ClipImageConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import HashConfig, LiftConfig, PolarConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.index.confidence import Calibration, Curve
from limbeck.index.store import IndexStore

SCENES = 60
ODD_IDS = [f"a ä/<b>{number}</b>?#%.jpg" for number in range(20)]


@dataclass(frozen=True)
class Served:
    """A running service: its address, and the folder of its indexes."""

    url: str
    folder: Path

    def index(self, name: str = "scenes") -> limbeck.Index:
        return limbeck.Index.open(self.folder / name)


def encoder(lift: LiftConfig, texts: list[str]) -> DualEncoder:
    """An untrained vision transformer and a bag of words."""
    torch.manual_seed(0)
    image = ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2)
    towers = {
        "image": Tower(TowerConfig(backbone=image), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["text"].fit(texts, seed=0)
    model = DualEncoder(*towers.values(), build_lift(lift, {name: t.dim for name, t in towers.items()}))
    return model.eval().requires_grad_(False)


def calibrate(store: IndexStore) -> None:
    """Give the hits of a text a confidence that falls with the distance (60 items are too few to fit one)."""
    curve = Curve(
        kind="relevance",
        right="it looks right",
        encoder=store.encoder_for("text")[1].name,
        queries=1,
        share=None,
        weights=[0.0, 1.0, 0.0, 0.0],
        knots=[[-32.0, 0.05], [-18.0, 0.95]],
    )
    Calibration(len(store), store.manifest.space_id, {"text": curve}).save(store.path)


def build_indexes(folder: Path) -> list[Path]:
    """``scenes`` with codes; ``cones`` with texts near the root; ``bare`` without model and pictures."""
    generate_scenes(folder / "data", SCENES)
    pairs = Pairs.open(folder / "data")
    texts = [text for captions in pairs.table["captions"].to_pylist() for text in captions]
    polar = PolarConfig(dim=2, min_radius=0.12, radius=0.15, max_radius=3.0)
    cones = encoder(polar, texts)
    torch.nn.init.constant_(cones.lift.heads["image"].radius.bias, 1.0)  # pictures are far out
    models = {"scenes": encoder(HashConfig(bits=64), texts), "cones": cones}
    for name, model in models.items():
        limbeck.Index.build(folder / name, pairs, model=model)
    calibrate(limbeck.Index.open(folder / "scenes").store)
    codes = np.random.default_rng(0).integers(0, 256, (20, 8), dtype=np.uint8)
    items = {"id": ODD_IDS, "kept": [bool(number % 2) for number in range(20)]}
    limbeck.Index.build(folder / "bare", codes, items=items)
    return [folder / name for name in (*models, "bare")]
