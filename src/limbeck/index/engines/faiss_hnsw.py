"""Graphs of faiss, hierarchical navigable small worlds, over codes and over the coordinates of vectors.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs", 2018. A graph needs a distance: built on the inner product that ranks points of the
hyperboloid it finds one neighbour in seven, so vectors are linked by `Space.coordinates` and scored again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from limbeck.index.engines.base import Option, Points, RowMask, Setting, widened
from limbeck.index.engines.faiss_base import FaissEngine


class _Hnsw(FaissEngine, ABC):
    """Walks the graph with a list of ``ef`` candidates."""

    name: ClassVar[str] = "faiss-hnsw"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """``links`` of a point (M) and the candidates ``ef`` while building."""
        return [Option("links", 16, 2, 128), Option("ef", 80, 4, 2000)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Add all points; minutes a million."""
        index = cls.empty(points.columns, options["links"])
        index.hnsw.efConstruction = options["ef"]
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    @classmethod
    @abstractmethod
    def empty(cls, columns: int, links: int) -> Any:
        """An index without points."""

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set the length of the list; it holds at least the answers."""
        self.index.hnsw.efSearch = max(count, widened(setting["ef"], allowed, self.rows))


class HnswCodes(_Hnsw):
    """IndexBinaryHNSW."""

    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryHNSW"

    @classmethod
    def empty(cls, columns: int, links: int) -> Any:
        """An index without points."""
        import faiss

        return faiss.IndexBinaryHNSW(8 * columns, links)

    def settings(self) -> list[Setting]:
        """Longer and longer lists."""
        return [{"ef": ef} for ef in (16, 32, 64, 128, 256, 512, 1024)]


class HnswVectors(_Hnsw):
    """IndexHNSWFlat by Euclidean distance of `Space.coordinates`."""

    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexHNSWFlat"

    @classmethod
    def empty(cls, columns: int, links: int) -> Any:
        """An index without points."""
        import faiss

        return faiss.IndexHNSWFlat(columns, links)

    def settings(self) -> list[Setting]:
        """Longer and longer lists, all of which the space scores."""
        return [{"ef": ef, "shortlist": min(ef, 256)} for ef in (16, 32, 64, 128, 256, 512, 1024)]
