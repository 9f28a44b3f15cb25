"""One tiny data set, its recipes and a grid file; one grid that was never stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tiny import soda_recipe, write_pairs, write_protocol, write_recipe

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recipes ``teacher``, ``soda`` and ``direct`` beside a data set."""
    folder = tmp_path_factory.mktemp("grid")
    whole = soda_recipe(write_pairs(folder), write_protocol(folder), steps=6)
    write_recipe(folder / "soda.yaml", whole)
    write_recipe(folder / "teacher.yaml", whole | {"stages": {"teacher": whole["stages"]["teacher"]}})
    direct = {"direct": {"method": {"name": "direct-hashing"}}}
    write_recipe(folder / "direct.yaml", whole | {"name": "tiny/direct", "stages": direct})
    return folder


def tree() -> dict[str, Any]:
    """A grid: a teacher for each seed, a row that reads it, a tuned control, a row that fails."""
    return {
        "name": "tiny/grid",
        "seeds": [0, 1],
        "ceiling": False,
        "base": "direct",
        "prepare": {"teacher": {"recipe": "teacher.yaml", "seeds": "each"}},
        "rows": {
            "taught": {
                "recipe": "soda.yaml",
                "set": {"stages.student.init": {"image": "$teacher"}},
                "tune": False,
            },
            "direct": {"recipe": "direct.yaml"},
            "broken": {
                "recipe": "direct.yaml",
                "set": {"data.protocol": "mirflickr15k/dcmh"},
                "seeds": [0],
                "tune": False,
            },
        },
        "tune": {"trials": 2, "search": {"optim.lr": {"low": 1e-3, "high": 1e-1, "log": True}}},
    }


@pytest.fixture
def write(place: Path) -> Callable[..., Path]:
    """Write `tree`, some of its keys replaced, beside the recipes."""

    def put(name: str, **changes: Any) -> Path:
        file = place / f"{name}.yaml"
        file.write_text(yaml.safe_dump(tree() | changes, sort_keys=False))
        return file

    return put
