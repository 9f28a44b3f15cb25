"""Train the models of the demo: a teacher, and three students with equal small towers and equal samples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from limbeck.data.pairs import Pairs
from limbeck.evaluation import Result, evaluate
from limbeck.files import read_json
from limbeck.reporting.overview import Cost
from limbeck.training import train
from limbeck.training.recipe import load_recipe
from limbeck.training.throughput import pairs_per_second
from limbeck.typed import Json

TEACHER = "demo/teacher"
STUDENTS = {
    "CLIP": "demo/student-clip",
    "MERU": "demo/student-meru",
    "HMID-Net": "demo/student-hmid-net-cones",  # a walk to the root needs pictures in cones
}
DETAIL = 0.75  # share of the epochs that is spent on the most detailed captions
BESIDE = 1.4  # a student's time beside that of the plain one, on average of the three


@dataclass(frozen=True)
class Plan:
    """The epochs of a recipe with stages ``detail`` and ``all``; equal epochs give equal samples."""

    detail: int
    all: int
    pace: float
    seconds: float
    threads: int

    def __str__(self) -> str:
        return f"{self.detail} + {self.all} epochs at about {self.pace:,.0f} pairs/s"


@dataclass(frozen=True)
class Trained:
    """A run with its result and its cost."""

    label: str
    run: Path
    result: Result
    cost: Cost


def plan(
    recipe: str, scenes: Path, pairs: Pairs, seconds: float, limits: tuple[int, int], beside: float = 1.0
) -> Plan:
    """Compute the number of epochs that fit into a number of seconds on this machine.

    Args:
        recipe: recipe whose speed is measured.
        scenes: pairs directory.
        pairs: the same directory, opened.
        seconds: target duration.
        limits: least and most epochs.
        beside: average duration of the recipes that share the plan, relative to this recipe.
    """
    paces = {threads: _pace(recipe, scenes, threads) / beside for threads in {1, torch.get_num_threads()}}
    pace, threads = max((pace, threads) for threads, pace in paces.items())
    count = len(pairs.split_rows("train"))
    epochs = max(limits[0], min(limits[1], int(seconds * pace / count)))
    detail = max(1, round(DETAIL * epochs))
    rest = max(1, epochs - detail)
    return Plan(detail, rest, pace, (detail + rest) * count / pace, threads)


def _pace(recipe: str, scenes: Path, threads: int) -> float:
    """Measure pairs per second with a number of threads; on a busy machine two can be slower than one."""
    before = torch.get_num_threads()
    try:
        told: dict[str, Json] = {"data.pairs": str(scenes.resolve()), "compute.threads": threads}
        return pairs_per_second(load_recipe(recipe, told))
    finally:
        torch.set_num_threads(before)


def train_model(
    label: str, recipe: str, run: Path, scenes: Path, plan: Plan, seed: int, teacher: Path | None = None
) -> Trained:
    """Train and evaluate a model; ``teacher`` is used by recipes that need one."""
    overrides: dict[str, Json] = {"seed": seed, "compute.threads": plan.threads}
    for stage in load_recipe(recipe).stages.values():
        overrides[f"stages.{stage.name}.schedule.epochs"] = getattr(plan, stage.name)
        if "teacher" in stage.method and teacher is not None:
            overrides[f"stages.{stage.name}.method.teacher"] = str(teacher.resolve())
    train(recipe, out=run, pairs=scenes, overrides=overrides)
    return Trained(label, run, evaluate(run, label=label), _cost(label, run))


def _cost(label: str, run: Path) -> Cost:
    """Read the cost of a finished run over all its stages."""
    facts = read_json(run / "run.json")
    stages = facts["stages"]
    pairs = sum(
        stages[stage.name]["steps"] * min(stage.schedule.batch_size, facts["train_pairs"])
        for stage in load_recipe(run / "recipe.yaml").stages.values()
    )
    return Cost(label, list(stages.values())[-1]["parameters"], pairs, facts["seconds"])


def run_of(runs: Path, recipe: str) -> Path:
    """Return the folder of a recipe's run."""
    return runs / recipe.removeprefix("demo/")
