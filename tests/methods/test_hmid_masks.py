"""What HMID-Net's student is shown, and pixels as the target."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric

from hmid_runs import BATCH, PATCHES, built, hmid, refused
from limbeck.encoders.masking import attended_keep, dropped
from limbeck.files import read_json
from limbeck.losses.masked import pixel_error
from limbeck.methods import TrainState
from limbeck.training import train
from limbeck.training.step import forward_backward

MASKS: dict[str, dict[str, Any]] = {
    "block": {"kind": "block", "ratio": 0.5},
    "attentive": {"kind": "attentive", "ratio": 0.5},
    "two": {"ratio": 0.5, "views": 2},
    "two blocks": {"kind": "block", "ratio": 0.75, "views": 2},
}


@pytest.mark.parametrize("mask", list(MASKS))
@pytest.mark.parametrize("target", ["none", "ema", "pixels", "teacher"])
def test_every_mask_and_target_trains(
    place: Path, teachers: dict[str, Path], tmp_path: Path, mask: str, target: str
) -> None:
    tree = hmid(place, teachers["pixels"], steps=2, mask=MASKS[mask], target=target)
    method, batch = built(tree)
    assert ("keep" in batch.inputs["image"]) == (mask != "attentive")
    reps = method.encode_batch(batch)
    assert (reps.image_again is not None) == ("two" in mask)
    losses = method.loss(reps, TrainState(1, 2, 0, 0))
    losses.total.backward()
    gradients = [p.grad for p in method.parameters() if p.grad is not None]
    assert all(bool(g.isfinite().all()) for g in gradients)
    assert (method.average is not None) == (target == "ema" or mask == "attentive")
    run = train(tree, out=tmp_path / "run", quiet=True)
    assert read_json(run / "stages/student/done.json")["steps"] == 2


def test_two_views_are_the_mean_of_two(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["features"], mask=MASKS["two"], match={"weight": 1.0}))
    reps = method.encode_batch(batch)
    both = method.loss(reps, TrainState(9, 10, 0, 0))
    single = []
    for view in reps.views:
        alone = replace(reps, image=view, image_again=None)
        single.append(method.loss(alone, TrainState(9, 10, 0, 0)))
    assert both.value == pytest.approx((single[0].value + single[1].value) / 2, rel=1e-5)
    assert single[0].value != single[1].value


def test_two_reconstructions_are_averaged(place: Path) -> None:
    method, batch = built(hmid(place, "ema", mask=MASKS["two"]))
    image = batch.inputs["image"]
    with torch.no_grad():
        found = method.encode_batch(batch).reconstruction
        single = []
        for name in ("keep", "keep_again"):
            shown = {"pixels": image["pixels"], "keep": image[name], "keep_again": image[name]}
            single.append(method.encode_batch(batch.with_input("image", shown)).reconstruction)
    torch.testing.assert_close(found, (single[0] + single[1]) / 2)


def test_an_attentive_mask_is_where_the_average_looks(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["features"], mask={"kind": "attentive", "ratio": 0.75}))
    tower = method.encoder.towers["image"]
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(0.05 * torch.randn_like(p))  # the average is no longer the student
        slow = method.average.module["image"].backbone
        keep = attended_keep(slow.attended({"pixels": batch.inputs["image"]["pixels"]})[1], 0.75)
        wanted = method.encoder.embed("image", {"pixels": batch.inputs["image"]["pixels"], "keep": keep})
        found = method.encode_batch(batch).image
    assert keep.shape == (BATCH, PATCHES // 4)
    torch.testing.assert_close(found, wanted)


def test_pixels_by_hand(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["pixels"], target="pixels"))
    image, tower = batch.inputs["image"], method.encoder.towers["image"]
    gone = dropped(image["keep"], PATCHES)
    assert "teacher_patches" not in batch.inputs
    with torch.no_grad():
        found = method.encode_batch(batch).reconstruction
        guess = method.decoder(tower.tokens(image), image["keep"])
    assert guess.shape == (BATCH, PATCHES // 2, 48)
    cut = torch.nn.functional.unfold(image["pixels"], 4, stride=4).transpose(1, 2)  # channel, row, column
    wanted = torch.stack([cut[i, gone[i]] for i in range(BATCH)])
    torch.testing.assert_close(found, pixel_error(guess, wanted))


def test_pixels_need_no_teacher_and_no_place(place: Path, tmp_path: Path) -> None:
    moved = {"crop": [0.5, 0.8], "flip": True}
    tree = hmid(place, "none", distillation=0.0, target="pixels", augment=moved, steps=2)
    method, _ = built(tree)
    assert method.average is None
    train(tree, out=tmp_path / "run", quiet=True)


@pytest.mark.parametrize("chunk", [5])
@pytest.mark.parametrize("mask", ["attentive", "two"])
def test_chunks_give_the_same_gradient(place: Path, mask: str, chunk: int) -> None:
    found = []
    for size in (None, chunk):
        method, batch = built(hmid(place, "ema", mask=MASKS[mask]))
        fabric = Fabric(accelerator="cpu", devices=1)
        losses, _ = forward_backward(method, batch, TrainState(5, 10, 0, 0), fabric, size)
        found.append((losses.value, {n: p.grad for n, p in method.named_parameters() if p.grad is not None}))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    for name, wanted in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], wanted, rtol=1e-3, atol=2e-6, msg=name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "pixels", "mask": {"ratio": 0.0}}, "target pixels has nothing to reconstruct"),
        ({"mask": {"kind": "attentive", "views": 2}}, "two attentive masks of a picture are the same"),
        ({"mask": {"ratio": 0.0, "views": 2}}, "two views without a mask are the same"),
        ({"mask": {"kind": "blocks"}}, r"mask\.kind: .*'random', 'block' or 'attentive'"),
        ({"mask": {"views": 3}}, r"mask\.views: .*1 or 2"),
    ],
)
def test_refusals(place: Path, options: dict[str, Any], message: str) -> None:
    refused(hmid(place, "ema", **options), message)
