"""Searches inverted files of faiss: codes, or coordinates of vectors, in one list per centroid."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from limbeck.index.engines.base import Option, Points, RowMask, Setting, widened
from limbeck.index.engines.faiss_base import FaissEngine

_SAMPLE = 64  # training points per centroid


class _Ivf(FaissEngine, ABC):
    """Scans the ``probes`` lists (nprobe) whose centroids are nearest to the query."""

    name: ClassVar[str] = "faiss-ivf"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """Return ``lists`` (nlist), by default about 4·√rows."""
        return [Option("lists", min(rows, 2 ** round(np.log2(4 * np.sqrt(rows)))), 1, rows)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Train the centroids on a sample, then add all points."""
        index = cls.empty(points.columns, options["lists"])
        index.cp.min_points_per_centroid = 1  # suppress the warning about few training points
        index.train(points.sample(_SAMPLE * options["lists"]))
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    @classmethod
    @abstractmethod
    def empty(cls, columns: int, lists: int) -> Any:
        """Return a faiss index without points."""

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set nprobe."""
        self.index.nprobe = widened(setting["probes"], allowed, self.index.nlist)

    def probes(self) -> list[int]:
        """Return the numbers of probes to measure: 1, 2, 3, 4, 6, 8, 12, …, at most half of the lists."""
        steps = sorted({2**power for power in range(10)} | {3 * 2**power for power in range(9)})
        return [number for number in steps if number <= max(1, self.index.nlist // 2)]


class IvfCodes(_Ivf):
    """Searches packed codes with IndexBinaryIVF."""

    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryIVF"

    @classmethod
    def empty(cls, columns: int, lists: int) -> Any:
        """Return a faiss index without points."""
        import faiss

        return faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(8 * columns), 8 * columns, lists)

    def settings(self) -> list[Setting]:
        """Return numbers of probes, ascending."""
        return [{"probes": number} for number in self.probes()]


class IvfVectors(_Ivf):
    """Searches half-precision `Space.coordinates` in IndexIVFScalarQuantizer by Euclidean distance.

    This is a third faster than single precision at the same recall, because the space re-ranks the candidates
    by the stored points.
    """

    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexIVFScalarQuantizer"

    @classmethod
    def empty(cls, columns: int, lists: int) -> Any:
        """Return a faiss index without points."""
        import faiss

        half = faiss.ScalarQuantizer.QT_fp16
        return faiss.IndexIVFScalarQuantizer(faiss.IndexFlatL2(columns), columns, lists, half)

    def settings(self) -> list[Setting]:
        """Return numbers of probes, ascending, each with a short list of 64 and of 256."""
        return [{"probes": number, "shortlist": length} for number in self.probes() for length in (64, 256)]
