from __future__ import annotations

from typing import Any

from limbeck.evaluation import Result


def make(label: str = "soda", seed: int = 0, value: float = 0.8, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "protocol": "p", "protocol_hash": "a" * 64, "task": "hashing", "method": label,
        "run": f"{label}-{seed}", "space": {"name": "hamming", "bits": 16}, "bits": 16, "seed": seed,
        "metrics": {"i2t": {"map": value, "floor": 0.5}, "t2i": {"map": value - 0.01, "floor": 0.5}},
        "per_query": {"i2t": [0.5, None], "t2i": [0.25]},
    }  # fmt: skip
    return Result(**(fields | changes))
