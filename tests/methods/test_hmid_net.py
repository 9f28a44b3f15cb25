"""HMID-Net: its teachers and targets, what it refuses, what is frozen, and its objective by loops."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limbeck
from hmid_runs import BAG, BATCH, FEATURES, PATCHES, POLAR, SPHERE, built, hmid, recipe, refused
from hub_models import write_clip
from limbeck.encoders.hub import weights_digest
from limbeck.encoders.masking import dropped
from limbeck.encoders.tensors import load_tensors
from limbeck.errors import LimbeckError
from limbeck.methods import TrainState
from limbeck.methods.hmid_net.outputs import HmidOutputs
from limbeck.training import train
from limbeck.training.checkpoint import trainable_state
from limbeck.training.data import open_data
from limbeck.training.dry_run import dry_run
from limbeck.training.optim import build_optimizer
from limbeck.training.recipe import OptimConfig, load_recipe
from tiny import write_protocol


# ------------------------------------------------------------------------------ teachers and targets
@pytest.mark.parametrize(
    ("teacher", "target", "patches", "averaged"),
    [
        ("pixels", "auto", True, None),
        ("pixels", "teacher", True, None),
        ("pixels", "ema", False, {"image", "lift"}),
        ("pixels", "none", False, None),
        ("features", "auto", False, {"image", "lift"}),
        ("sphere", "auto", True, None),
        ("ema", "auto", False, {"image", "text", "lift"}),
        ("ema", "none", False, {"image", "text", "lift"}),
    ],
)
def test_targets(
    place: Path,
    teachers: dict[str, Path],
    teacher: str,
    target: str,
    patches: bool,
    averaged: set[str] | None,
) -> None:
    method, batch = built(hmid(place, teachers.get(teacher, teacher), target=target))
    assert ("teacher_patches" in batch.inputs) == patches
    assert ("teacher_image" in batch.inputs) == (teacher != "ema")
    assert (method.average and set(method.average.module)) == averaged
    assert (method.decoder is None) == (target == "none")
    reps = method.encode_batch(batch)
    assert (reps.reconstruction is not None) == (target != "none")
    losses = method.loss(reps, TrainState(0, 10, 0, 0))
    assert math.isfinite(losses.value)
    assert batch.inputs["image"]["keep"].shape == (BATCH, PATCHES // 2)
    for name in ("teacher_image", "teacher_text"):
        method.encoder.space.check(getattr(reps, name).detach().numpy())


def test_an_earlier_stage_teaches(place: Path, tmp_path: Path) -> None:
    tree = hmid(place, "large")
    first = {"method": {"name": "meru"}, "schedule": {"steps": 1}}
    tree["stages"] = {"large": first, **tree["stages"]}
    run = train(tree, out=tmp_path / "run", quiet=True)
    tensors = load_tensors(run / "model/model.safetensors")
    assert all(name.startswith(("towers.", "lift.")) for name in tensors)  # no decoder, no average
    assert limbeck.load(run).encode_text(["a cat"]).shape == (1, 8)
    lines = dry_run(load_recipe(tree))
    assert "student: hmid-net" in lines[-1]


def test_a_hub_model_teaches(place: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip")
    method, batch = built(hmid(place, clip, POLAR | {"dim": 10}, target="teacher"))
    assert method.teachers["teacher_patches"](batch.inputs["teacher_patches"]).shape == (BATCH, 4, 10)
    reps = method.encode_batch(batch)
    own = limbeck.load(clip).encode_text(["x"]).shape[1]
    radius = method.encoder.lift.radius(reps.teacher_image.detach())
    assert (own, reps.teacher_image.shape) == (10, (BATCH, 10))
    torch.testing.assert_close(radius.detach(), torch.ones(BATCH), rtol=1e-4, atol=0)


def test_the_teacher_sees_the_whole_picture_and_the_same_caption(
    place: Path, teachers: dict[str, Path]
) -> None:
    moved = {"crop": [0.5, 0.6], "flip": True}
    tree = hmid(place, teachers["pixels"], target="ema", curvature="shared", augment=moved)
    method, batch = built(tree)
    resolved = load_recipe(tree)
    data = open_data(resolved)
    model = limbeck.load(teachers["pixels"])
    rows = data.pairs.rows(batch.ids)
    whole = model.encode_image([data.pairs.open_image(int(row)) for row in rows])
    seen = method.encode_batch(batch).teacher_image.detach().numpy()
    np.testing.assert_allclose(seen, whole, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(batch.inputs["teacher_text"]["input_ids"], batch.inputs["text"]["input_ids"])
    assert "keep" not in batch.inputs["teacher_image"]


# ------------------------------------------------------------------------------ what is refused
def test_another_width_wants_a_projection(place: Path, teachers: dict[str, Path]) -> None:
    message = r"embeddings have width 12, the student's 8; set lift\.dim: 12 or projection: true"
    refused(hmid(place, teachers["wide"]), message)
    method, batch = built(hmid(place, teachers["wide"], projection=True))
    weight = method.projection.weight
    assert weight.shape == (8, 12)
    torch.testing.assert_close((weight @ weight.T).detach(), torch.eye(8), atol=1e-5, rtol=0)
    optimizer, names = build_optimizer(method, OptimConfig())
    assert "projection.weight" in names
    before = weight.detach().clone()
    losses = method.loss(method.encode_batch(batch), TrainState(0, 10, 0, 0))
    losses.total.backward()
    assert float(weight.grad.abs().max()) > 0
    optimizer.step()
    assert not torch.equal(weight, before)


def test_a_target_does_not_move_the_projection(place: Path, teachers: dict[str, Path]) -> None:
    """Else projection and prediction could meet in one point."""
    method, batch = built(hmid(place, teachers["pixels"], projection=True, target="teacher"))
    method.encode_batch(batch).reconstruction.sum().backward()
    assert method.projection.weight.grad is None


@pytest.mark.parametrize(
    ("teacher", "options", "message"),
    [
        (
            "features",
            {"target": "teacher"},
            r"method\.target: the teacher at .* has no patch features; .*ema",
        ),
        ("pixels", {"mask": {"ratio": 0.01}}, r"mask\.ratio 0\.01 drops not one of 16 patches"),
        (
            "pixels",
            {"target": "teacher", "augment": {"crop": [0.6, 1.0]}},
            r"crops and mirror images move .* set towers\.image\.backbone\.augment: \{crop: \[1\.0, 1\.0\]",
        ),
        (
            "pixels",
            {"augment": {"crop": [1.0, 1.0], "flip": True}},
            "crops and mirror images move the patches",
        ),
        ("sphere", {"curvature": "shared"}, "shared needs a hyperbolic teacher, not one in sphere"),
        ("missing", {}, r"stages\.student\.method\.teacher: .*missing.*no such run or model directory"),
        (
            "pixels",
            {"target": "teacher", "mask": {"ratio": 0.0}},
            "target teacher has nothing to reconstruct",
        ),
        ("ema", {"target": "teacher"}, "teacher ema is its own target; set target: ema"),
        ("ema", {"curvature": "shared"}, "teacher ema has the student's curvature anyway"),
        ("pixels", {"decoder_width": 40}, "decoder_width"),
    ],
)
def test_refusals(
    place: Path, teachers: dict[str, Path], teacher: str, options: dict[str, Any], message: str
) -> None:
    path = teachers.get(teacher, place / teacher if teacher == "missing" else teacher)
    refused(hmid(place, path, **options), message)


def test_augmentation_that_keeps_its_place_is_welcome(place: Path, teachers: dict[str, Path]) -> None:
    still = {"crop": [1.0, 1.0], "jitter": 0.2}
    _, batch = built(hmid(place, teachers["pixels"], target="teacher", augment=still))
    assert "teacher_patches" in batch.inputs
    moved = {"crop": [0.6, 1.0], "flip": True}
    for options in ({"target": "ema"}, {"target": "none"}):
        built(hmid(place, teachers["pixels"], augment=moved, **options))


def test_a_student_without_patches_cannot_be_masked(place: Path, teachers: dict[str, Path]) -> None:
    tree = hmid(place, teachers["pixels"])
    tree["towers"]["image"] = FEATURES
    refused(tree, r"the image tower reads features:cnn and cannot leave patches out; set mask\.ratio: 0")
    tree["stages"]["student"]["method"] |= {"mask": {"ratio": 0.0}}
    method, batch = built(tree)  # target auto: nothing is dropped, so nothing is reconstructed
    assert method.decoder is None
    assert "teacher_patches" not in batch.inputs
    frozen = hmid(place, teachers["pixels"])
    frozen["towers"]["image"]["freeze_backbone"] = True
    refused(frozen, "the image tower's backbone is frozen and always sees the whole picture")


def test_teachers_of_other_spaces_are_refused(place: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    tree = recipe(place, {"name": "direct-hashing"}, {"kind": "hash", "bits": 8}, steps=1)
    tree["data"]["protocol"] = str(write_protocol(tmp_path))
    hashed = train(tree | {"towers": {"image": FEATURES, "text": BAG}}, out=tmp_path / "hash", quiet=True)
    refused(hmid(place, hashed), r"method\.teacher: .*lift hash has no tangent space")
    towers = {"image": FEATURES, "text": {"backbone": {"kind": "multihot"}, "hidden": [12]}}
    lists = tree | {
        "lift": SPHERE,
        "towers": towers,
        "stages": {"x": {"method": {"name": "multihot-teacher"}}},
    }
    run = train(lists, out=tmp_path / "lists", quiet=True)
    refused(hmid(place, run), r"method\.teacher: .*its text tower reads label lists, not texts")


# ------------------------------------------------------------------------------ curvature
def test_shared_curvature_does_not_move(place: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    run = train(hmid(place, teachers["curved"], curvature="shared"), out=tmp_path / "run", quiet=True)
    taught, teacher = limbeck.load(run).space, limbeck.load(teachers["curved"]).space
    assert taught == teacher
    other = train(hmid(place, teachers["curved"]), out=tmp_path / "other", quiet=True)
    assert limbeck.load(other).space.to_json()["curv"] != teacher.to_json()["curv"]


def test_transport_is_a_similarity(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["curved"], POLAR | {"curv": 0.5, "max_radius": 8.0}))
    received = method.encode_batch(batch).teacher_image.detach().numpy()
    model = limbeck.load(teachers["curved"])
    features = open_data(load_recipe(hmid(place))).pairs
    points = model.encode_image(features.features("cnn", features.rows(batch.ids)))
    here = method.encoder.space.similarity(received, received)
    there = model.space.similarity(points, points)
    off = ~np.eye(BATCH, dtype=bool)
    factor = math.sqrt(model.space.to_json()["curv"] / 0.5)
    np.testing.assert_allclose(here[off], factor * there[off], rtol=1e-3)


# ------------------------------------------------------------------------------ the objective by loops
def curve(method: Any) -> float:
    return float(method.encoder.lift.curv.detach()) if hasattr(method.encoder.lift, "curv") else 0.0


def far(x: np.ndarray, y: np.ndarray, c: float) -> float:
    """-logit / tau: geodesic distance, or minus the cosine where there is no curvature."""
    if not c:
        return -float(x @ y)
    return math.acosh(max(1.0, c * (math.sqrt((1 / c + x @ x) * (1 / c + y @ y)) - x @ y))) / math.sqrt(c)


def cross_entropy(a: np.ndarray, b: np.ndarray, tau: float, c: float) -> float:
    terms = []
    for i, x in enumerate(a):
        logits = np.array([-tau * far(x, y, c) for y in b])
        terms.append(np.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[i])
    return float(np.mean(terms))


@pytest.mark.parametrize("kind", ["polar", "tangent", "sphere"])
def test_objective_by_loops(place: Path, kind: str) -> None:
    cone = kind != "sphere"
    weights = {"distillation": 0.7, "reconstruction": 0.3, "entailment": 0.4 if cone else 0.0}
    more = {"entailment_warmup": 0.5, "distillation_scale": 9.0}
    method, _ = built(hmid(place, lift={"kind": kind, "dim": 8}, **weights, **more))
    lift, rng = method.encoder.lift, np.random.default_rng(0)
    raw = {n: rng.standard_normal((6, 8)) for n in ("image", "text", "teacher_image", "teacher_text")}
    points = {n: lift.from_tangent(torch.from_numpy(0.5 * x).float()).detach() for n, x in raw.items()}
    reps = HmidOutputs(**points, reconstruction=torch.rand(6))
    x = {n: rows.double().numpy() for n, rows in reps.tensors().items()}
    c, tau = curve(method), float(lift.logit_scale.detach())
    parts = {
        "contrastive": (
            cross_entropy(x["image"], x["text"], tau, c) + cross_entropy(x["text"], x["image"], tau, c)
        )
        / 2,
        "distillation": (
            cross_entropy(x["image"], x["teacher_text"], 9.0, c)
            + cross_entropy(x["text"], x["teacher_image"], 9.0, c)
        )
        / 2,
        "reconstruction": float(x["reconstruction"].mean()),
    }
    if cone:
        outside = method.encoder.space.cone_excess(x["text"], x["image"])
        parts["entailment"] = float(np.maximum(outside, 0).mean())
    losses = method.loss(reps, TrainState(2, 10, 0, 0))
    assert {n: float(v) for n, v in losses.parts.items()} == pytest.approx(parts, rel=1e-4)
    ramp = {"entailment": 2 / 5}
    total = parts["contrastive"] + sum(weights[n] * ramp.get(n, 1) * parts[n] for n in weights if n in parts)
    assert losses.value == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("teacher", ["pixels", "sphere", "ema"])
def test_reconstruction_by_hand(place: Path, teachers: dict[str, Path], teacher: str) -> None:
    """Geodesic distance of prediction and target at the dropped patches, the teacher's grid made finer."""
    method, batch = built(hmid(place, teachers.get(teacher, teacher)))
    lift, tower, keep = method.encoder.lift, method.encoder.towers["image"], batch.inputs["image"]["keep"]
    with torch.no_grad():
        for p in tower.parameters():
            p.add_(0.01 * torch.randn_like(p))  # the average is no longer the student
        found = method.encode_batch(batch).reconstruction.numpy()
        tokens = tower.tokens(batch.inputs["image"])
        guess = lift(method.decoder(tokens, keep), "image").numpy()
        if teacher == "ema":
            slow = method.average.module
            whole = slow["image"].tokens({"pixels": batch.inputs["image"]["pixels"]})[:, 1:]
            target = slow["lift"](whole, "image").numpy()
        else:
            coarse = method.teachers["teacher_patches"](batch.inputs["teacher_patches"])
            grid = coarse.reshape(BATCH, 2, 2, 8).permute(0, 3, 1, 2)
            finer = torch.nn.functional.interpolate(grid, size=(4, 4), mode="bilinear")
            target = lift.from_tangent(finer.permute(0, 2, 3, 1).reshape(BATCH, PATCHES, 8)).numpy()
    gone = dropped(keep, PATCHES).numpy()
    for i in range(BATCH):
        assert set(gone[i]) == set(range(PATCHES)) - set(keep[i].tolist())
        distances = method.encoder.space.rescore(guess[i], target[i][gone[i]])
        assert found[i] == pytest.approx(distances.mean(), rel=1e-3)


