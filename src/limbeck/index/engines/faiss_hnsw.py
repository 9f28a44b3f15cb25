"""Searches HNSW graphs of faiss, over codes and over the coordinates of vectors.

Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using Hierarchical Navigable
Small World graphs", 2018. A graph needs a distance. With the inner product that ranks points of the
hyperboloid, its recall is one in seven. The graph therefore uses the Euclidean distance of
`Space.coordinates`, and the space re-ranks the candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from limbeck.index.engines.base import Option, Points, RowMask, Setting, widened
from limbeck.index.engines.faiss_base import FaissEngine


class _Hnsw(FaissEngine, ABC):
    """Searches the graph with a list of ``ef`` candidates."""

    name: ClassVar[str] = "faiss-hnsw"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """Return ``links`` per point (M) and ``ef``, the candidates during the build (efConstruction)."""
        return [Option("links", 16, 2, 128), Option("ef", 80, 4, 2000)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Add all points; this takes minutes per million points."""
        index = cls.empty(points.columns, options["links"])
        index.hnsw.efConstruction = options["ef"]
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    @classmethod
    @abstractmethod
    def empty(cls, columns: int, links: int) -> Any:
        """Return a faiss index without points."""

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set efSearch, which is at least ``count``."""
        self.index.hnsw.efSearch = max(count, widened(setting["ef"], allowed, self.rows))


class HnswCodes(_Hnsw):
    """Searches packed codes with IndexBinaryHNSW."""

    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryHNSW"

    @classmethod
    def empty(cls, columns: int, links: int) -> Any:
        """Return a faiss index without points."""
        import faiss

        return faiss.IndexBinaryHNSW(8 * columns, links)

    def settings(self) -> list[Setting]:
        """Return values of efSearch, ascending."""
        return [{"ef": ef} for ef in (16, 32, 64, 128, 256, 512, 1024)]


class HnswVectors(_Hnsw):
    """Searches `Space.coordinates` with IndexHNSWFlat by Euclidean distance."""

    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexHNSWFlat"

    @classmethod
    def empty(cls, columns: int, links: int) -> Any:
        """Return a faiss index without points."""
        import faiss

        return faiss.IndexHNSWFlat(columns, links)

    def settings(self) -> list[Setting]:
        """Return values of efSearch, ascending; the space scores up to 256 candidates."""
        return [{"ef": ef, "shortlist": min(ef, 256)} for ef in (16, 32, 64, 128, 256, 512, 1024)]
