"""Rows of a results file, as `results.claims` makes them; benchmarks run from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from results.claims import Claims

__all__ = ["Claims"]