def test_the_euclidean_twin(place: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    tree = hmid(place, teachers["pixels"], SPHERE, entailment=0.0)
    run = train(tree, out=tmp_path / "twin", quiet=True)
    assert limbeck.load(run).space.to_json() == {"name": "sphere", "dim": 8}
    with pytest.raises(LimbeckError, match=r"no entailment cones; .* or set entailment to 0"):
        train(hmid(place, teachers["pixels"], SPHERE), out=tmp_path / "wrong", quiet=True)
    assert not (tmp_path / "wrong").exists()


# ------------------------------------------------------------------------------ who learns
def gradients(module: Any) -> float:
    return sum(float(p.grad.abs().sum()) for p in module.parameters() if p.grad is not None)


@pytest.mark.parametrize("target", ["teacher", "ema"])
def test_reconstruction_teaches_decoder_and_student_alone(
    place: Path, teachers: dict[str, Path], target: str
) -> None:
    method, batch = built(hmid(place, teachers["pixels"], target=target))
    method.encode_batch(batch).reconstruction.sum().backward()
    assert gradients(method.decoder) > 0
    assert gradients(method.encoder.towers["image"]) > 0
    assert gradients(method.encoder.lift.head("image")) > 0
    assert gradients(method.encoder.towers["text"]) == 0
    assert all(gradients(reader) == 0 for reader in method.teachers.values())
    assert method.average is None or gradients(method.average) == 0


def test_distillation_teaches_both_towers(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["pixels"]))
    reps = method.encode_batch(batch)
    parts = method.loss(replace(reps, teacher_image=reps.teacher_image.detach()), TrainState(0, 9, 0, 0))
    parts.total.backward()
    assert gradients(method.temperature) > 0
    for modality in ("image", "text"):
        assert gradients(method.encoder.towers[modality]) > 0


