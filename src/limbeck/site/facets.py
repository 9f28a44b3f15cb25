"""Stores which items have which value of a column, so that a site can filter without a server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from limbeck.index.facets import Facet, facets
from limbeck.site.collection import Collection
from limbeck.site.scripts import base64_text
from limbeck.typed import Json


@dataclass(frozen=True)
class Facets:
    """The columns of a collection by which visitors can filter."""

    collection: Collection
    facets: list[Facet]

    @classmethod
    def of(cls, collection: Collection) -> Facets:
        """Choose the published columns whose values repeat."""
        found = [one for one in facets(collection.store) if one.column in collection.columns]
        return cls(collection, found)

    def told(self) -> list[dict[str, Json]]:
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
            masks = [store.where(facet.where(value))[rows] for value, _ in facet.values]
            yield [base64_text(np.packbits(mask).tobytes()) for mask in masks]
