"""Searches a column of the codes' first bits, then re-ranks a short list by the whole codes (ours).

The first bits of a nested code are a good short code by themselves (docs/papers/soda.md). A separate column
of them needs half or a quarter of the memory traffic; reading them from the whole codes would save nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.arrays import NpyWriter, open_npy
from limbeck.index.engines.base import BuildParam, Candidates, Points, RowMask, SearchParams
from limbeck.index.exact import search_codes

_SHORTLISTS = (20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class PrefixColumn:
    """Finds the ``shortlist`` items with the nearest prefix; the space scores them by the whole code."""

    name: ClassVar[str] = "prefix"

    def __init__(self, folder: Path, rows: int) -> None:
        self._column = open_npy(folder / "prefix.npy")
        if self._column.dtype != np.uint8 or self._column.ndim != 2 or len(self._column) != rows:
            raise LimbeckError(
                f"{folder / 'prefix.npy'}: does not hold bytes of {rows} rows; build the engine again",
                code="E-ENGINE-DAMAGED",
            )
        self._all = rows

    @classmethod
    def build_params(cls, rows: int, columns: int) -> list[BuildParam]:
        """Return ``bytes`` of the prefix, by default half of the code and at most 4."""
        return [BuildParam("bytes", max(1, min(4, columns // 2)), 1, columns)]

    @classmethod
    def write(cls, folder: Path, points: Points, params: Mapping[str, int]) -> None:
        """Copy the first bytes of every code."""
        with NpyWriter(folder / "prefix.npy", np.dtype(np.uint8), params["bytes"]) as column:
            for piece in points.pieces():
                column.append(piece[:, : params["bytes"]])

    def search_params(self) -> list[SearchParams]:
        """Return lengths of the short list, ascending."""
        return [{"shortlist": length} for length in _SHORTLISTS if length <= max(20, self._all // 4)]

    def search(
        self, queries: np.ndarray, count: int, params: SearchParams, allowed: RowMask | None
    ) -> Candidates:
        """Return the ``count`` items with the nearest prefix; fewer if fewer are allowed."""
        mask = None if allowed is None else allowed.mask
        width = self._column.shape[1]
        return Candidates(search_codes(queries[:, :width], self._column, count, mask=mask)[1])
