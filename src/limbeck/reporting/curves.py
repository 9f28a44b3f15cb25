"""Read the logged metrics of a run, in the order of its stages, for learning curves."""

from __future__ import annotations

import json
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.tables import split_lines
from limbeck.typed import Json


def read_curves(run: Path | str) -> list[dict[str, Json]]:
    """Read the rows of each ``stages/NAME/metrics.jsonl`` of a run, and add the ``stage`` to each row.

    The stages are in the order of ``run.json``, or of their names if it does not list them.

    Raises:
        LimbeckError: a line other than the last is not JSON; an incomplete last line is ignored.
    """
    run = Path(run)
    files = {file.parent.name: file for file in sorted((run / "stages").glob("*/metrics.jsonl"))}
    order = _stage_order(run / "run.json")
    rows: list[dict[str, Json]] = []
    for stage in sorted(files, key=lambda name: order.index(name) if name in order else len(order)):
        lines = split_lines(files[stage].read_text(encoding="utf-8"))
        for number, line in enumerate(lines, start=1):
            try:
                rows.append({**json.loads(line), "stage": stage})
            except (json.JSONDecodeError, TypeError):
                if number < len(lines):
                    raise LimbeckError(
                        f"{files[stage]}: line {number} is not valid JSON; remove it", code="E-JSON-SYNTAX"
                    ) from None
    return rows


def _stage_order(file: Path) -> list[str]:
    if not file.is_file():
        return []
    stages = read_json(file).get("stages") or []
    return [stage["name"] if isinstance(stage, dict) else str(stage) for stage in stages]
