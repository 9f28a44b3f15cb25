"""Holds the texts of an index: candidates of traversals, and examples of queries."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.search import Index, Term
from limbeck.traversal import split_known

ROWS = 2000  # rows whose texts are read
MOST = 2000  # texts that are encoded


@dataclass(frozen=True)
class Texts:
    """Draws texts of an index, the same ones for each generation.

    Attributes:
        index: the index.
    """

    index: Index

    @functools.cached_property
    def drawn(self) -> list[str]:
        """At most `MOST` texts of `ROWS` random items, in random order."""
        from limbeck.index.texts import table_texts  # with pyarrow.compute, which is slow to import

        store = self.index.store
        rows = self.rows(ROWS)
        found = table_texts(store.items_at(rows))
        return [found[at] for at in _random(self.index).permutation(len(found))[:MOST]]

    @functools.cached_property
    def encoded(self) -> tuple[list[str], np.ndarray]:
        """The texts that the model knows, and their points (N, width).

        Raises:
            LimbeckError: the items have no texts, the model knows none, or the index cannot encode texts.
        """
        if not self.drawn:
            raise LimbeckError(
                f"{self.index.store.path}: has no captions, tags, labels or class paths; "
                "build the index from a data set with texts",
                code="E-DATA-TEXT",
            )
        known, _ = split_known(self.drawn, lambda text: self.index.check([Term(text)]))
        return known, self.index.encode(known)

    def rows(self, count: int) -> np.ndarray:
        """Return at most ``count`` random rows that are not removed, ascending."""
        alive = self.index.store.alive
        rows = np.arange(self.index.store.rows) if alive is None else np.flatnonzero(alive)
        return np.sort(_random(self.index).choice(rows, min(count, len(rows)), replace=False))

    def examples(self, count: int) -> list[str]:
        """Return at most ``count`` short texts that the model knows; none if it reads no texts."""
        found: list[str] = []
        for text in sorted(self.drawn, key=_plainness):
            try:
                self.index.check([Term(text)])
            except LimbeckError as error:
                if error.code != "E-QUERY-WORDS":
                    return []
                continue
            found.append(text)
            if len(found) == count:
                break
        return found


def _plainness(text: str) -> int:
    """Return how far a text is from three to six words, which read well as an example."""
    words = len(text.split())
    return max(3 - words, words - 6, 0)


def _random(index: Index) -> np.random.Generator:
    return np.random.default_rng(index.store.manifest.generation)
