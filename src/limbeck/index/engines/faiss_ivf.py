"""IndexBinaryIVF of faiss: codes in lists by nearest centre."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.index.engines.base import Allowed, Option, Points, Setting, widened
from limbeck.index.engines.faiss_base import FaissEngine

_SAMPLE = 64  # codes a centre is learned from


class IvfCodes(FaissEngine):
    """Looks at the ``probes`` lists whose centres are nearest to the query."""

    name: ClassVar[str] = "faiss-ivf"
    binary: ClassVar[bool] = True

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """``lists``, about 4·√rows."""
        return [Option("lists", min(rows, 2 ** round(np.log2(4 * np.sqrt(rows)))), 1, rows)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Learn the centres from a sample, then add all codes."""
        import faiss

        quantizer = faiss.IndexBinaryFlat(8 * points.columns)
        index = faiss.IndexBinaryIVF(quantizer, 8 * points.columns, options["lists"])
        index.cp.min_points_per_centroid = 1  # fewer are no reason for a warning
        index.train(points.sample(_SAMPLE * options["lists"]))
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """1, 2, 4, … probes."""
        most = max(1, self.index.nlist // 2)
        return [{"probes": 2**power} for power in range(10) if 2**power <= most]

    def apply(self, setting: Setting, count: int, allowed: Allowed | None) -> None:
        """Set the probes."""
        self.index.nprobe = widened(setting["probes"], allowed, self.index.nlist)
