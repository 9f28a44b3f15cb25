"""Grids: runs x seeds from one YAML file, stoppable at any moment, resumed by the same command."""

from __future__ import annotations

from limbeck.grid.plan import Grid, find_grid, list_grids, read_grid
from limbeck.grid.run import GridState, run_grid

__all__ = ["Grid", "GridState", "find_grid", "list_grids", "read_grid", "run_grid"]
