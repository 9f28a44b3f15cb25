"""The claims of ``docs/results``: strict JSON, each a finite number, the command that makes it, a verdict."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from docs_markdown import ROOT

FILES = sorted((ROOT / "docs/results").glob("*.json"))


def claims(file: Path) -> list[dict[str, Any]]:
    """A file is a list of claims, or has one under ``claims``."""

    def refuse(word: str) -> float:
        raise ValueError(f"{file.name}: {word} is no JSON")

    found = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse)
    return found["claims"] if isinstance(found, dict) else found


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_claims_can_be_checked(file: Path) -> None:
    found = claims(file)
    assert found
    for claim in found:
        assert {"claim", "command", "value", "bar", "met"} <= set(claim), claim
        assert claim["claim"] and claim["command"], claim
        assert is_number(claim["value"]) and (claim["bar"] is None or is_number(claim["bar"])), claim
        assert claim["met"] in (True, False), claim
        for script in re.findall(r"benchmarks/\w+\.py", claim["command"]):
            assert (ROOT / script).is_file(), claim


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def test_there_are_claims() -> None:
    assert len(FILES) >= 5
