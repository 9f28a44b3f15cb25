"""Defines a hit of a search: an item with its score, other columns and picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.typed import Json

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Hit:
    """Holds one hit of a search.

    Attributes:
        id: the id of the item.
        score: cosine similarity, Hamming distance or geodesic distance; ``Index.score_name`` names the kind.
        metadata: the item's other columns, such as ``path``, ``labels``, ``tags``, ``captions``.
        row: the item's row in the index.
        confidence: the probability that the hit is right (`limbeck.index.confidence`); None where the index
            or the query has no calibration.
        alike: ids of the near-duplicates that were folded into this hit, nearest first.
    """

    id: str
    score: float
    metadata: dict[str, Any]
    row: int
    confidence: float | None = None
    alike: tuple[str, ...] = ()

    def to_json(self, rank: int) -> dict[str, Json]:
        """Return the hit as JSON, with its confidence and the folded ids where it has some."""
        value: dict[str, Json] = {"rank": rank, "id": self.id, "score": self.score, "metadata": self.metadata}
        value |= {} if self.confidence is None else {"confidence": round(self.confidence, 4)}
        return value | ({"alike": list(self.alike)} if self.alike else {})


@dataclass(frozen=True)
class Found:
    """Holds the ranking of one query, n items nearest first, before their columns are read.

    Attributes:
        scores: (n,), as ``Hit.score``.
        rows: int64 (n,).
        confidence: float64 (n,), as ``Hit.confidence``, or None.
        alike: for each item the rows that are folded into it; None if nothing is folded.
    """

    scores: np.ndarray
    rows: np.ndarray
    confidence: np.ndarray | None = None
    alike: list[np.ndarray] | None = None

    def confident(self, confidence: np.ndarray | None, least: float | None) -> Found:
        """Return the ranking with its confidence, and without hits of less than ``least``."""
        if confidence is None or least is None:
            return replace(self, confidence=confidence)
        kept = np.flatnonzero(confidence >= least)
        alike = None if self.alike is None else [self.alike[at] for at in kept]
        return Found(self.scores[kept], self.rows[kept], confidence[kept], alike)


def picture_of(store: IndexStore, hit: Hit, media: Path | str | None) -> Image.Image:
    """Open the picture of a hit; see `limbeck.Index.picture`."""
    from limbeck.pictures import open_picture

    root, path = media or store.manifest.media_root, hit.metadata.get("path")
    if root is None or path is None:
        raise LimbeckError(
            f"{store.path}: item {hit.id!r} has no picture recorded; give --media DIR", code="E-INDEX-MEDIA"
        )
    return open_picture(path, archive=Path(root)) if Path(root).is_file() else open_picture(Path(root) / path)
