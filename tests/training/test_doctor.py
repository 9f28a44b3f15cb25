"""The doctor: every rule on a small log of its fault and on one without it; reading runs; warnings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from limbeck.cli.app import app
from limbeck.data.batches import Batch
from limbeck.data.check import Report
from limbeck.data.pairs import Pairs
from limbeck.data.relevance import Relevance
from limbeck.encoders.lift_config import PolarConfig
from limbeck.files import write_json
from limbeck.training import train
from limbeck.training.doctor import examine, faults_of
from limbeck.training.figures import WeightGrowth, batch_figures
from limbeck.training.health import Watch
from limbeck.training.symptoms import RULES, Finding, Limits, Log
from raising import raises_code
from tiny import pixel_recipe, write_pairs, write_recipe

STEPS = 60
LIMITS = Limits(logit_scale=100.0, curv=(0.1, 10.0), radius=(0.3, 2.2))
HEALTHY: dict[str, Any] = {
    "loss": np.linspace(4.0, 1.0, STEPS) + 0.1 * np.sin(np.arange(STEPS)),
    "loss/entailment": np.linspace(2.0, 0.5, STEPS),
    "grad_norm": 1.0 + 0.5 * np.cos(np.arange(STEPS)),
    "weight_growth": np.linspace(1.0, 1.5, STEPS),
    "logit_scale": np.linspace(14.0, 30.0, STEPS),
    "curv": np.linspace(1.0, 0.8, STEPS),
    "radius/image": np.full(STEPS, 1.2),
    "radius/text": np.full(STEPS, 0.8),
    "cap_share/image": np.full(STEPS, 0.57),  # as in the chosen polar lift of docs/results/hyperboloid.md
    "cone_share": np.linspace(0.0, 0.5, STEPS),
    "constant_bits/image": np.tile([0.0, 0.4], STEPS // 2),  # in one batch of two a bit is constant by chance
    "distinct/image": np.full(STEPS, 1.0),
    "distinct/text": np.full(STEPS, 0.3),
    "label_share": np.full(STEPS, 0.6),
    "batch": np.arange(STEPS),
    "skipped_spikes": np.zeros(STEPS),
    "val/score": np.linspace(0.1, 0.6, STEPS),
}


def log(stopped: str | None = None, **columns: Any) -> Log:
    found = HEALTHY | {name.replace("__", "/"): values for name, values in columns.items()}
    series = {name: np.broadcast_to(values, STEPS).tolist() for name, values in found.items()}
    rows = [{"step": i + 1} | {name: values[i] for name, values in series.items()} for i in range(STEPS)]
    return Log("s", rows, LIMITS, lr=0.002, entailment=0.2, epoch_steps=20, stopped=stopped)


def named(log: Log) -> list[str]:
    found = [one for rule in RULES for one in rule(log)]
    return [one.cause for one in sorted(found, key=lambda one: -one.certainty)]


def test_a_healthy_log_has_no_finding() -> None:
    assert named(log()) == []


RISING = np.concatenate([np.linspace(4, 2, STEPS // 2), np.linspace(2, 5, STEPS // 2)])
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "stopped": ("learning rate too high", {"stopped": "part contrastive was not finite at step 7"}),
    "weights": ("learning rate too high", {"weight_growth": np.linspace(1, 40, STEPS), "loss": 4.2}),
    "loss": ("learning rate too high", {"loss": RISING}),
    "norms": ("learning rate too high", {"grad_norm": np.where(np.arange(STEPS) % 5, 1.0, 90.0)}),
    "cap": ("temperature at its cap", {"logit_scale": np.linspace(14, 200, STEPS).clip(0, 100)}),
    "curv": ("curvature at its bound", {"curv": np.geomspace(1, 0.01, STEPS).clip(0.1)}),
    "origin": ("radii collapsed", {"radius__text": np.geomspace(1, 0.3, STEPS).clip(0.31)}),
    "bound": ("radii at their bound", {"cap_share__image": 0.99}),
    "cones": ("empty cones", {"cone_share": 0.0, "loss__entailment": 2.0}),
    "bits": ("dead bits", {"constant_bits__text": 0.5}),
    "class": ("one class", {"label_share": 0.97}),
    "pictures": ("stuck data", {"distinct__image": 1 / 64}),
    "texts": ("stuck data", {"distinct__text": 1 / 64}),
    "batches": ("stuck data", {"batch": 7}),
    "spikes": ("many loss spikes", {"skipped_spikes": np.arange(STEPS)}),
    "flat": ("nothing learned", {"loss": 4.158}),
    "overfit": ("overfitting", {"val__score": np.interp(np.arange(STEPS), [0, 40, 59], [0, 0.6, 0.3])}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_fault_is_named_first_and_says_what_to_change(case: str) -> None:
    cause, columns = CASES[case]
    broken = log(**columns)
    assert named(broken)[0] == cause
    found = next(one for rule in RULES for one in rule(broken) if one.cause == cause)
    assert found.seen and found.change and 0 < found.certainty <= 1 and "\n" not in found.line


def test_texts_near_the_root_whose_cones_hold_some_pictures_have_not_collapsed() -> None:
    texts = {"text_min_radius": 0.1, "text_radius": 0.3, "text_max_radius": 0.6}
    cones = Limits.of(PolarConfig(radius=1.5, min_radius=1.4, max_radius=1.6, **texts))
    assert (cones.radius, cones.text_radius) == ((1.4, 1.6), (0.1, 0.6))
    near = replace(log(radius__text=0.207, radius__image=1.476), limits=cones)
    assert named(near) == []
    all_inside = [row | {"cone_share": 0.97} for row in near.rows]
    assert named(replace(near, rows=all_inside)) == ["radii collapsed"]
    at_bound = [row | {"radius/text": 0.105} for row in near.rows]
    assert named(replace(near, rows=at_bound)) == ["radii collapsed"]
    clipped = replace(near, rows=[row | {"cap_share/text": 0.99} for row in near.rows])
    found = [one for rule in RULES for one in rule(clipped)]
    assert [one.cause for one in found] == ["radii at their bound"] and "text_max_radius" in found[0].change


def test_figures_that_an_older_log_lacks_are_no_fault() -> None:
    old = log()
    kept = ("step", "loss")
    assert named(replace(old, rows=[{k: row[k] for k in kept} for row in old.rows])) == []
    assert named(Log("s")) == []


def test_one_batch_that_holds_the_whole_epoch_is_not_stuck() -> None:
    assert named(replace(log(batch=7), epoch_steps=1)) == []


def test_limits_are_those_of_the_lift(recipe: dict[str, Any]) -> None:
    from limbeck.encoders.lift_config import HashConfig, SphereConfig, TangentConfig

    assert Limits.of(SphereConfig()) == Limits(logit_scale=100.0)
    assert Limits.of(HashConfig(bits=8)) == Limits()
    assert Limits.of(TangentConfig(learn_curv=False)) == Limits(100.0, None, (0.0, 4.0))
    assert Limits.of(PolarConfig()) == Limits(100.0, (0.1, 10.0), (0.3, 5.0))


def test_batch_figures_count_different_inputs_and_the_top_label() -> None:
    pixels, ids = torch.rand(4, 3, 2, 2), torch.tensor([[1, 2], [2, 1], [1, 2], [3, 0]])
    pixels[3] = pixels[0]
    labels = torch.tensor([[1, 1], [0, 1], [0, 1], [1, 0]])
    inputs: Any = {"image": {"pixels": pixels}, "text": {"input_ids": ids}, "teacher_image": {"x": pixels}}
    batch = Batch(inputs, list("abcd"), torch.arange(4), labels)
    found = batch_figures(batch)
    assert found["distinct/image"] == found["distinct/text"] == found["label_share"] == 0.75
    assert found["batch"] == batch_figures(replace(batch, ids=list("dcba")))["batch"]
    assert found["batch"] != batch_figures(replace(batch, ids=list("abce")))["batch"]
    assert set(found) == {"batch", "distinct/image", "distinct/text", "label_share"}


def test_weight_growth_is_relative_to_the_start_and_survives_a_resume() -> None:
    weight, bias, extra = torch.ones(2, 2), torch.ones(2), {}
    growth = WeightGrowth([weight, bias], extra)
    weight *= 3
    bias *= 100
    assert growth() == {"weight_growth": 3.0}
    assert WeightGrowth([weight, bias], extra)() == {"weight_growth": 3.0}
    assert WeightGrowth([bias], {})() == {}


def test_a_warning_is_given_once_after_a_quarter_of_the_steps() -> None:
    told: list[str] = []
    watch = Watch(replace(log(), rows=()), 4 * STEPS // 3, told.append)
    for row in log(logit_scale=100.0, label_share=0.97).rows:
        watch.see(row)
    assert [line.split(": ")[1] for line in told] == ["one class", "temperature at its cap"]
    assert told[0].startswith("stage s, step 20: ")


def test_a_training_warns_on_standard_error(
    tmp_path: Path, pairs_dir: Path, retrieval: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = write_pairs(tmp_path, rows=60, pictures=16)
    lift = {"kind": "sphere", "dim": 8, "max_logit_scale": 5.0}
    recipe = pixel_recipe(pairs, retrieval, {"name": "clip"}, lift, steps=12, validate_every=12)
    run = train(recipe, out=tmp_path / "run", quiet=True)
    lines = [line for line in capsys.readouterr().err.splitlines() if "temperature" in line]
    assert lines == [
        "limbeck: stage student, step 10: temperature at its cap: the logit scale stays at "
        "lift.max_logit_scale=5; raise lift.max_logit_scale (CLIP has 100), lower lift.logit_scale, or look "
        "for pairs that are too easy to tell apart"
    ]
    found = examine(run)
    assert found.findings[0].cause == "temperature at its cap" and found.findings[0].stage == "student"
    assert found.lines()[0] == f"{run}: temperature at its cap (stage student to step 12)"


def test_a_run_without_faults_says_so(whole_run: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["doctor", str(whole_run), "--json", str(tmp_path / "d.json")])
    assert result.exit_code == 0
    assert "nothing looks wrong (stage teacher to step 15, stage student to step 15)" in result.stdout
    stored = json.loads((tmp_path / "d.json").read_text())
    assert stored["format"] == "limbeck.doctor/1" and stored["findings"] == []


def test_what_stopped_a_run_is_named_and_a_half_line_is_left_out(
    tmp_path: Path, recipe: dict[str, Any]
) -> None:
    run = tmp_path / "run"
    (run / "stages/teacher/not-finite-00000004").mkdir(parents=True)
    from limbeck.training.recipe import load_recipe

    write_recipe(run / "recipe.yaml", load_recipe(recipe).model_dump(mode="json"))
    (run / "stages/teacher/metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    write_json(run / "stages/teacher/not-finite-00000004/batch.json", {"step": 4, "bad": "rows text"})
    found = examine(run)
    assert found.findings[0].cause == "learning rate too high"
    assert "rows text was not finite at step 4" in found.findings[0].seen
    assert found.stages == {"teacher": 1} and "stage student has logged no step" in found.notes
    (run / "stages/teacher/metrics.jsonl").write_text('{"step": 1, "lo\n{"step": 2}\n')
    with raises_code("E-JSON-SYNTAX", "line 1"):
        examine(run)


def test_no_run_and_no_data_are_told(tmp_path: Path, recipe: dict[str, Any], whole_run: Path) -> None:
    with raises_code("E-RUN-MISSING", "limbeck train"):
        examine(tmp_path)
    run = tmp_path / "run"
    (run / "stages").mkdir(parents=True)
    text = (whole_run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace(str(recipe["data"]["pairs"]), "/nowhere"))
    assert any("/nowhere is not here" in note for note in examine(run).notes)


def data_findings(report: Report) -> list[Finding]:
    return list(faults_of(report, "captions", "limbeck data check D"))


def test_faults_of_the_data_are_causes_from_a_share_on() -> None:
    report = Report("D", "d", 100)
    report.add("empty_captions", "warning", "rows without a caption", [f"r{i}" for i in range(5)])
    report.add("leaks_train", "warning", "leaks", [["a", "b"]] * 2)
    report.add("exact_duplicates", "warning", "same", [[f"r{i}" for i in range(20)]])
    report.relevance = Relevance(share=0.5, label="x", covers=0.9, without=0.1)
    assert data_findings(report) == []
    report.add("unreadable_pictures", "error", "pictures that cannot be read", ["r1"])
    assert [one.cause for one in data_findings(report)] == ["damaged data"]
    worse = Report("D", "d", 100, relevance=replace(report.relevance, covers=0.97))
    worse.add("empty_captions", "warning", "rows without a caption", [f"r{i}" for i in range(30)])
    worse.add("leaks_train", "warning", "leaks", [["a", "b"]] * 9)
    worse.add("exact_duplicates", "warning", "same", [[f"r{i}" for i in range(60)]])
    causes = [one.cause for one in sorted(data_findings(worse), key=lambda one: -one.certainty)]
    assert causes == ["stuck data", "one class", "leaking split", "empty captions"]
    assert all("limbeck data check" in one.change for one in data_findings(worse) if one.cause != "one class")


def test_pictures_of_a_large_set_are_not_opened(
    whole_run: Path, monkeypatch: pytest.MonkeyPatch, pairs_dir: Path
) -> None:
    monkeypatch.setattr("limbeck.training.doctor.MOST_PICTURES", 10)
    notes = examine(whole_run).notes
    assert any(f"limbeck data check {pairs_dir}" in note for note in notes)
    assert len(Pairs.open(pairs_dir)) > 10
