"""Describes the content of a collection as JSON, in the collection's description field."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.manifest import SegmentEntry
from limbeck.index.milvus.columns import Column
from limbeck.index.store import IndexStore
from limbeck.spaces import Space
from limbeck.typed import Json

FORMAT = 1


@dataclass(frozen=True)
class Layout:
    """Defines how points are stored in a collection, and the metric by which Milvus compares them.

    Codes are compared by Hamming distance. Vectors without lists are compared by the inner product that gives
    their order in the space (`Space.index_items`). With lists, they are compared by Euclidean distance of
    `Space.coordinates`: on the hyperboloid the inner product is not a distance, and an inverted file built on
    it is silently wrong.

    Attributes:
        metric: the metric type of Milvus.
        kind: the index type of Milvus.
        items: converts stored points (n, width) to vectors of the collection.
        queries: converts query points (Q, width) to query vectors.
    """

    metric: str
    kind: str
    items: Callable[[np.ndarray], np.ndarray]
    queries: Callable[[np.ndarray], np.ndarray]

    @classmethod
    def of(cls, space: Space, lists: int) -> Layout:
        """Return the layout of a space's points, with ``lists`` inverted lists or 0."""
        if space.storage == "codes":
            name = "BIN_IVF_FLAT" if lists else "BIN_FLAT"
            return cls("HAMMING", name, space.index_items, space.index_queries)
        if lists:
            return cls("L2", "IVF_FLAT", space.coordinates, space.coordinates)
        return cls("IP", "FLAT", space.index_items, space.index_queries)


@dataclass(frozen=True)
class Record:
    """Describes the state of an index that was pushed.

    Attributes:
        space: the space of the points, as JSON.
        space_id: identity of the image side that encoded them.
        index: path of the index, for people to read.
        generation: the generation of the index.
        segments: the pushed segments in row order; rows of the collection are numbered through all of them.
        rows: the number of pushed rows, without removed ones.
        columns: the columns of the items.
        lists: the number of inverted lists; 0 if every item is compared.
        longest: the greatest Euclidean norm of a vector in the collection; 0 for codes or with lists.
    """

    space: dict[str, Json]
    space_id: str | None
    index: str
    generation: int
    segments: list[SegmentEntry]
    rows: int
    columns: list[Column]
    lists: int
    longest: float

    def to_text(self) -> str:
        """Return the text for the description of the collection."""
        return json.dumps({"limbeck": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str, what: object) -> Record:
        """Parse a description.

        Raises:
            LimbeckError: `push_index` did not write it, or its format is newer; the error names ``what``.
        """
        try:
            value = json.loads(text)
            version = value.pop("limbeck")
        except (ValueError, TypeError, AttributeError, KeyError):
            raise LimbeckError(
                f"{what}: was not made by limbeck index push; choose another name for the collection",
                code="E-MILVUS-COLLECTION",
            ) from None
        if version != FORMAT:
            raise LimbeckError(
                f"{what}: format {version}, but this limbeck reads {FORMAT}; upgrade limbeck",
                code="E-FILE-VERSION",
            )
        value["segments"] = [SegmentEntry(**entry) for entry in value["segments"]]
        value["columns"] = [Column(**entry) for entry in value["columns"]]
        return cls(**value)

    def is_of(self, store: IndexStore) -> bool:
        """Return whether it was pushed from this index, in this or an earlier state."""
        names = {entry.name for entry in store.manifest.segments}
        known = any(entry.name in names for entry in self.segments)
        same = self.space == store.space.to_json() and self.space_id == store.manifest.space_id
        return same and (known or self.index == str(Path(store.path).resolve()))

    def check(self, store: IndexStore, what: object) -> None:
        """Check that the rows of the collection are rows of this state of the index.

        Raises:
            LimbeckError: the space or the model differs, or the index no longer has a segment.
        """
        if self.space != store.space.to_json():
            raise LimbeckError(
                f"{what}: holds points of {_named(self.space)}, the index of "
                f"{_named(store.space.to_json())}; give the collection of this index",
                code="E-MILVUS-COLLECTION",
            )
        if self.space_id != store.manifest.space_id:
            raise LimbeckError(
                f"{what}: holds points of another model (space_id {self.space_id}, the index "
                f"{store.manifest.space_id}); push this index under another name, or --replace",
                code="E-MILVUS-COLLECTION",
            )
        names = {entry.name for entry in store.manifest.segments}
        if not all(entry.name in names for entry in self.segments):
            raise LimbeckError(
                f"{what}: is stale: it holds generation {self.generation} of {self.index}, but the rows of "
                f"this index were rewritten since (generation {store.manifest.generation}); run limbeck "
                f"index push {store.path} {what} again",
                code="E-MILVUS-STALE",
            )


def _named(space: dict[str, Json]) -> str:
    return " ".join(f"{key}={value}" if key != "name" else str(value) for key, value in space.items())
