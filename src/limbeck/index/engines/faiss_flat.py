"""Flat indexes of faiss: every point is compared. Exact; a second opinion on our own kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from limbeck.index.engines.base import Option, Points, Setting
from limbeck.index.engines.faiss_base import FaissEngine


class FlatCodes(FaissEngine):
    """IndexBinaryFlat."""

    name: ClassVar[str] = "faiss-flat"
    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryFlat"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """None."""
        return []

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Store the codes."""
        import faiss

        index = faiss.IndexBinaryFlat(8 * points.columns)
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """One: everything is looked at."""
        return [{}]


class FlatVectors(FaissEngine):
    """IndexFlatL2 over `Space.coordinates`."""

    name: ClassVar[str] = "faiss-flat"
    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexFlatL2"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """None."""
        return []

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Store the coordinates."""
        import faiss

        index = faiss.IndexFlatL2(points.columns)
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """Short lists, which the space puts in its own order."""
        return [{"shortlist": length} for length in (20, 50, 200)]
