"""HMID-Net's further terms, the relations-only hand-off and the student without a teacher."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limbeck
from hmid_runs import BATCH, SPHERE, built, hmid, kl, refused
from limbeck.encoders.tensors import load_tensors
from limbeck.files import read_json
from limbeck.methods import TrainState
from limbeck.methods.hmid_net import HmidNetConfig
from limbeck.training import train
from limbeck.training.checkpoint import trainable_state
from limbeck.training.recipe import load_recipe

TERMS: dict[str, dict[str, Any]] = {
    "relation": {"relation": {"weight": 1.0}},
    "soft relation": {"relation": {"weight": 1.0, "temperature": 4.0, "scale": 5.0}},
    "match": {"match": {"weight": 1.0}},
    "tangent match": {"match": {"weight": 3.9, "by": "tangent"}},
    "cross": {"cross": {"weight": 1.0, "temperature": 2.0}},
    "radius": {"radius": {"weight": 0.1}},
}
ALL = TERMS["soft relation"] | TERMS["match"] | TERMS["cross"] | TERMS["radius"]


@pytest.mark.parametrize("lift", ["polar", "tangent"])
@pytest.mark.parametrize("by", ["distance", "tangent"])
def test_terms_in_float64(place: Path, teachers: dict[str, Path], lift: str, by: str) -> None:
    options = ALL | {"match": {"weight": 0.5, "by": by}, "distillation_scale": 9.0}
    method, batch = built(hmid(place, teachers["curved"], {"kind": lift, "dim": 8}, **options))
    reps = method.encode_batch(batch).map(torch.Tensor.detach)
    found = {n: float(v) for n, v in method.loss(reps, TrainState(0, 10, 0, 0)).parts.items()}
    own, taught = method.encoder.space, limbeck.load(teachers["curved"])
    x = {name: rows.numpy() for name, rows in reps.tensors().items()}
    tau = float(taught.lift.logit_scale)
    theirs = tau * taught.space.similarity(x["native_image"], x["native_text"])
    relation = 5.0 * own.similarity(x["image"], x["text"])
    assert found["relation"] == pytest.approx(
        (kl(relation, theirs / 4) + kl(relation.T, theirs.T / 4)) / 2, rel=2e-3
    )
    rows, columns = (
        9.0 * own.similarity(x[a], x[b]) for a, b in (("image", "teacher_text"), ("text", "teacher_image"))
    )
    assert found["cross"] == pytest.approx((kl(rows, theirs / 2) + kl(columns, theirs.T / 2)) / 2, rel=2e-3)
    radii = {
        name: math.sqrt(space.to_json()["curv"]) * space.radius(x[name])
        for space, names in ((own, ("image", "text")), (taught.space, ("native_image", "native_text")))
        for name in names
    }
    gaps = [np.mean((radii[m] - radii[f"native_{m}"]) ** 2) for m in ("image", "text")]
    assert found["radius"] == pytest.approx(sum(gaps), rel=1e-4)
    if by == "distance":
        match = sum(own.rescore(x[m], x[f"teacher_{m}"]).mean() for m in ("image", "text"))
    else:
        u = {
            n: method.encoder.lift.to_tangent(rows).double().detach().numpy()
            for n, rows in reps.tensors().items()
            if rows.ndim > 1
        }
        match = sum(((u[m] - u[f"teacher_{m}"]) ** 2).sum(1).mean() for m in ("image", "text"))
    assert found["match"] == pytest.approx(match, rel=1e-4)


def test_match_on_the_sphere_is_a_chord(place: Path, teachers: dict[str, Path]) -> None:
    values = {}
    for by in ("distance", "tangent"):
        options = {
            "match": {"weight": 1.0, "by": by},
            "entailment": 0.0,
            "distillation": 0.0,
            "target": "none",
        }
        method, batch = built(hmid(place, teachers["sphere"], SPHERE, **options))
        values[by] = float(method.loss(method.encode_batch(batch), TrainState(0, 1, 0, 0)).parts["match"])
    assert values["tangent"] == pytest.approx(2 * values["distance"], rel=1e-5)


@pytest.mark.parametrize("term", list(TERMS))
@pytest.mark.parametrize("teacher", ["features", "ema"])
def test_each_term_alone_trains(
    place: Path, teachers: dict[str, Path], tmp_path: Path, term: str, teacher: str
) -> None:
    options = TERMS[term] | {"distillation": 1.0 if term == "cross" else 0.0}
    tree = hmid(place, teachers.get(teacher, teacher), steps=2, **options)
    method, batch = built(tree)
    method.loss(method.encode_batch(batch), TrainState(1, 2, 0, 0)).total.backward()
    gradients = {n: p.grad for n, p in method.named_parameters() if p.grad is not None}
    assert all(bool(g.isfinite().all()) for g in gradients.values())
    assert ("extra.temperature.log_logit_scale" in gradients) == ("relation" in term)
    monitors = method.loss(method.encode_batch(batch), TrainState(1, 2, 0, 0)).monitors
    assert ("logit_scale/relation" in monitors) == ("relation" in term)
    assert any(n.startswith("encoder.towers.text") for n in gradients)
    run = train(tree, out=tmp_path / "run", quiet=True)
    log = (run / "stages/student/metrics.jsonl").read_text()
    assert f'"loss/{term.split()[-1]}"' in log
    assert read_json(run / "stages/student/done.json")["steps"] == 2
    assert limbeck.load(run).encode_text(["a cat"]).shape == (1, 8)


def test_what_has_no_weight_leaves_no_trace(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["features"]))
    assert "extra.temperature.log_logit_scale" not in trainable_state(method)
    assert not any(name.startswith("native_") for name in method.encode_batch(batch).tensors())
    assert set(method.loss(method.encode_batch(batch), TrainState(0, 1, 0, 0)).parts) == {
        "contrastive",
        "distillation",
        "entailment",
        "reconstruction",
    }


def test_from_the_teacher_alone(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["features"], contrastive=0.0, entailment=0.0, target="none"))
    losses = method.loss(method.encode_batch(batch), TrainState(0, 1, 0, 0))
    assert set(losses.parts) == {"distillation"}
    losses.total.backward()
    assert method.encoder.lift.log_logit_scale.grad is None  # its own temperature scores nothing


# ------------------------------------------------------------------------------ relations only
@pytest.mark.parametrize("teacher", ["curved", "sphere", "wide", "pixels", "ema"])
def test_relations_leave_the_teacher_in_its_space(
    place: Path, teachers: dict[str, Path], teacher: str
) -> None:
    options = {"curvature": "relations", "distillation": 0.0, "relation": {"weight": 1.0}}
    method, batch = built(hmid(place, teachers.get(teacher, teacher), **options))
    reps = method.encode_batch(batch)
    assert "teacher_patches" not in batch.inputs
    assert not any(name.startswith("teacher_") for name in reps.tensors())
    if teacher != "ema":
        model = limbeck.load(teachers[teacher])
        model.space.check(reps.native_image.numpy())
        assert reps.native_image.shape == (BATCH, model.space.width)
    losses = method.loss(reps, TrainState(0, 9, 0, 0))
    assert math.isfinite(losses.value)
    losses.total.backward()
    assert set(losses.parts) == {"contrastive", "relation", "entailment", "reconstruction"}


@pytest.mark.parametrize(
    ("teacher", "options", "message"),
    [
        (
            "features",
            {"curvature": "relations"},
            r"their own space; set distillation: 0 or curvature: transport",
        ),
        (
            "features",
            {"curvature": "relations", "distillation": 0.0, "match": {"weight": 1.0}},
            r"set match\.weight: 0 or curvature: transport",
        ),
        (
            "pixels",
            {"curvature": "relations", "distillation": 0.0, "relation": {"weight": 1.0}, "target": "teacher"},
            "set target: ema or curvature: transport",
        ),
        (
            "wide",
            {"curvature": "relations", "distillation": 0.0, "relation": {"weight": 1.0}, "projection": True},
            "set projection: false",
        ),
        (
            "features",
            {"distillation": 0.0, "target": "none"},
            "no term uses the teacher; set teacher: none",
        ),
        (
            "features",
            {"contrastive": 0.0, "distillation": 0.0, **TERMS["radius"]},
            "no term separates the pairs",
        ),
        ("none", {}, "teacher none cannot teach; set distillation: 0"),
        (
            "none",
            {"distillation": 0.0, **TERMS["radius"]},
            r"teacher none cannot teach; set radius\.weight: 0",
        ),
        ("none", {"distillation": 0.0, "projection": True}, "set projection: false"),
        ("none", {"distillation": 0.0, "target": "teacher"}, "set target: ema"),
        ("none", {"distillation": 0.0, "curvature": "shared"}, "teacher none has no curvature"),
        ("ema", {"projection": True}, "teacher ema has no other width; set projection: false"),
        (
            "wide",
            {"distillation": 0.0, "projection": True, **TERMS["relation"]},
            "projection learns by distillation, match or cross, and none has a weight; set projection: false",
        ),
        (
            "wide",
            {"distillation": 0.0, **TERMS["relation"]},
            r"set lift\.dim: 12 or curvature: relations",
        ),
        (
            "features",
            {"reconstruction": 0.0, "target": "ema"},
            "target ema has no effect at reconstruction 0; set target: none",
        ),
        ("features", {"distillation_scale": 101.0}, "distillation_scale: .*less than or equal to 100"),
        ("features", {"relation": {"weight": 1.0, "scale": 101.0}}, r"relation\.scale: .*equal to 100"),
        ("sphere", TERMS["radius"], r"the teacher's space sphere has no radii; set radius\.weight: 0"),
        (
            "features",
            {"relation": {"wieght": 1.0}},
            r"key 'relation\.wieght' is unknown; did you mean 'weight'",
        ),
        ("features", {"match": {"weight": 1.0, "by": "angle"}}, r"match\.by: .*'distance' or 'tangent'"),
        ("features", {"cross": {"weight": -1.0}}, r"cross\.weight: .*greater than or equal to 0"),
    ],
)
def test_refusals(
    place: Path, teachers: dict[str, Path], teacher: str, options: dict[str, Any], message: str
) -> None:
    refused(hmid(place, teachers.get(teacher, teacher), **options), message)


def test_a_student_without_radii(place: Path, teachers: dict[str, Path]) -> None:
    tree = hmid(place, teachers["features"], SPHERE, entailment=0.0, **TERMS["radius"])
    refused(tree, r"the student's space sphere has no radii; set radius\.weight: 0")


def test_no_weight_no_decoder(place: Path, teachers: dict[str, Path]) -> None:
    method, batch = built(hmid(place, teachers["pixels"], reconstruction=0.0))
    assert method.decoder is None
    assert "teacher_patches" not in batch.inputs


@pytest.mark.parametrize("lift", ["polar", "tangent"])
def test_where_the_teacher_lies_is_logged(place: Path, teachers: dict[str, Path], lift: str) -> None:
    """In the student's unit, as far as its bound lets them: here all of them at it."""
    bound = {"radius": 0.4} if lift == "polar" else {}
    tree = hmid(place, teachers["curved"], {"kind": lift, "dim": 8, "max_radius": 0.5, **bound})
    method, batch = built(tree)
    found = method.loss(method.encode_batch(batch), TrainState(0, 1, 0, 0)).monitors
    for modality in ("image", "text"):
        assert float(found[f"radius/teacher_{modality}"]) == pytest.approx(0.5, rel=1e-4)
        assert float(found[f"cap_share/teacher_{modality}"]) == 1.0


