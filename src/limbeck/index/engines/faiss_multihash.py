"""Searches faiss IndexBinaryMultiHash: it finds codes of which one part differs in few bits.

Norouzi, Punjani and Fleet, "Fast Search in Hamming Space with Multi-Index Hashing", CVPR 2012; this
engine stops early, so that it is approximate.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.index.engines.base import Option, Points, RowMask, Setting
from limbeck.index.engines.faiss_base import FaissEngine

_MOST = 5


class MultiHashCodes(FaissEngine):
    """Looks up each part of the query with up to ``flips`` bits flipped."""

    name: ClassVar[str] = "faiss-multihash"
    binary: ClassVar[bool] = True
    kind: ClassVar[str] = "IndexBinaryMultiHash"

    @classmethod
    def options(cls, rows: int, columns: int) -> list[Option]:
        """Return ``parts``, by default of 16 bits, or of 8 for codes of 8 bits."""
        return [Option("parts", max(1, 8 * columns // 16), 1, 8 * columns)]

    @classmethod
    def write(cls, folder: Path, points: Points, options: Mapping[str, int]) -> None:
        """Add every code to the hash table of each part."""
        import faiss

        bits = 8 * points.columns
        length = min(32, bits // options["parts"])
        index = faiss.IndexBinaryMultiHash(bits, options["parts"], length)
        for piece in points.pieces():
            index.add(piece)
        cls.save(index, folder)

    def settings(self) -> list[Setting]:
        """Return 0 to 3 flips; each one more costs about ten times as much."""
        return [{"flips": flips} for flips in range(min(4, self.index.b))]

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set nflip; a filter that allows a tenth of the rows adds one flip (ten times the codes)."""
        more = 0 if allowed is None else round(-np.log10(allowed.share))
        self.index.nflip = min(setting["flips"] + more, self.index.b, _MOST)
