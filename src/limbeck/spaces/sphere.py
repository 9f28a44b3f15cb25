"""Define the unit sphere: unit vectors, compared by cosine similarity."""

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

_UNIT_TOLERANCE = 1e-2  # half-precision towers round unit vectors by about 1e-3


@dataclasses.dataclass(frozen=True)
class Sphere(Vectors, NoCones):
    """The space of unit vectors, float32 (N, dim), compared by cosine similarity."""

    dim: int
    name: str = dataclasses.field(default="sphere", init=False, repr=False)
    storage: Literal["vectors", "codes"] = dataclasses.field(default="vectors", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="similarity", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=1, init=False, repr=False)

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Convert floats of any precision to float32.

        Raises:
            LimbeckError: the width is wrong, or a row has NaN, infinity or a norm other than 1.
        """
        array = require_floats(points, self, what)
        array = np.ascontiguousarray(array, dtype=np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", array, array))
        bad = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))
        if bad.size:
            refuse_not_finite(array, bad[0], what)
            raise LimbeckError(
                f"{what}: row {bad[0]} has length {lengths[bad[0]]:.4g}, not 1; normalise the vectors",
                code="E-SPACE-POINTS",
            )
        return array

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """Normalise vectors of any norm except 0 to norm 1, float32 (N, dim)."""
        array = require_floats(points, self, what).astype(np.float64)
        lengths = np.sqrt(np.einsum("nd,nd->n", array, array))
        bad = np.flatnonzero(~(lengths > 0))
        if bad.size:
            refuse_not_finite(array, bad[0], what)
            raise LimbeckError(
                f"{what}: row {first + bad[0]} is all zeros and has no direction; remove that item",
                code="E-SPACE-POINTS",
            )
        return np.ascontiguousarray(array / lengths[:, None], dtype=np.float32)

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the cosine similarity, float32 (Q, N)."""
        return self.check(queries, what="queries") @ self.check(items, what="items").T

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Return the engine's inner product, which is the cosine similarity, as float32."""
        return np.asarray(raw, dtype=np.float32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """Return the checked vectors, float32 (N, dim)."""
        return self.check(points, what="items")

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """Return the checked vectors, float32 (Q, dim)."""
        return self.check(points, what="query")

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the cosine similarity, float64."""
        left, right = checked_broadcast(self.check, queries, items, ("queries", "items"))
        return np.einsum("...d,...d->...", left.astype(np.float64), right.astype(np.float64))

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Return the cosine similarity less the rounding of its float32 sum."""
        norms = np.linalg.norm(self.check(queries, what="queries").astype(np.float64), axis=1)
        return np.asarray(scores, np.float64) - product_error(self.dim + 1) * norms * longest

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Return the mean vector, normalised to norm 1."""
        array = checked_stack(self.check, points, axis)
        total = array.astype(np.float64).sum(axis=axis)
        length = np.linalg.norm(total, axis=-1, keepdims=True)
        if not (length > 1e-6).all():
            raise LimbeckError(
                "points: they cancel out, so their mean has no direction; choose other points",
                code="E-SPACE-POINTS",
            )
        return (total / length).astype(np.float32)

    def combine(self, weights: ArrayLike, vectors: ArrayLike) -> np.ndarray:
        """Return the weighted sum of unit vectors, normalised, float32 (dim,)."""
        return weighted_sum(weights, self.check(vectors, what="terms")).astype(np.float32)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Return points on the great circle at constant speed (slerp; Shoemake 1985)."""
        start, end = checked_pair(self.check, a, b)
        x, y = start.astype(np.float64), end.astype(np.float64)
        # atan2 of the chords is accurate for small angles, where acos of the dot product is not.
        angle = 2 * np.arctan2(
            np.linalg.norm(x - y, axis=-1, keepdims=True), np.linalg.norm(x + y, axis=-1, keepdims=True)
        )
        if (angle > np.pi - 1e-4).any():
            raise LimbeckError(
                "interpolate: opposite points have no unique shortest path; choose other ends",
                code="E-SPACE-POINTS",
            )

        def at(share: float) -> np.ndarray:
            straight = angle < 1e-6
            sine = np.where(straight, 1.0, np.sin(angle))
            weight_x = np.where(straight, 1 - share, np.sin((1 - share) * angle) / sine)
            weight_y = np.where(straight, share, np.sin(share * angle) / sine)
            point = weight_x * x + weight_y * y
            return (point / np.linalg.norm(point, axis=-1, keepdims=True)).astype(np.float32)

        return for_shares(at, t)

    def to_json(self) -> dict[str, Json]:
        """Return the space as JSON, for example ``{"name": "sphere", "dim": 256}``."""
        return {"name": self.name, "dim": self.dim}
