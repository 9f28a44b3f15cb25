from __future__ import annotations

from typing import Any

from limbeck.evaluation import Comparison, Result


def make(label: str = "soda", seed: int = 0, value: float = 0.8, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "protocol": "p", "protocol_hash": "a" * 64, "task": "hashing", "method": label,
        "run": f"{label}-{seed}", "space": {"name": "hamming", "bits": 16}, "bits": 16, "seed": seed,
        "metrics": {"i2t": {"map": value, "floor": 0.5}, "t2i": {"map": value - 0.01, "floor": 0.5}},
        "per_query": {"i2t": [0.5, None], "t2i": [0.25]},
    }  # fmt: skip
    return Result(**(fields | changes))


def figure(comparison: Comparison, label: str, direction: str = "i2t", metric: str = "map") -> Any:
    """The tidy row of a group's figure; None where there is none."""
    for row in comparison.figures.itertuples():
        if (comparison.groups[row.group].label, row.direction, row.metric) == (label, direction, metric):
            return row
    return None


def columns(comparison: Comparison, part: str = "scores") -> list[str]:
    rows = comparison.figures[comparison.figures["part"] == part].sort_values("rank")
    return list(dict.fromkeys(rows["direction"] + " " + rows["metric"]))
