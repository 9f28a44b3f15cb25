from __future__ import annotations

from helpers_grid import place, write

__all__ = ["place", "write"]
