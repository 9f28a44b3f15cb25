"""Defines a hit of a search: an item with its score, other columns and picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore

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
    """

    id: str
    score: float
    metadata: dict[str, Any]
    row: int


def picture_of(store: IndexStore, hit: Hit, media: Path | str | None) -> Image.Image:
    """Open the picture of a hit; see `limbeck.Index.picture`."""
    from limbeck.pictures import open_picture

    root, path = media or store.manifest.media_root, hit.metadata.get("path")
    if root is None or path is None:
        raise LimbeckError(
            f"{store.path}: item {hit.id!r} has no picture recorded; give --media DIR", code="E-INDEX-MEDIA"
        )
    return open_picture(path, archive=Path(root)) if Path(root).is_file() else open_picture(Path(root) / path)
