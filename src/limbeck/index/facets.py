"""Counts the values of an index's columns, to offer them as filters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.index.file_state import COLUMN as FILE_STATE
from limbeck.index.store import EMBEDDING, IndexStore

_HIDDEN = (EMBEDDING, FILE_STATE)


@dataclass(frozen=True)
class Facet:
    """Holds the most frequent values of a column.

    Attributes:
        column: its name.
        is_list: whether the column holds lists, so that an item may have several values.
        values: (value, number of items), the most frequent first, equal numbers by value.
        distinct: the number of different values in the index.
    """

    column: str
    is_list: bool
    values: list[tuple[str | bool, int]]
    distinct: int

    def where(self, value: str | bool) -> str:
        """Return the filter for the items with a value."""
        name = f"`{self.column}`"
        if isinstance(value, bool):
            return f"{name} = {str(value).lower()}"
        quoted = "'" + value.replace("'", "''") + "'"
        return f"{name} {'has' if self.is_list else '='} {quoted}"


def facets(store: IndexStore, limit: int = 20, where: str | None = None) -> list[Facet]:
    """Return the facets of the columns of texts, lists of texts and booleans whose values repeat.

    A column whose values occur less than twice on average, such as a path or a caption, is left out. Numbers
    and times are left out too.

    Args:
        store: the index.
        limit: the number of values per column.
        where: a filter; only the items that match are counted, in the same columns.

    Raises:
        LimbeckError: the filter is invalid.
    """
    mask = None if where is None else store.where(where)
    found = []
    for field in store.schema:
        listed = pa.types.is_list(field.type)
        kind = field.type.value_type if listed else field.type
        if field.name in ("id", *_HIDDEN) or not (pa.types.is_string(kind) or pa.types.is_boolean(kind)):
            continue
        counts = _counts(store, field.name, listed, None)
        if not counts.total() >= 2 * len(counts) > 0:
            continue
        distinct = len(counts)
        if mask is not None:
            counts = _counts(store, field.name, listed, mask)
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
        found.append(Facet(field.name, listed, ranked[:limit], distinct))
    return found


def _counts(store: IndexStore, name: str, listed: bool, mask: np.ndarray | None) -> Counter[str | bool]:
    """Count the values of a column in the live rows that the mask allows."""
    counts: Counter[str | bool] = Counter()
    for start, segment in zip(store.starts, store.segments, strict=False):
        rows = segment.alive() if mask is None else segment.alive() & mask[start : start + segment.rows]
        column = segment.column(name)
        counts.update(_counted(column if rows.all() else column.filter(pa.array(rows)), listed))
    return counts


def _counted(column: pa.ChunkedArray, listed: bool) -> dict[str | bool, int]:
    """Return the number of rows with each value; a value that a list repeats counts once."""
    if listed:
        pairs = [
            pa.table({"row": pc.list_parent_indices(chunk), "value": pc.list_flatten(chunk)})
            for chunk in column.chunks
        ]
        parts = [table.group_by(["row", "value"]).aggregate([]).column("value") for table in pairs]
        column = pa.chunked_array([chunk for part in parts for chunk in part.chunks], column.type.value_type)
    counts = column.drop_null().value_counts()
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