# ------------------------------------------------------------------------------ baselines in the same path
@pytest.mark.parametrize("target", ["auto", "none"])
def test_without_a_teacher(place: Path, tmp_path: Path, target: str) -> None:
    """MERU with masks, and with masked reconstruction, and nothing else."""
    tree = hmid(place, "none", distillation=0.0, target=target, steps=2)
    method, batch = built(tree)
    assert not any(name.startswith("teacher") for name in batch.inputs)
    assert (method.average is None) == (target == "none")
    run = train(tree, out=tmp_path / "run", quiet=True)
    assert all(n.startswith(("towers.", "lift.")) for n in load_tensors(run / "model/model.safetensors"))


def test_without_mask_and_teacher_it_is_meru(place: Path, tmp_path: Path) -> None:
    plain = {"distillation": 0.0, "target": "none", "mask": {"ratio": 0.0}}
    ours = hmid(place, "none", {"kind": "tangent", "dim": 8}, entailment_warmup=0.0, **plain)
    theirs = ours | {"stages": {"student": {"method": {"name": "meru"}}}}
    files = [
        train(tree, out=tmp_path / name, quiet=True) / "model/model.safetensors"
        for name, tree in (("a", ours), ("b", theirs))
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_clip_kd_on_the_sphere(place: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    options = (
        TERMS["relation"]
        | TERMS["tangent match"]
        | {"entailment": 0.0, "mask": {"ratio": 0.0}, "target": "none"}
    )
    run = train(hmid(place, teachers["sphere"], SPHERE, steps=2, **options), out=tmp_path / "run", quiet=True)
    assert limbeck.load(run).space.to_json()["name"] == "sphere"


def test_weights_name_every_term() -> None:
    config = HmidNetConfig(teacher="t", target="none")
    assert config.weights["reconstruction"] == 0
    assert list(config.weights)[:2] == ["contrastive", "distillation"]


def test_unmasked_tuning_goes_on_where_the_student_stood(
    place: Path, teachers: dict[str, Path], tmp_path: Path
) -> None:
    tree = hmid(place, teachers["features"], steps=2)
    method = tree["stages"]["student"]["method"] | {"mask": {"ratio": 0.0}, "target": "none"}
    still = {"method": method, "init": {"image": "student", "text": "student"}}
    tree["stages"]["tune"] = still | {"optim": {"lr": 1e-12, "warmup": 0.0, "weight_decay": 0.0}}
    run = train(tree, out=tmp_path / "run", quiet=True)
    before, after = (
        load_tensors(run / f"stages/{name}/model/model.safetensors") for name in ("student", "tune")
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("row", ["clip-kd", "meru-mask", "meru-distil", "euclid", "tuned"])
def test_the_baselines_train(place: Path, teachers: dict[str, Path], tmp_path: Path, row: str) -> None:
    """The recipes that ship, on tiny towers and two steps a stage."""
    overrides: dict[str, Any] = {
        "data.pairs": str(place / "pairs"),
        "data.protocol": str(place / "retrieval.yaml"),
    }
    small = {"width": 32, "layers": 1, "heads": 1}
    plain = load_recipe(f"hmid_net/{row}")
    for stage in plain.stages.values():
        overrides[f"stages.{stage.name}.schedule.steps"] = 2
        if stage.method.get("teacher", "none") != "none":
            overrides[f"stages.{stage.name}.method.teacher"] = str(teachers["features"])
    overrides |= {f"towers.{m}.backbone.{k}": v for m in ("image", "text") for k, v in small.items()}
    overrides |= {
        "lift.dim": 8,
        "schedule.batch_size": 16,
        "compute.accelerator": "cpu",
        "compute.precision": "32",
    }
    run = train(f"hmid_net/{row}", out=tmp_path / "run", overrides=overrides, quiet=True)
    assert limbeck.load(run).encode_text(["a cat"]).shape == (1, 8)
