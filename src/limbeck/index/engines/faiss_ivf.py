"""Inverted files of faiss: codes, or the coordinates of vectors, in lists by nearest centre."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from limbeck.index.engines.base import Option, Points, RowMask, Setting, widened
from limbeck.index.engines.faiss_base import FaissEngine

_SAMPLE = 64  # codes a centre is learned from


class _Ivf(FaissEngine, ABC):
    """Looks at the ``probes`` lists whose centres are nearest to the query."""

    name: ClassVar[str] = "faiss-ivf"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """``lists``, about 4·√rows."""
        return [Option("lists", min(rows, 2 ** round(np.log2(4 * np.sqrt(rows)))), 1, rows)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Learn the centres from a sample, then add all points."""
        index = cls.empty(points.columns, options["lists"])
        index.cp.min_points_per_centroid = 1  # fewer are no reason for a warning
        index.train(points.sample(_SAMPLE * options["lists"]))
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    @classmethod
    @abstractmethod
    def empty(cls, columns: int, lists: int) -> Any:
        """An index without points."""

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set the probes."""
        self.index.nprobe = widened(setting["probes"], allowed, self.index.nlist)

    def probes(self) -> list[int]:
        """1, 2, 3, 4, 6, 8, 12, …, at most half of the lists."""
        steps = sorted({2**power for power in range(10)} | {3 * 2**power for power in range(9)})
        return [number for number in steps if number <= max(1, self.index.nlist // 2)]


class IvfCodes(_Ivf):
    """IndexBinaryIVF."""

    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryIVF"

    @classmethod
    def empty(cls, columns: int, lists: int) -> Any:
        """An index without points."""
        import faiss

        return faiss.IndexBinaryIVF(faiss.IndexBinaryFlat(8 * columns), 8 * columns, lists)

    def settings(self) -> list[Setting]:
        """More and more probes."""
        return [{"probes": number} for number in self.probes()]


class IvfVectors(_Ivf):
    """Lists of half-precision `Space.coordinates`, by Euclidean distance.

    A third faster than in single precision, at the same recall: what is found is scored again from the index.
    """

    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexIVFScalarQuantizer"

    @classmethod
    def empty(cls, columns: int, lists: int) -> Any:
        """An index without points."""
        import faiss

        half = faiss.ScalarQuantizer.QT_fp16
        return faiss.IndexIVFScalarQuantizer(faiss.IndexFlatL2(columns), columns, lists, half)

    def settings(self) -> list[Setting]:
        """More and more probes, with a short list and a long one to score."""
        return [{"probes": number, "shortlist": length} for number in self.probes() for length in (64, 256)]
