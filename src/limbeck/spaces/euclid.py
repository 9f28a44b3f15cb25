"""Define the Euclidean space: the limit of the hyperboloid at curvature 0."""

from __future__ import annotations

import dataclasses
from typing import Literal

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
    weighted_sum,
)
from limbeck.typed import Json

MAX_NORM = 1e6  # fourth powers stay finite in float32
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
        """Convert floats of any precision to float32.

        Raises:
            LimbeckError: the width is wrong, or a row has NaN, infinity or a norm above `MAX_NORM`.
        """
        floats = require_floats(points, self, what)
        with np.errstate(over="ignore"):
            array = np.ascontiguousarray(floats, dtype=np.float32)
        norms = np.sqrt(_squares(array))
        bad = np.flatnonzero(~(norms <= MAX_NORM))
        if bad.size:
            refuse_not_finite(floats, bad[0], what)
            raise LimbeckError(
                f"{what}: row {bad[0]} has norm {norms[bad[0]]:.4g}, which exceeds {MAX_NORM:g}; "
                "scale the vectors down",
                code="E-SPACE-POINTS",
            )
        return array

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return minus the distance, float32 (Q, N), computed in float64."""
        left = self.check(queries, what="queries").astype(np.float64)
        right = self.check(items, what="items")
        result = np.empty((len(left), len(right)), dtype=np.float32)
        step = max(64, _BLOCK_CELLS // max(1, len(left)))
        for start in range(0, len(right), step):
            block = right[start : start + step].astype(np.float64)
            squared = _squares(left)[:, None] + _squares(block) - 2 * left @ block.T
            result[:, start : start + step] = 0 - np.sqrt(np.maximum(squared, 0))
        return result

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Convert the engine's inner product, which is minus the squared distance, to a distance, float32."""
        return np.sqrt(np.maximum(-np.asarray(raw, dtype=np.float64), 0)).astype(np.float32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """Return (x, |x|^2, 1), float32 (N, dim + 2); its product with `index_queries` is -|x - y|^2."""
        array = self.check(points, what="items")
        return _joined(array, _squares(array), np.ones(len(array)))

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """Return (2y, -1, -|y|^2), float32 (Q, dim + 2)."""
        array = self.check(points, what="query")
        return _joined(2 * array, -np.ones(len(array)), -_squares(array))

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the distance, float64; it is exactly 0 for equal points."""
        left, right = checked_broadcast(self.check, queries, items, ("queries", "items"))
        return np.linalg.norm(left.astype(np.float64) - right.astype(np.float64), axis=-1)

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Return minus the squared distance, less the rounding of the float32 sum and the stored squares.

        By the triangle inequality, the norm of an item is at most the norm of the query plus the distance.
        """
        square = _squares(self.check(queries, what="queries").astype(np.float64))
        reach = np.asarray(scores, dtype=np.float64)
        query_norm = np.sqrt(4 * square + 1 + square**2)
        far = (np.sqrt(square) + reach) ** 2
        item_norm = np.minimum(np.sqrt(far + far**2 + 1), longest)
        return -(reach**2) - product_error(self.dim + 6) * query_norm * item_norm

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Return the arithmetic mean."""
        array = checked_stack(self.check, points, axis)
        return np.asarray(array.astype(np.float64).mean(axis=axis), dtype=np.float32)

    def combine(self, weights: ArrayLike, vectors: ArrayLike) -> np.ndarray:
        """Return the weighted sum at the mean norm of its terms, float32 (dim,)."""
        return weighted_sum(weights, self.check(vectors, what="terms")).astype(np.float32)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Return points on the straight line."""
        start, end = (p.astype(np.float64) for p in checked_pair(self.check, a, b))

        def at(share: float) -> np.ndarray:
            return ((1 - share) * start + share * end).astype(np.float32)

        return for_shares(at, t)

    def to_json(self) -> dict[str, Json]:
        """Return the space as JSON, for example ``{"name": "euclid", "dim": 256}``."""
        return {"name": self.name, "dim": self.dim}


def _squares(array: np.ndarray) -> np.ndarray:
    """Return the squared norms of rows (N, D), float64 (N,)."""
    return np.einsum("nd,nd->n", array, array, dtype=np.float64)


def _joined(array: np.ndarray, *columns: np.ndarray) -> np.ndarray:
    return np.column_stack([array, *columns]).astype(np.float32)
