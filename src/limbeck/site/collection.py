"""Reads what a site publishes of an index: points, ids, metadata, values to filter by, and examples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.embeddings import require_kept
from limbeck.index.file_state import COLUMN as FILE_STATE
from limbeck.index.store import EMBEDDING, IndexStore
from limbeck.index.texts import table_texts

SHARD = 64  # items per script: a page of hits loads one for almost every hit, so they are small
_MACHINE = (EMBEDDING, FILE_STATE)
_ITEMS, _TEXTS, _READ = 12, 6, 500  # example items and texts, and the items whose texts are read


@dataclass(frozen=True)
class Collection:
    """The published part of an index; its items are numbered without the removed ones.

    Attributes:
        store: the index.
        columns: the columns that are published.
        paths: whether ids that are the names of files are published; otherwise the items are numbered.
    """

    store: IndexStore
    columns: tuple[str, ...]
    paths: bool

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
                    f"--columns: there is no column {name!r}; columns are {', '.join(there) or 'none'}",
                    code="E-TABLE-COLUMN",
                )
        wanted = there if columns is None else list(dict.fromkeys(columns))
        return cls(
            store, tuple(name for name in wanted if name != "path" or paths or columns is not None), paths
        )

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows of the items in the index, int64 (N,)."""
        alive = self.store.alive
        return np.arange(self.store.rows) if alive is None else np.flatnonzero(alive)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the items; numbers from 1 where an id is the name of a file that stays private."""
        table = self.store.items_at(
            self.rows, ["id", "path"] if "path" in self.store.schema.names else ["id"]
        )
        ids: list[str] = table.column("id").to_pylist()
        if self.paths or "path" not in table.column_names:
            return ids
        pairs = zip(ids, table.column("path").to_pylist(), strict=True)
        named = any(item == path for item, path in pairs)
        return [str(number + 1) for number in range(len(ids))] if named else ids

    def points(self) -> bytes:
        """Return the points as static/scan.js reads them: words of 32 bits, or float32 numbers."""
        points = self.store.points_at(self.rows)
        if self.store.space.storage == "codes":
            points = np.pad(points, ((0, 0), (0, -points.shape[1] % 4)))
        return points.tobytes()

    def embeddings(self) -> bytes:
        """Return the kept embeddings in half precision; NaN for an item without one."""
        column = self.store.items_at(self.rows, [EMBEDDING]).column(EMBEDDING).combine_chunks()
        there = column.is_valid().to_numpy(zero_copy_only=False)
        found = np.full((len(self.rows), require_kept(self.store).width), np.nan, np.float16)
        found[there] = column.flatten().to_numpy().reshape(-1, found.shape[1])  # without the nulls
        return found.tobytes()

    def shards(self, pictures: Sequence[bool]) -> Iterator[list[list[object]]]:
        """Yield the items as lists of [id, metadata, whether it has a thumbnail], `SHARD` at a time."""
        hidden = [name for name in self.store.schema.names if name not in ("id", *self.columns)]
        for start in range(0, len(self.rows), SHARD):
            part = slice(start, start + SHARD)
            items = self.store.metadata(self.rows[part], hidden)
            for item in items:
                del item["id"]  # `ids` has the one to publish
            rows = zip(self.ids[part], items, pictures[part], strict=True)
            yield [[item_id, item, int(there)] for item_id, item, there in rows]

    def examples(self, check: Callable[[str], None] | None) -> tuple[list[str], list[int]]:
        """Draw example queries from the published texts, and example items; the same ones every time.

        ``check`` raises `LimbeckError` for a text that the model does not know; None means no texts.
        """
        draw = np.random.default_rng(self.store.manifest.generation)
        drawn = draw.permutation(len(self.rows))
        texts: list[str] = []
        if check is not None and self.columns:
            read = self.store.items_at(self.rows[np.sort(drawn[:_READ])], ["id", *self.columns])
            for text in sorted(table_texts(read), key=_plainness):
                with contextlib.suppress(LimbeckError):
                    check(text)
                    texts.append(text)
                if len(texts) == _TEXTS:
                    break
        return texts, np.sort(drawn[:_ITEMS]).tolist()


def _plainness(text: str) -> int:
    """Return how far a text is from three to six words, which read well as an example."""
    words = len(text.split())
    return max(3 - words, words - 6, 0)
