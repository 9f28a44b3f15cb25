"""Run grids: rows × seeds from one YAML file; you can stop at any time and resume with the same command."""

from __future__ import annotations

from limbeck.grid.plan import Grid, find_grid, list_grids, read_grid
from limbeck.grid.run import GridState, run_grid

__all__ = ["Grid", "GridState", "find_grid", "list_grids", "read_grid", "run_grid"]
