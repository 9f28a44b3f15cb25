"""Loggers beside metrics.jsonl, and the trace of --profile."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from limbeck.training import train
from limbeck.training.loggers import Loggers, open_loggers
from limbeck.training.profiling import PHASES, Profile, phase
from limbeck.training.recipe import load_recipe
from raising import raises_code


def one_stage(recipe: dict[str, Any], **more: Any) -> dict[str, Any]:
    recipe["schedule"] |= {"steps": 6, "validate_every": 6} | more.pop("schedule", {})
    return recipe | {"stages": {"teacher": recipe["stages"]["teacher"]}} | more


def points(folder: Path, name: str) -> dict[int, float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {event.step: event.value for event in events.Scalars(name)}


def test_tensorboard_has_the_numbers_of_the_jsonl_lines(tmp_path: Path, recipe: dict[str, Any]) -> None:
    pytest.importorskip("tensorboard")
    run = train(one_stage(recipe, loggers=["tensorboard"]), out=tmp_path / "run", quiet=True)
    rows = [json.loads(line) for line in (run / "stages/teacher/metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "val/score"):
        found = points(run / "tensorboard/teacher", name)
        assert found == pytest.approx({row["step"]: row[name] for row in rows if name in row}, rel=1e-6)


def test_a_resumed_stage_hides_what_is_trained_again(tmp_path: Path, recipe: dict[str, Any]) -> None:
    pytest.importorskip("tensorboard")
    stage = load_recipe(recipe).stages["teacher"]
    for resumed, value in ((0, 1.0), (2, 2.0)):
        with Loggers(open_loggers(["tensorboard"], tmp_path, stage, resumed)) as log:
            for step in range(resumed + 1, 5):
                log.write({"step": step, "loss": value, "name": "text is left out", "none": None})
    assert points(tmp_path / "tensorboard/teacher", "loss") == {1: 1.0, 2: 1.0, 3: 2.0, 4: 2.0}


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_names_its_extra_before_any_work(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with raises_code("E-PACKAGE-MISSING", f"limbeck[{name}]"):
        train(one_stage(recipe, loggers=[name]), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_an_unknown_logger_is_refused(recipe: dict[str, Any]) -> None:
    with raises_code("E-CONFIG-VALUE", "loggers", "tensorboard"):
        load_recipe(one_stage(recipe, loggers=["mlflow"]))


class FakeWandb:
    """What limbeck calls of wandb."""

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.rows: list[tuple[dict[str, float], int]] = []
        self.finished = 0

    def Settings(self, **given: Any) -> dict[str, Any]:
        return given

    def init(self, **given: Any) -> FakeWandb:
        self.given = given
        return self

    def log(self, row: dict[str, float], step: int) -> None:
        self.rows.append((row, step))

    def finish(self) -> None:
        self.finished += 1


def test_wandb_is_offline_unless_asked_and_continues_its_run(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, stage = FakeWandb(), load_recipe(recipe).stages["teacher"]
    monkeypatch.setitem(sys.modules, "wandb", fake)  # type: ignore[arg-type]
    monkeypatch.delenv("WANDB_MODE", raising=False)
    with Loggers(open_loggers(["wandb"], tmp_path, stage, 0)) as log:
        log.write({"step": 3, "loss": 1.5})
    first = fake.given
    assert (first["mode"], first["dir"], first["resume"]) == ("offline", str(tmp_path), "allow")
    assert first["config"]["optim"]["lr"] == 0.01
    assert fake.rows == [({"loss": 1.5}, 3)] and fake.finished == 1
    monkeypatch.setenv("WANDB_MODE", "online")
    open_loggers(["wandb"], tmp_path, stage, 3)
    assert fake.given["mode"] == "online" and fake.given["id"] == first["id"]


@pytest.mark.slow
def test_wandb_writes_its_files_offline(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    run = train(one_stage(recipe, loggers=["wandb"]), out=tmp_path / "run", quiet=True)
    files = list((run / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(files) == 1 and files[0].stat().st_size > 1000


def test_loggers_change_no_weight_and_no_identity(recipe: dict[str, Any]) -> None:
    from limbeck.training.identity import recipe_identity

    one, other = load_recipe(recipe), load_recipe(recipe | {"loggers": ["tensorboard"]})
    assert recipe_identity(one) == recipe_identity(other)


def test_a_profile_is_a_trace_and_says_where_the_time_goes(
    tmp_path: Path, recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(one_stage(recipe), out=tmp_path / "run", quiet=True, profile=True)
    trace = json.loads((run / "stages/teacher/trace.json").read_text())
    names = {event.get("name") for event in trace["traceEvents"]}
    assert {f"limbeck.{name}" for name in PHASES} <= names
    lines = [line.removeprefix("limbeck: ").strip() for line in capsys.readouterr().err.splitlines()]
    begin = next(i for i, line in enumerate(lines) if line.startswith("profile of 6 steps"))
    told = [line.split()[0] for line in lines[begin + 1 : begin + 6]]
    assert told == [*PHASES, "other"]
    shares = [float(line.split()[1].rstrip("%")) for line in lines[begin + 1 : begin + 6]]
    assert 95 < sum(shares) < 105
    slowest = lines[begin + 6].removeprefix("slowest operators: ").split(", ")
    assert len(slowest) == 3 and all(part.endswith("%") for part in slowest)


def test_a_profile_waits_for_the_first_steps_of_a_long_stage(tmp_path: Path) -> None:
    long, short, resumed = Profile(tmp_path, 0, 100), Profile(tmp_path, 0, 4), Profile(tmp_path, 50, 100)
    assert (long.start, long.stop) == (5, 15)
    assert (short.start, short.stop) == (0, 4)
    assert (resumed.start, resumed.stop) == (55, 65)
    assert long.after(1) == [] and not list(tmp_path.iterdir())
    with phase("data"):  # without a profiler it does nothing
        pass
