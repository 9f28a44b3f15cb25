"""A column of the codes' first bits: a short list by the prefix, then the whole codes (ours).

Of a nested code the first bits are a good short code by themselves (docs/papers/soda.md). Read from a column
of their own they cost a half or a quarter of the memory traffic; cut out of the codes they would save none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.arrays import NpyWriter, open_npy
from limbeck.index.engines.base import Candidates, Option, Points, RowMask, Setting
from limbeck.index.exact import search_codes

_SHORTLISTS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class PrefixColumn:
    """Looks at the ``shortlist`` items of nearest prefix; the space scores them by the whole code."""

    name: ClassVar[str] = "prefix"

    def __init__(self, folder: Path, rows: int) -> None:
        self._column = open_npy(folder / "prefix.npy")
        if self._column.dtype != np.uint8 or self._column.ndim != 2 or len(self._column) != rows:
            raise LimbeckError(f"{folder / 'prefix.npy'}: not bytes of {rows} rows; build the engine again")
        self._all = rows

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """``bytes`` of the prefix: half of the code, at most 4."""
        return [Option("bytes", max(1, min(4, columns // 2)), 1, columns)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Copy the first bytes of every code."""
        with NpyWriter(folder / "prefix.npy", np.dtype(np.uint8), options["bytes"]) as column:
            for piece in points.pieces():
                column.append(piece[:, : options["bytes"]])

    def settings(self) -> list[Setting]:
        """Longer and longer short lists."""
        return [{"shortlist": length} for length in _SHORTLISTS if length <= max(20, self._all // 4)]

    def search(
        self, queries: np.ndarray, count: int, setting: Setting, allowed: RowMask | None
    ) -> Candidates:
        """The ``count`` items of nearest prefix; fewer where fewer are allowed."""
        mask = None if allowed is None else allowed.mask
        width = self._column.shape[1]
        return Candidates(search_codes(queries[:, :width], self._column, count, mask=mask)[1])
