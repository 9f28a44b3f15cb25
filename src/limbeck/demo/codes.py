"""Train hash heads on the teacher's towers: SODA, its controls, and codes without labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from limbeck.console import echo
from limbeck.demo.models import run_of
from limbeck.evaluation import Result, evaluate
from limbeck.training import train
from limbeck.typed import Json

METHODS = ("demo/soda", "demo/soda-multihot", "demo/soda-direct", "demo/teacher-itq")


def train_codes(
    runs: Path, scenes: Path, teacher: Path, lengths: Sequence[int], steps: int | None, seed: int
) -> list[Result]:
    """Train and evaluate every method at every code length; runs are named ``soda-64`` and so on.

    Args:
        runs: folder of the runs.
        scenes: pairs directory.
        teacher: run whose towers the heads read.
        lengths: code lengths in bits.
        steps: steps per stage; None keeps those of the recipe.
        seed: seed of training.
    """
    results = []
    for bits in lengths:
        for name in METHODS:
            overrides = _overrides(name, teacher, bits, steps, seed)
            run = train(
                name, out=run_of(runs, f"{name}-{bits}"), pairs=scenes, quiet=True, overrides=overrides
            )
            results.append(evaluate(run))
            score = results[-1].mean("map")
            echo(f"      {name} {bits} bits: mAP {score:.3f}", err=True)
    return results


def _overrides(name: str, teacher: Path, bits: int, steps: int | None, seed: int) -> dict[str, Json]:
    changes: dict[str, Json] = {
        "seed": seed,
        "towers.image.backbone.path": str(teacher.resolve()),
        "towers.text.backbone.path": str(teacher.resolve()),
    }
    if name == "demo/teacher-itq":
        return changes | {"stages.codes.lift.bits": bits}
    changes["lift.bits"] = bits
    if steps is not None:
        if name == "demo/soda-direct":
            changes["stages.direct.schedule.steps"] = 2 * steps
        else:
            changes["schedule.steps"] = steps
    return changes
