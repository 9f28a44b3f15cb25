"""One case in the default suite, the others as slow tests."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_fast(values: Iterable[Any], fast: int = 0) -> list[Any]:
    """Parameters of which all but one are marked slow."""
    return [
        value if number == fast else pytest.param(value, marks=pytest.mark.slow)
        for number, value in enumerate(values)
    ]
