"""A run that was killed or stopped, and resumed, ends as one left alone: the same weights, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from limbeck.cli.app import app
from limbeck.training import train
from limbeck.training.identity import check_same_recipe
from limbeck.training.recipe import load_recipe
from raising import raises_code
from tiny import write_recipe

DRIVER = Path(__file__).with_name("signal_driver.py")
STEP = "limbeck.training.fit.forward_backward"
CHECKPOINT = "limbeck.training.checkpoint.write_json"  # called after the tensors, before the rename


def start(signal: str, target: str, call: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DRIVER), signal, target, str(call), *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def assert_same_run(one: Path, other: Path) -> None:
    for file in ("model/model.safetensors", "stages/teacher/metrics.jsonl", "stages/student/metrics.jsonl"):
        assert (one / file).read_bytes() == (other / file).read_bytes(), file
    names = {p.relative_to(one) for p in one.rglob("*")}
    assert names == {p.relative_to(other) for p in other.rglob("*")}


@pytest.mark.parametrize(
    ("target", "call", "saved"),
    [(STEP, 7, "teacher/state-00000004"), (CHECKPOINT, 6, "student/state-00000004")],
    ids=["step", "in checkpoint"],
)
def test_killed_and_resumed_ends_with_the_same_weights(
    tmp_path: Path, recipe: dict[str, Any], whole_run: Path, target: str, call: int, saved: str
) -> None:
    file, run = write_recipe(tmp_path / "recipe.yaml", recipe), tmp_path / "run"
    done = start("SIGKILL", target, call, "train", str(file), "--out", str(run), "--quiet")
    assert done.returncode == -9, done.stderr
    assert (run / "stages" / saved).is_dir()
    assert not (run / "model").exists()
    train(recipe, out=run, resume=True, quiet=True)
    assert_same_run(run, whole_run)


def test_interrupt_saves_says_how_to_go_on_and_resumes(
    tmp_path: Path, recipe: dict[str, Any], whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, run = write_recipe(tmp_path / "recipe.yaml", recipe), tmp_path / "run"
    done = start("SIGINT", STEP, 18, "train", str(file), "--out", str(run), "--quiet")
    assert done.returncode == 130
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("limbeck: ")
    command = done.stderr.strip().split("resume with: ")[1]
    assert (run / "stages/student/state-00000003").is_dir()  # the step it was in is finished and saved
    before = json.loads((run / "stages/teacher/done.json").read_text())["seconds_with_setup"]
    app(command.split()[1:], standalone_mode=False)
    assert_same_run(run, whole_run)
    told = json.loads((run / "run.json").read_text())
    both = before + told["stages"]["student"]["seconds_with_setup"]
    assert told["seconds"] >= both - 0.002  # each is rounded to milliseconds
    student = json.loads((run / "stages/student/done.json").read_text())
    assert student["seconds_with_setup"] >= student["seconds"] - 0.002  # the steps before the stop included


def test_interrupt_in_process_leaves_the_handlers_as_they_were(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, run: Any
) -> None:
    """SIGTERM has an exit status of its own, so that a scheduler knows that the run can go on."""
    import signal

    from limbeck.training import fit

    original = fit.forward_backward
    before = signal.getsignal(signal.SIGTERM)

    def terminated(*given: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return original(*given)

    monkeypatch.setattr(fit, "forward_backward", terminated)
    file = write_recipe(tmp_path / "recipe.yaml", recipe)
    code, _, err = run("train", file, "--out", tmp_path / "run", "--quiet")
    assert (code, err.count("\n"), "resume with: limbeck train --resume" in err) == (75, 1, True)
    assert signal.getsignal(signal.SIGTERM) is before
    assert (tmp_path / "run/stages/teacher/state-00000001").is_dir()


def test_a_finished_run_is_returned_as_it_is(whole_run: Path, recipe: dict[str, Any]) -> None:
    before = (whole_run / "run.json").read_bytes()
    assert train(recipe, out=whole_run, resume=True, quiet=True) == whole_run
    assert (whole_run / "run.json").read_bytes() == before
    assert not list(whole_run.rglob("state-*"))


def test_taken_place_and_other_recipe_are_refused(
    tmp_path: Path, whole_run: Path, recipe: dict[str, Any]
) -> None:
    with raises_code("E-PATH-EXISTS", "--resume"):
        train(recipe, out=whole_run)
    with raises_code("E-RUN-OTHER-SETTINGS", "whole:"):
        train(load_recipe(recipe, {"optim.lr": 0.02}), out=whole_run, resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").write_text("")
    with raises_code("E-PATH-EXISTS", "other:"):
        train(recipe, out=tmp_path / "other")
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["file"]


def test_another_number_of_processes_is_refused(whole_run: Path, recipe: dict[str, Any]) -> None:
    with raises_code("E-RUN-OTHER-SETTINGS", "compute.devices=1 compute.nodes=1"):
        check_same_recipe(whole_run, load_recipe(recipe, {"compute.devices": 2}))


def test_other_places_and_notes_do_not_make_another_recipe(whole_run: Path, recipe: dict[str, Any]) -> None:
    changed = recipe | {"note": "other", "cache": False}
    changed["schedule"] = recipe["schedule"] | {"log_every": 5, "checkpoint_every": 9, "keep": 3}
    changed["compute"] = recipe["compute"] | {"recompute": True}
    assert train(changed, out=whole_run, resume=True) == whole_run
