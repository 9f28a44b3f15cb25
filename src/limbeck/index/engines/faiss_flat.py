"""Searches flat faiss indexes, which compare every point; they check our own kernels independently."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from limbeck.index.engines.base import Option, Points, Setting
from limbeck.index.engines.faiss_base import FaissEngine


class FlatCodes(FaissEngine):
    """Searches packed codes with IndexBinaryFlat, exactly."""

    name: ClassVar[str] = "faiss-flat"
    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryFlat"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """Return no build parameters."""
        return []

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Store the packed codes."""
        import faiss

        index = faiss.IndexBinaryFlat(8 * points.columns)
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """Return one empty setting: every code is compared."""
        return [{}]


class FlatVectors(FaissEngine):
    """Searches `Space.coordinates` with IndexFlatL2; the space scores a short list."""

    name: ClassVar[str] = "faiss-flat"
    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexFlatL2"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """Return no build parameters."""
        return []

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Store `Space.coordinates`."""
        import faiss

        index = faiss.IndexFlatL2(points.columns)
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """Return short lists of growing length, which the space re-ranks."""
        return [{"shortlist": length} for length in (20, 50, 200)]
