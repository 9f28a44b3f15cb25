"""Read the cost of a run from its directory, and compare scores at equal pairs seen or equal seconds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.yaml_files import read_yaml
from limbeck.errors import LimbeckError
from limbeck.evaluation.results import Result
from limbeck.evaluation.run_metadata import stage_list
from limbeck.files import read_json
from limbeck.tables import split_lines

AXES = ("pairs", "seconds")


def read_efficiency(run: Path) -> tuple[dict[str, float], list[dict[str, float]]]:
    """Read the cost of a run, and its validation scores against pairs seen and seconds.

    Args:
        run: a run directory. For a run of an old version without recorded costs, both results are empty.

    Returns:
        The cost: ``pairs``, ``seconds`` (of training, without validation) and ``flops`` over all stages;
        ``pairs_per_second`` and ``flops_per_step`` of the stage that gave the model, or of the last one that
        takes steps; ``peak_memory`` (bytes); ``parameters``. Then the validation points (``pairs``,
        ``seconds``, ``score``) of that stage and of the stages whose model it continues (`_line`). Pairs and
        seconds include earlier stages.
    """
    facts = _json(run / "run.json")
    stages = list(facts.get("stages") or {})
    records = {name: _json(run / "stages" / name / "efficiency.json") for name in stages}
    known = [(name, record) for name, record in records.items() if record.get("pairs")]
    if not known or any(not record for record in records.values()):
        return {}, []
    chosen = facts.get("chosen", {}).get("stage", stages[-1])
    last, record = next((pair for pair in known if pair[0] == chosen), known[-1])
    cost: dict[str, float] = {
        "pairs": sum(r["pairs"] for _, r in known),
        "seconds": sum(r["seconds"] for _, r in known),
        "pairs_per_second": record["pairs_per_second"],
        "parameters": facts["stages"][chosen]["parameters"],
    }
    if all(r["peak_memory"] for _, r in known):  # not known on Windows
        cost["peak_memory"] = max(r["peak_memory"] for _, r in known)
    if all(r["flops_per_step"] for _, r in known):
        cost["flops_per_step"] = record["flops_per_step"]
        cost["flops"] = sum(r["flops_per_step"] * facts["stages"][name]["steps"] for name, r in known)
    points, line = [], _line(run, last)
    start = dict.fromkeys(AXES, 0.0)
    for name, stage_cost in known:
        clock = {row["step"]: row for row in _lines(run / "stages" / name / "clock.jsonl")}
        points += [
            {**{axis: start[axis] + clock[row["step"]][axis] for axis in AXES}, "score": row["val/score"]}
            for row in _lines(run / "stages" / name / "metrics.jsonl")
            if name in line and row.get("val/score") is not None and row["step"] in clock
        ]
        start = {axis: start[axis] + stage_cost[axis] for axis in AXES}
    return cost, points


def _line(run: Path, last: str) -> set[str]:
    """Return the stages that trained one model: both towers come from the stage before, on the same rows."""
    file = run / "recipe.yaml"
    recipe = read_yaml(file) if file.is_file() else {}
    stages = {stage["name"]: stage for stage in stage_list(recipe)}
    line, name = {last}, last
    while name in stages:
        init = stages[name].get("init") or {}
        before = stages.get(init.get("image")) if init.get("image") == init.get("text") else None
        if before is None or any(before.get(key) != stages[name].get(key) for key in ("pairs", "hide")):
            break
        name = before["name"]
        line.add(name)
    return line


def _json(file: Path) -> dict[str, Any]:
    content = read_json(file) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _lines(file: Path) -> list[dict[str, float]]:
    if not file.is_file():
        return []
    lines = split_lines(file.read_text(encoding="utf-8"))
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        raise LimbeckError(f"{file}: a line is not valid JSON; remove it", code="E-JSON-SYNTAX") from None


def score_at(result: Result, axis: str, place: float) -> float | None:
    """Return the validation score at a number of ``pairs`` or ``seconds`` (the axis), linear between two.

    It is None before the first validation and after the last.
    """
    points = sorted((point[axis], point["score"]) for point in result.progress)
    if not points or not points[0][0] <= place <= points[-1][0]:
        return None
    return float(np.interp(place, [x for x, _ in points], [y for _, y in points]))


def common_end(results: Sequence[Result], axis: str) -> float | None:
    """Return the end of the shortest run on an axis; None where fewer than two have validation points."""
    ends = [max(point[axis] for point in result.progress) for result in results if result.progress]
    return min(ends) if len(ends) > 1 else None
