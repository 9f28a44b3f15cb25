"""Flat space, compared by Euclidean distance: what a hyperboloid becomes where it is not curved."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces.base import (
    NoCones,
    Vectors,
    checked_broadcast,
    checked_pair,
    checked_stack,
    for_shares,
    product_error,
    refuse_not_finite,
    require_floats,
)

MAX_NORM = 1e6  # squares of squares stay within float32
_BLOCK_CELLS = 1 << 20  # float64 products computed at once


@dataclasses.dataclass(frozen=True)
class Euclid(Vectors, NoCones):
    """Vectors of any length, float32 (N, dim), compared by Euclidean distance."""

    dim: int
    name: str = dataclasses.field(default="euclid", init=False, repr=False)
    storage: Literal["vectors", "codes"] = dataclasses.field(default="vectors", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="distance", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=-1, init=False, repr=False)

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Floats of any precision become float32; wrong width, NaN and lengths over `MAX_NORM` are errors."""
        given = require_floats(points, self, what)
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(given, dtype=np.float32)
        norms = np.sqrt(_squares(array))
        bad = np.flatnonzero(~(norms <= MAX_NORM))
        if bad.size:
            refuse_not_finite(given, bad[0], what)
            raise LimbeckError(
                f"{what}: row {bad[0]} has length {norms[bad[0]]:.4g}, at most {MAX_NORM:g} can be searched; "
                "scale the vectors down"
            )
        return array

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Minus the distance, float32 (Q, N), computed in float64."""
        asked = self.check(queries, what="queries").astype(np.float64)
        stored = self.check(items, what="items")
        result = np.empty((len(asked), len(stored)), dtype=np.float32)
        step = max(64, _BLOCK_CELLS // max(1, len(asked)))
        for start in range(0, len(stored), step):
            block = stored[start : start + step].astype(np.float64)
            squared = _squares(asked)[:, None] + _squares(block) - 2 * asked @ block.T
            result[:, start : start + step] = 0 - np.sqrt(np.maximum(squared, 0))
        return result

    def score(self, raw: ArrayLike) -> np.ndarray:
        """The engine's inner product is minus the squared distance; see `rescore`."""
        return np.sqrt(np.maximum(-np.asarray(raw, dtype=np.float64), 0)).astype(np.float32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """(x, |x|^2, 1), float32 (N, dim + 2): its product with `index_queries` is -|x - y|^2."""
        array = self.check(points, what="items")
        return _joined(array, _squares(array), np.ones(len(array)))

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """(2y, -1, -|y|^2), float32 (Q, dim + 2)."""
        array = self.check(points, what="query")
        return _joined(2 * array, -np.ones(len(array)), -_squares(array))

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Distance, float64; exactly 0 for equal points."""
        asked, stored = checked_broadcast(self.check, queries, items, ("queries", "items"))
        return np.linalg.norm(asked.astype(np.float64) - stored.astype(np.float64), axis=-1)

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Minus the squared distance less the rounding of the float32 sum and of the stored squares.

        An item within that distance of a query is no longer than the query's length and the distance.
        """
        square = _squares(self.check(queries, what="queries").astype(np.float64))
        reach = np.asarray(scores, dtype=np.float64)
        own = np.sqrt(4 * square + 1 + square**2)
        far = (np.sqrt(square) + reach) ** 2
        other = np.minimum(np.sqrt(far + far**2 + 1), longest)
        return -(reach**2) - product_error(self.dim + 6) * own * other

    def coordinates(self, points: ArrayLike) -> np.ndarray:
        """The points themselves, float32 (N, dim)."""
        return self.check(points)

    def stretch(self, points: ArrayLike) -> np.ndarray:
        """1 everywhere."""
        return np.ones(len(self.check(points)), dtype=np.float32)

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Arithmetic mean."""
        array = checked_stack(self.check, points, axis)
        return np.asarray(array.astype(np.float64).mean(axis=axis), dtype=np.float32)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Along the straight line."""
        start, end = (p.astype(np.float64) for p in checked_pair(self.check, a, b))

        def at(share: float) -> np.ndarray:
            return ((1 - share) * start + share * end).astype(np.float32)

        return for_shares(at, t)

    def to_json(self) -> dict[str, Any]:
        """``{"name": "euclid", "dim": 256}``."""
        return {"name": self.name, "dim": self.dim}


def _squares(array: np.ndarray) -> np.ndarray:
    """Squared lengths of rows (N, D), float64."""
    return np.einsum("nd,nd->n", array, array, dtype=np.float64)


def _joined(array: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    return np.column_stack([array, *columns]).astype(np.float32)
