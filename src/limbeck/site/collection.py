"""Reads what a site publishes of an index: points, ids, metadata, values to filter by, and examples."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.file_state import COLUMN as FILE_STATE
from limbeck.index.store import EMBEDDING, IndexStore

SHARD = 256  # items per script: a page of hits loads a few of them
_MACHINE = (EMBEDDING, FILE_STATE)
_EXAMPLES = 12
_TEXTS = ("captions", "tags", "labels")  # the columns that example queries come from


@dataclass(frozen=True)
class Collection:
    """The published part of an index; its items are numbered without the removed ones.

    Attributes:
        store: the index.
        columns: the columns that are published.
    """

    store: IndexStore
    columns: tuple[str, ...]

    @classmethod
    def of(cls, store: IndexStore, columns: Sequence[str] | None, *, paths: bool) -> Collection:
        """Choose the columns: those named, else all but the paths of files.

        Raises:
            LimbeckError: the index is empty, or has no column of a name.
        """
        if not len(store):
            raise LimbeckError(f"{store.path}: has no items; add some first", code="E-INDEX-EMPTY")
        there = [name for name in store.schema.names if name not in ("id", *_MACHINE)]
        for name in columns or ():
            if name not in there:
                raise LimbeckError(
                    f"--columns: no column {name!r}; columns are {', '.join(there) or 'none'}",
                    code="E-TABLE-COLUMN",
                )
        wanted = there if columns is None else list(dict.fromkeys(columns))
        return cls(store, tuple(name for name in wanted if name != "path" or paths or columns is not None))

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows of the items in the index, int64 (N,)."""
        alive = self.store.alive
        return np.arange(self.store.rows) if alive is None else np.flatnonzero(alive)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the items."""
        ids: list[str] = self.store.items_at(self.rows, ["id"]).column("id").to_pylist()
        return ids

    def points(self) -> bytes:
        """Return the points as static/scan.js reads them: words of 32 bits, or float32 numbers."""
        points = self.store.points_at(self.rows)
        if self.store.space.storage == "codes":
            points = np.pad(points, ((0, 0), (0, -points.shape[1] % 4)))
        return points.tobytes()

    def shards(self, pictures: Sequence[bool]) -> Iterator[list[list[Any]]]:
        """Yield the items as lists of [id, metadata, whether it has a thumbnail], `SHARD` at a time."""
        hidden = [name for name in self.store.schema.names if name not in ("id", *self.columns)]
        for start in range(0, len(self.rows), SHARD):
            items = self.store.metadata(self.rows[start : start + SHARD], hidden)
            shown = pictures[start : start + SHARD]
            yield [[item.pop("id"), item, int(there)] for item, there in zip(items, shown, strict=True)]

    def examples(self) -> tuple[list[str], list[int]]:
        """Draw example queries from the texts of the items, and example items; the same ones every time."""
        draw = random.Random(0)
        rows = sorted(draw.sample(range(len(self.rows)), min(_EXAMPLES, len(self.rows))))
        names = [name for name in _TEXTS if name in self.columns]
        texts: list[str] = []
        for item in self.store.metadata(self.rows[rows], _MACHINE):
            own = next((item[name] for name in names if item[name]), None)
            if own:
                texts.append(own if isinstance(own, str) else str(draw.choice(own)))
        return list(dict.fromkeys(texts))[:6], rows
