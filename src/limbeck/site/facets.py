"""Stores which items have which value of a column, so that a site can filter without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.site.collection import Collection
from limbeck.site.scripts import base64_text

MOST_VALUES = 20


@dataclass(frozen=True)
class Facet:
    """The most frequent values of a column, with the number of items that have each.

    Attributes:
        column: its name.
        is_list: whether an item has several values.
        values: (value, count), the most frequent first.
    """

    column: str
    is_list: bool
    values: list[tuple[Any, int]]


@dataclass(frozen=True)
class Facets:
    """The columns of a collection by which visitors can filter."""

    collection: Collection
    facets: list[Facet]

    @classmethod
    def of(cls, collection: Collection) -> Facets:
        """Choose columns with few values."""
        found = []
        for name in collection.columns:
            kind = collection.store.schema.field(name).type
            is_list = pa.types.is_list(kind)
            inner = kind.value_type if is_list else kind
            if not (pa.types.is_string(inner) or pa.types.is_boolean(inner)):
                continue
            values = collection.store.items_at(collection.rows, [name]).column(name).combine_chunks()
            values = values.flatten() if is_list else values
            counts = [
                (one["values"], one["counts"])
                for one in values.value_counts().to_pylist()
                if one["values"] is not None
            ]
            counts.sort(key=lambda pair: (-pair[1], str(pair[0])))
            if len(counts) > 1 and counts[0][1] > 1 and counts[0][1] < len(collection.rows):
                found.append(Facet(name, is_list, counts[:MOST_VALUES]))
        return cls(collection, found)

    def told(self) -> list[dict[str, Any]]:
        """Return the JSON that the page reads."""
        return [
            {
                "name": facet.column,
                "list": facet.is_list,
                "values": [{"value": value, "count": count} for value, count in facet.values],
            }
            for facet in self.facets
        ]

    def bitmaps(self) -> Iterator[list[str]]:
        """Yield for each column the items of each value, as packed bits, by the index's own filter."""
        store, rows = self.collection.store, self.collection.rows
        for facet in self.facets:
            verb = "has" if facet.is_list else "="
            masks = [store.where(f"`{facet.column}` {verb} {_quoted(value)}") for value, _ in facet.values]
            yield [base64_text(np.packbits(mask[rows]).tobytes()) for mask in masks]


def _quoted(value: str | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else "'" + value.replace("'", "''") + "'"