def test_a_frozen_teacher_stays_and_is_in_no_checkpoint(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["pixels"]))
    before = {name: weights_digest(reader) for name, reader in method.teachers.items()}
    files = {f: f.read_bytes() for f in teachers["pixels"].rglob("*") if f.is_file()}
    optimizer, names = build_optimizer(method, OptimConfig(lr=0.1))
    method.train()
    for step in range(3):
        method.loss(method.encode_batch(batch), TrainState(step, 3, 0, 0)).total.backward()
        optimizer.step()
        method.after_step({}, TrainState(step, 3, 0, 0))
    assert before == {name: weights_digest(reader) for name, reader in method.teachers.items()}
    assert files == {f: f.read_bytes() for f in files}
    assert not any(p.requires_grad for reader in method.teachers.values() for p in reader.parameters())
    assert not any(m.training for reader in method.teachers.values() for m in reader.modules())
    kept = {name.split(".")[0] for name in trainable_state(method)}
    assert kept == {"encoder", "decoder", "temperature"}
    assert {name.split(".")[0] for name in names} == kept
    assert not any("teacher" in name or "reader" in name for name in trainable_state(method))


def test_a_teacher_goes_where_the_method_goes(place: Path, teachers: dict[str, Path]) -> None:
    method, _ = built(hmid(place, teachers["pixels"]))
    method.to("meta")
    assert {p.device.type for reader in method.teachers.values() for p in reader.parameters()} == {"meta"}
