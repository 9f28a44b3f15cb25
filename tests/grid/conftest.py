from __future__ import annotations

from helpers_grid import limbeck, place, write

__all__ = ["limbeck", "place", "write"]
