"""What a collection says about itself: one JSON value, its description in Milvus."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.manifest import SegmentEntry
from limbeck.index.milvus.columns import Column
from limbeck.index.store import IndexStore
from limbeck.spaces import Space

FORMAT = 1


@dataclass(frozen=True)
class Layout:
    """How points lie in a collection, and by which metric Milvus compares them.

    Codes by Hamming distance. Vectors, where every one is compared, by the inner product that gives their
    order in the space (`Space.index_items`); where lists are searched by Euclidean distance of
    `Space.coordinates`, since on the hyperboloid that inner product is no distance, and a structure built on
    it is silently wrong.
    """

    metric: str
    kind: str
    items: Callable[[Any], np.ndarray]
    queries: Callable[[Any], np.ndarray]

    @classmethod
    def of(cls, space: Space, lists: int) -> Layout:
        """The layout of a space's points, compared one by one or in so many lists."""
        if space.storage == "codes":
            name = "BIN_IVF_FLAT" if lists else "BIN_FLAT"
            return cls("HAMMING", name, space.index_items, space.index_queries)
        if lists:
            return cls("L2", "IVF_FLAT", space.coordinates, space.coordinates)
        return cls("IP", "FLAT", space.index_items, space.index_queries)


@dataclass(frozen=True)
class Record:
    """One state of an index, as it was pushed.

    Attributes:
        space: of the points, as JSON.
        space_id: identity of the image side that made them.
        index: path of the index, for people.
        generation: of the index.
        segments: that were pushed, in the order of their rows; a row's number in the collection counts
            through all of them.
        rows: pushed, without those that had been removed.
        columns: of the items.
        lists: 0 where every item is compared.
        longest: greatest Euclidean norm of a vector in the collection; 0 for codes.
    """

    space: dict[str, Any]
    space_id: str | None
    index: str
    generation: int
    segments: list[SegmentEntry]
    rows: int
    columns: list[Column]
    lists: int
    longest: float

    def to_text(self) -> str:
        """As it stands in the description."""
        return json.dumps({"limbeck": FORMAT, **asdict(self)}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str, what: object) -> Record:
        """Read a description.

        Raises:
            LimbeckError: not one of ours, or of a newer format.
        """
        try:
            value = json.loads(text)
            version = value.pop("limbeck")
        except (ValueError, TypeError, AttributeError, KeyError):
            raise LimbeckError(
                f"{what}: was not made by limbeck index push; choose another name for the collection"
            ) from None
        if version != FORMAT:
            raise LimbeckError(f"{what}: format {version}, this limbeck reads {FORMAT}; upgrade limbeck")
        value["segments"] = [SegmentEntry(**entry) for entry in value["segments"]]
        value["columns"] = [Column(**entry) for entry in value["columns"]]
        return cls(**value)

    def is_of(self, store: IndexStore) -> bool:
        """Whether it was pushed from this index, in this state or an earlier one."""
        names = {entry.name for entry in store.manifest.segments}
        known = any(entry.name in names for entry in self.segments)
        same = self.space == store.space.to_json() and self.space_id == store.manifest.space_id
        return same and (known or self.index == str(Path(store.path).resolve()))

    def check(self, store: IndexStore, what: object) -> None:
        """Refuse a collection whose rows are not rows of this state of the index.

        Raises:
            LimbeckError: another space, another model, segments that the index no longer has.
        """
        if self.space != store.space.to_json():
            raise LimbeckError(
                f"{what}: holds points of {_named(self.space)}, the index of "
                f"{_named(store.space.to_json())}; name the collection of this index"
            )
        if self.space_id != store.manifest.space_id:
            raise LimbeckError(
                f"{what}: holds points of another model (space_id {self.space_id}, the index "
                f"{store.manifest.space_id}); push this index under another name, or --replace"
            )
        names = {entry.name for entry in store.manifest.segments}
        if not all(entry.name in names for entry in self.segments):
            raise LimbeckError(
                f"{what}: stale, it holds generation {self.generation} of {self.index}, this index is at "
                f"{store.manifest.generation} and its rows were rewritten; run limbeck index push "
                f"{store.path} {what} again"
            )


def _named(space: dict[str, Any]) -> str:
    return " ".join(f"{key}={value}" if key != "name" else str(value) for key, value in space.items())
