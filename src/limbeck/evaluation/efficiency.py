"""What a run cost, read from its directory, and quality at equal samples and at equal wall-clock."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.yaml_files import read_yaml
from limbeck.errors import LimbeckError
from limbeck.evaluation.results import Result
from limbeck.files import read_json
from limbeck.tables import split_lines

AXES = ("pairs", "seconds")


def read_efficiency(run: Path) -> tuple[dict[str, float], list[dict[str, float]]]:
    """The cost of a run, and its validation scores against pairs seen and seconds.

    Args:
        run: a run directory; one from before costs were recorded gives nothing.

    Returns:
        ``pairs``, ``seconds`` (of training, without validation) and ``flops`` over all stages;
        ``pairs_per_second`` and ``flops_per_step`` of the last stage that takes steps; ``peak_memory``
        (bytes); ``parameters``. Then the points ``pairs``, ``seconds``, ``score`` of the last stage and of
        those whose model it went on with (`_line`), what the stages before took included.
    """
    facts = _json(run / "run.json")
    stages = list(facts.get("stages") or {})
    records = {name: _json(run / "stages" / name / "efficiency.json") for name in stages}
    known = [(name, record) for name, record in records.items() if record.get("pairs")]
    if not known or any(not record for record in records.values()):
        return {}, []
    last, record = known[-1]
    cost: dict[str, float] = {
        "pairs": sum(r["pairs"] for _, r in known),
        "seconds": sum(r["seconds"] for _, r in known),
        "pairs_per_second": record["pairs_per_second"],
        "parameters": facts["stages"][stages[-1]]["parameters"],
    }
    if all(r["peak_memory"] for _, r in known):  # Windows does not tell
        cost["peak_memory"] = max(r["peak_memory"] for _, r in known)
    if all(r["flops_per_step"] for _, r in known):
        cost["flops_per_step"] = record["flops_per_step"]
        cost["flops"] = sum(r["flops_per_step"] * facts["stages"][name]["steps"] for name, r in known)
    points, line = [], _line(run, last)
    start = dict.fromkeys(AXES, 0.0)
    for name, own in known:
        clock = {row["step"]: row for row in _lines(run / "stages" / name / "clock.jsonl")}
        points += [
            {**{axis: start[axis] + clock[row["step"]][axis] for axis in AXES}, "score": row["val/score"]}
            for row in _lines(run / "stages" / name / "metrics.jsonl")
            if name in line and row.get("val/score") is not None and row["step"] in clock
        ]
        start = {axis: start[axis] + own[axis] for axis in AXES}
    return cost, points


def _line(run: Path, last: str) -> set[str]:
    """The stages that trained one model: both towers handed on, validated on the same rows."""
    file = run / "recipe.yaml"
    recipe = read_yaml(file) if file.is_file() else {}
    stages = {stage["name"]: stage for stage in recipe.get("stages", [])}
    found, name = {last}, last
    while name in stages:
        init = stages[name].get("init") or {}
        before = stages.get(init.get("image")) if init.get("image") == init.get("text") else None
        if before is None or any(before.get(key) != stages[name].get(key) for key in ("pairs", "hide")):
            break
        name = before["name"]
        found.add(name)
    return found


def _json(file: Path) -> dict[str, Any]:
    content = read_json(file) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.is_file():
        return []
    lines = split_lines(file.read_text(encoding="utf-8"))
    try:
        return [json.loads(line) for line in lines]
    except json.JSONDecodeError:
        raise LimbeckError(f"{file}: a line is damaged; remove it") from None


def score_at(result: Result, axis: str, place: float) -> float | None:
    """Validation score at so many pairs or seconds, linear between looks; None outside what was looked at."""
    points = sorted((point[axis], point["score"]) for point in result.progress)
    if not points or not points[0][0] <= place <= points[-1][0]:
        return None
    return float(np.interp(place, [x for x, _ in points], [y for _, y in points]))


def common_end(results: Sequence[Result], axis: str) -> float | None:
    """How far the run goes that ends first; None where fewer than two have validation points."""
    ends = [max(point[axis] for point in result.progress) for result in results if result.progress]
    return min(ends) if len(ends) > 1 else None
