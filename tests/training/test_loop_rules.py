"""Optimizer groups, schedule, training mode, validation and stopping at a loss that is no number."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from gloo_worker import method_and_batch

from limbeck.files import read_json
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.flops import set_train_mode
from limbeck.training.metrics_log import MetricsLog
from limbeck.training.optim import Schedule, build_optimizer
from limbeck.training.recipe import OptimConfig, load_recipe
from raising import raises_code
from tiny import soda_recipe


def group_of(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> dict[str, Any]:
    return next(
        g for g in optimizer.param_groups if any(p.data_ptr() == parameter.data_ptr() for p in g["params"])
    )


def test_groups_by_tower_and_decay(pairs_dir: Path, retrieval: Path) -> None:
    recipe = soda_recipe(pairs_dir, retrieval)
    recipe |= {"lift": {"kind": "sphere", "dim": 6}, "stages": {"clip": {"method": {"name": "clip"}}}}
    method, _ = method_and_batch(recipe)
    config = OptimConfig(lr=0.5, weight_decay=0.3, lr_scale={"image": 0.1, "text": 2.0})
    optimizer, names = build_optimizer(method, config)
    parameters = dict(method.named_parameters())
    assert sorted(names) == sorted(parameters)
    flat = [p for g in optimizer.param_groups for p in g["params"]]
    assert all(parameters[name].data_ptr() == p.data_ptr() for name, p in zip(names, flat, strict=True))
    for name, p in parameters.items():
        group = group_of(optimizer, p)
        assert group["weight_decay"] == (0.3 if p.ndim >= 2 else 0.0), name
        scale = 0.1 if ".image." in name else 2.0 if ".text." in name else 1.0
        assert group["base_lr"] == pytest.approx(0.5 * scale), name
    assert "encoder.lift.log_logit_scale" in names


def test_groups_of_a_tower_on_another_run_go_by_the_outer_tower(
    recipe: dict[str, Any], whole_run: Path
) -> None:
    recipe["towers"]["text"]["backbone"] = {"kind": "run", "path": str(whole_run)}
    method, _ = method_and_batch(recipe)
    optimizer, _ = build_optimizer(method, OptimConfig(lr=1.0, lr_scale={"image": 0.1, "text": 2.0}))
    inner = dict(method.named_parameters())["encoder.towers.text.backbone.lift.heads.image.weight"]
    assert group_of(optimizer, inner)["base_lr"] == 2.0


def test_frozen_parameters_are_left_out(recipe: dict[str, Any]) -> None:
    method, _ = method_and_batch(recipe)
    method.encoder.towers["image"].requires_grad_(False)
    _, names = build_optimizer(method, OptimConfig())
    assert names
    assert not [n for n in names if "towers.image" in n]
    method.requires_grad_(False)
    optimizer, _ = build_optimizer(method, OptimConfig())
    Schedule(optimizer, total=3, warmup=0.5).set(0)
    optimizer.step()  # a stage that trains nothing still has an optimizer


def test_schedule_warms_up_then_follows_a_cosine_to_zero() -> None:
    p = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([{"params": [p], "base_lr": 2.0}], lr=1.0)
    schedule = Schedule(optimizer, total=110, warmup=10 / 110)
    rates = [schedule.set(step) for step in range(110)]
    assert rates[:10] == pytest.approx([2.0 * (i + 1) / 10 for i in range(10)])
    assert rates[10:] == pytest.approx([1 + math.cos(math.pi * i / 100) for i in range(100)])
    assert schedule.factor(110) == pytest.approx(0.0, abs=1e-12)
    assert Schedule(optimizer, total=10, warmup=0.0).factor(0) == 1.0
    assert optimizer.param_groups[0]["lr"] == rates[-1]


def test_frozen_towers_and_backbones_run_in_eval_mode(recipe: dict[str, Any], whole_run: Path) -> None:
    recipe["towers"]["text"] |= {
        "backbone": {"kind": "run", "path": str(whole_run), "output": "features"},
        "freeze_backbone": True,
    }
    method, _ = method_and_batch(recipe)
    image, text = (method.encoder.towers[m] for m in ("image", "text"))
    image.requires_grad_(False)
    set_train_mode(method)
    assert not any(m.training for m in image.modules())
    assert not any(m.training for m in text.backbone.modules())
    assert text.trunk.training
    method.requires_grad_(True)
    set_train_mode(method)
    assert image.trunk.training
    assert text.backbone.training


def test_a_frozen_image_branch_stays_as_it_was_bit_for_bit(whole_run: Path) -> None:
    from limbeck.encoders.tensors import load_tensors

    teacher, student = (
        load_tensors(whole_run / f"stages/{s}/model/model.safetensors") for s in ("teacher", "student")
    )
    image = [n for n in teacher if "image" in n]
    assert len(image) > 4
    assert all(torch.equal(teacher[n], student[n]) for n in image)
    assert any(not torch.equal(teacher[n], student[n]) for n in teacher if "heads.text" in n)


def test_loss_that_is_no_number_names_stage_and_part(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("limbeck.methods.soda.bit_balance", lambda u: u.sum() * math.nan)
    with raises_code("E-TRAIN-NONFINITE", "step 1") as found:
        train(recipe, out=tmp_path / "run", quiet=True)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "run/model").exists()


def test_validation_rows_are_cut_from_train_and_the_best_step_is_kept(
    whole_run: Path, recipe: dict[str, Any]
) -> None:
    data = open_data(load_recipe(recipe))
    assert len(data.held_out) == 8
    assert not set(data.train.ids) & set(data.held_out.ids)
    assert set(data.train.ids) | set(data.held_out.ids) == {
        data.pairs.ids[row] for row in data.pairs.split_rows("train")
    }
    import json

    lines = (whole_run / "stages/student/metrics.jsonl").read_text().splitlines()
    scores = {row["step"]: row["val/score"] for row in map(json.loads, lines) if "val/score" in row}
    facts = read_json(whole_run / "stages/student/done.json")
    assert set(scores) == {6, 12, 15}
    assert scores[facts["best_step"]] == facts["best_score"] == max(scores.values())


def test_select_last_keeps_the_last_step(tmp_path: Path, recipe: dict[str, Any]) -> None:
    recipe["schedule"]["select"] = "last"
    train(recipe, out=tmp_path / "run", quiet=True)
    assert read_json(tmp_path / "run/stages/teacher/done.json")["best_step"] is None
    assert not (tmp_path / "run/stages/teacher/best").exists()


def test_metrics_log_drops_half_lines_and_what_is_redone(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"step": 3, "lo')
    log = MetricsLog(file, resume_step=1)
    log.write({"step": 2, "loss": math.inf})
    assert file.read_text() == '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": null}\n'
    MetricsLog(file, resume_step=0)
    assert file.read_text() == ""


def test_init_from_another_space_is_one_line(tmp_path: Path, recipe: dict[str, Any]) -> None:
    recipe["stages"]["student"]["lift"] = {"kind": "hash", "bits": 16}
    recipe["schedule"]["steps"] = 1
    with raises_code("E-SPACE-OTHER", "stages.student.init.image"):
        train(recipe, out=tmp_path / "run", quiet=True)


def test_stage_that_starts_from_nowhere_is_one_line(recipe: dict[str, Any]) -> None:
    recipe["stages"]["student"]["init"] = {"image": "teachers"}
    with raises_code("E-CONFIG-VALUE", "init.image", "'teachers'") as found:
        load_recipe(recipe)
    assert "\n" not in str(found.value)
