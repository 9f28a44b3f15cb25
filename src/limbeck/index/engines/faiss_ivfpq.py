"""Searches `Space.coordinates` with faiss IndexIVFPQ, an inverted file with product quantization.

Jégou, Douze and Schmid, "Product Quantization for Nearest Neighbor Search", PAMI 2011. Each part takes
one byte, by default a sixteenth of the vectors' memory. The space re-ranks a short list by the stored points.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.index.engines.base import Option, Points, RowMask, Setting, widened
from limbeck.index.engines.faiss_base import FaissEngine

_SAMPLE = 64  # training vectors per centroid
_SHORT, _LONG = 64, 256  # candidates that the space scores


class IvfPqVectors(FaissEngine):
    """Scans the ``probes`` lists (nprobe) whose centroids are nearest to the query."""

    name: ClassVar[str] = "faiss-ivfpq"
    binary: ClassVar[bool] = False
    kind: ClassVar[str] = "IndexIVFPQ"
    lossy: ClassVar[bool] = True

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """Return ``lists`` (nlist), about 4·√rows, and ``parts`` (M), one byte per four columns."""
        lists = min(max(1, rows // 4), 2 ** round(np.log2(4 * np.sqrt(rows))))
        return [Option("lists", lists, 1, rows), Option("parts", -(-columns // 4), 1, columns)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Train centroids and quantizers on a sample, then add all points."""
        import faiss

        width = -(-points.columns // options["parts"]) * options["parts"]
        bits = int(min(8, max(1, np.log2(points.rows))))
        index = faiss.IndexIVFPQ(faiss.IndexFlatL2(width), width, options["lists"], options["parts"], bits)
        index.cp.min_points_per_centroid = index.pq.cp.min_points_per_centroid = 1
        index.train(_padded(points.sample(max(1 << 14, _SAMPLE * options["lists"])), width))
        for piece in points.pieces():
            index.add(_padded(piece, width))
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """Return numbers of probes, ascending, each with a short list of 64 and of 256."""
        probes = [2**power for power in range(10) if 2**power <= max(1, self.index.nlist // 2)]
        return [{"probes": number, "shortlist": length} for number in probes for length in (_SHORT, _LONG)]

    def ready(self, queries: np.ndarray) -> np.ndarray:
        """Append columns of zeros, so that all parts have the same width."""
        return _padded(queries, self.index.d)

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set nprobe."""
        self.index.nprobe = widened(setting["probes"], allowed, self.index.nlist)


def _padded(points: np.ndarray, width: int) -> np.ndarray:
    return np.pad(points, ((0, 0), (0, width - points.shape[1])))
