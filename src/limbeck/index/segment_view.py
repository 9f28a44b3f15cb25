"""Shows a part of an index, some segments or the first bits of its codes, as if it were the whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limbeck.index.store import IndexStore
from limbeck.spaces import Space, prefix_space


class SegmentView:
    """Gives a search access to the segments with the given numbers only.

    Rows are numbered through these segments; `to_store` converts them to rows of the store.
    """

    def __init__(self, store: IndexStore, numbers: Sequence[int]) -> None:
        self._store, self._numbers = store, list(numbers)
        self.space: Space = store.space
        self.points = [store.points[number] for number in self._numbers]
        self.starts: list[int] = np.cumsum([0, *(len(part) for part in self.points)]).tolist()
        self.rows = self.starts[-1]
        self._offsets = np.array([store.starts[number] for number in self._numbers], dtype=np.int64)
        self.alive = None if store.alive is None else self.cut(store.alive)

    def cut(self, mask: np.ndarray) -> np.ndarray:
        """Return these segments' part of a mask over the store's rows."""
        if self.rows == len(mask):
            return mask
        spans = [(start, len(part)) for start, part in zip(self._offsets, self.points, strict=True)]
        return np.concatenate([mask[start : start + size] for start, size in spans] or [np.empty(0, bool)])

    def to_store(self, rows: np.ndarray) -> np.ndarray:
        """Convert rows of this view, of any shape, to rows of the store; negative ones do not change."""
        if self.rows == self._store.rows:
            return rows
        at = np.searchsorted(self.starts, np.maximum(rows, 0), side="right") - 1
        return np.where(rows < 0, rows, rows - np.asarray(self.starts)[at] + self._offsets[at])

    def points_at(self, rows: np.ndarray) -> np.ndarray:
        """Return the stored points (n, width) of rows (n,), in their order."""
        return self._store.points_at(self.to_store(rows))


class PrefixView:
    """Gives a search access to the first bits of the codes of an index.

    Raises:
        LimbeckError: the points are no codes, or have no prefix of ``bits`` bits.
    """

    def __init__(self, store: IndexStore, bits: int) -> None:
        self._store, self.space = store, prefix_space(store.space, bits)
        self.points = [part[:, : self.space.width] for part in store.points]
        self.starts, self.rows, self.alive = store.starts, store.rows, store.alive

    def points_at(self, rows: np.ndarray) -> np.ndarray:
        """Return the prefixes (n, width) of rows (n,), in their order."""
        return self._store.points_at(rows)[:, : self.space.width]
