"""Define the Lorentz space: points of the hyperboloid, geodesic distance, and entailment cones."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces import hyperboloid
from limbeck.spaces.base import (
    Vectors,
    checked_broadcast,
    checked_pair,
    checked_rows,
    checked_stack,
    for_shares,
    product_error,
    refuse_not_finite,
    require_floats,
    weighted_sum,
)
from limbeck.typed import Json

MAX_RADIUS = 12.0  # in units of 1/√curv; beyond it float32 has no correct digits
_CURV_BOUNDS = (1e-6, 1e6)
BLOCK_CELLS = 1 << 20  # float64 distances computed at once


@dataclasses.dataclass(frozen=True)
class Lorentz(Vectors):
    """The hyperboloid of curvature -curv, compared by geodesic distance.

    A point is stored as its space part, float32 (N, dim). The time part √(1/curv + ‖x‖²) is recomputed where
    it is needed. Lengths are in the unit of the coordinates; the radius of curvature is 1/√curv. Source: MERU
    (Desai et al. 2023).
    """

    dim: int
    curv: float
    name: str = dataclasses.field(default="lorentz", init=False, repr=False)
    storage: Literal["vectors", "codes"] = dataclasses.field(default="vectors", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="distance", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=-1, init=False, repr=False)
    has_cones: bool = dataclasses.field(default=True, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high = _CURV_BOUNDS
        number = isinstance(self.curv, int | float | np.integer | np.floating)
        if not number or isinstance(self.curv, bool) or not low <= self.curv <= high:
            raise LimbeckError(
                f"curv: {self.curv!r} is not a positive number between {low:g} and {high:g} "
                "(the curvature is -curv)",
                code="E-OPTION-RANGE",
            )
        object.__setattr__(self, "curv", float(self.curv))

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Convert floats of any precision to float32.

        Raises:
            LimbeckError: the width is wrong, or a row has NaN, infinity or a radius above `MAX_RADIUS`.
        """
        floats = require_floats(points, self, what)
        with np.errstate(over="ignore", invalid="ignore"):  # such rows raise an error below
            array = np.ascontiguousarray(floats, dtype=np.float32)
            norms = np.sqrt(self.curv * np.einsum("nd,nd->n", array, array, dtype=np.float64))
        bad = np.flatnonzero(~(norms <= math.sinh(MAX_RADIUS)))
        if bad.size:
            refuse_not_finite(floats, bad[0], what)
            raise LimbeckError(
                f"{what}: row {bad[0]} is {np.arcsinh(norms[bad[0]]):.4g}/√curv from the origin, "
                f"where float32 has no correct digits; limit the radius to {MAX_RADIUS:g}/√curv",
                code="E-SPACE-POINTS",
            )
        return array

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return minus the geodesic distance, float32 (Q, N), computed in float64.

        It is accurate for close points, too.
        """
        left = self.check(queries, what="queries").astype(np.float64)
        right = self.check(items, what="items")
        result = np.empty((len(left), len(right)), dtype=np.float32)
        step = max(64, BLOCK_CELLS // max(1, len(left)))
        for start in range(0, len(right), step):
            block = right[start : start + step].astype(np.float64)
            z = hyperboloid.pairwise_excess(left, block, self.curv)
            result[:, start : start + step] = 0 - hyperboloid.length(z, self.curv)
        return result

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Convert the engine's inner product to a distance, float32: acosh(-curv · raw)/√curv.

        For close points it has few correct digits, because the engine sums in float32; `rescore` is accurate.
        """
        z = np.maximum(-self.curv * np.asarray(raw, dtype=np.float64) - 1, 0)
        return hyperboloid.length(z, self.curv).astype(np.float32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """Return (x, x_t), float32 (N, dim + 1).

        Its inner product with `index_queries` is the Lorentz inner product.
        """
        return self._with_time(self.check(points, what="items"), 1)

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """Return (y, -y_t), float32 (Q, dim + 1)."""
        return self._with_time(self.check(points, what="query"), -1)

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the geodesic distance, float64; it is exactly 0 for equal points."""
        left, right = checked_broadcast(self.check, queries, items, ("queries", "items"))
        z = hyperboloid.excess(left.astype(np.float64), right.astype(np.float64), self.curv)
        return hyperboloid.length(z, self.curv)

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Return -cosh(√curv · distance)/curv, less the rounding of the float32 sum and of the time parts.

        An item within distance d of a query at radius r is within r + d of the origin. This bounds its time
        part and the rounding, even where `longest` comes from an item far from the origin.
        """
        left = self.check(queries, what="queries").astype(np.float64)
        root, reach = math.sqrt(self.curv), np.asarray(scores, dtype=np.float64)
        query_norm = np.sqrt(2) * hyperboloid.time(left, self.curv)
        item_norm = np.sqrt(2) * np.cosh(root * (self.radius(queries) + reach)) / root
        error = product_error(self.dim + 5) * query_norm * np.minimum(item_norm, longest)
        return -np.cosh(root * reach) / self.curv - error

    def coordinates(self, points: ArrayLike) -> np.ndarray:
        """Return the coordinates in the Poincaré ball, √curv·x / (1 + √curv·x_t), float32 (N, dim).

        The map preserves angles, so near neighbours stay near. In our measurements, 200 candidates by
        Euclidean distance contain all ten nearest neighbours; with space parts or tangent vectors some are
        missing.
        """
        array, root = self.check(points), math.sqrt(self.curv)
        time = hyperboloid.time(array.astype(np.float64), self.curv)[:, None]
        return np.asarray(root * array / (1 + root * time), dtype=np.float32)

    def stretch(self, points: ArrayLike) -> np.ndarray:
        """Return 1 / (1 − |u|²) = (1 + √curv·x_t) / 2, float32 (N,), with u from `coordinates`.

        For two points u and v, cosh(√curv·d) − 1 is 2|u − v|² times both factors.
        """
        array = self.check(points)
        time = np.sqrt(1 / self.curv + np.einsum("nd,nd->n", array, array, dtype=np.float64))
        return np.asarray((1 + math.sqrt(self.curv) * time) / 2, dtype=np.float32)

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Return the mean in the tangent space at the origin: exp0 of the mean of log0 (MERU, zero-shot)."""
        array = checked_stack(self.check, points, axis).astype(np.float64)
        tangent = hyperboloid.log_map0(array, self.curv).mean(axis=axis)
        return hyperboloid.exp_map0(tangent, self.curv).astype(np.float32)

    def combine(self, weights: ArrayLike, vectors: ArrayLike) -> np.ndarray:
        """Return the weighted sum in the tangent space at the origin, at the mean radius, float32 (dim,)."""
        points = self.check(vectors, what="terms")
        if len(points) == 1 and np.all(np.asarray(weights) > 0):
            return np.asarray(weighted_sum(weights, points).astype(np.float32))  # the maps would round it
        tangent = hyperboloid.log_map0(points.astype(np.float64), self.curv)
        total = hyperboloid.exp_map0(weighted_sum(weights, tangent), self.curv)
        return np.asarray(total.astype(np.float32))

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Return points on the straight line in the tangent space at the origin (MERU, image traversals)."""
        start, end = (
            hyperboloid.log_map0(p.astype(np.float64), self.curv) for p in checked_pair(self.check, a, b)
        )

        def at(share: float) -> np.ndarray:
            tangent = (1 - share) * start + share * end
            return hyperboloid.exp_map0(tangent, self.curv).astype(np.float32)

        return for_shares(at, t)

    def radius(self, points: ArrayLike) -> np.ndarray:
        """Return the geodesic distance from the origin, float64: asinh(√curv‖x‖)/√curv."""
        x = checked_rows(self.check, points, "points").astype(np.float64)
        root = math.sqrt(self.curv)
        return np.arcsinh(root * np.sqrt(hyperboloid.dot(x, x))) / root

    def exterior_angle(self, general: ArrayLike, specific: ArrayLike) -> np.ndarray:
        """Return the angle between each general point's outward ray and the geodesic to its specific point.

        Source: MERU, entailment loss.

        Args:
            general: (…, dim), apexes of the cones.
            specific: (…, dim); leading dimensions broadcast.

        Returns:
            (…), in radians, 0 to π: 0 where both are one point, π/2 for a general point at the origin.
        """
        x, y = checked_broadcast(self.check, general, specific, ("general", "specific"))
        return hyperboloid.exterior_angle(x.astype(np.float64), y.astype(np.float64), self.curv)

    def cone_excess(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Return exterior angle minus half aperture, in radians, float64.

        Source: MERU, the entailment loss before its clamp at 0.

        Args:
            general: (…, dim), apexes of the cones.
            specific: (…, dim); leading dimensions broadcast.
            min_radius: MERU's K, in units of 1/√curv. Within 2K of the origin the cone is a half-space.

        Returns:
            (…). A cone contains its apex, and the cone of the origin contains every point.
        """
        _require_positive("min_radius", min_radius)
        outer = self.exterior_angle(general, specific)
        apexes = checked_rows(self.check, general, "general").astype(np.float64)
        return outer - hyperboloid.half_aperture(apexes, self.curv, min_radius)

    def entails(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Return whether each specific point is in its general point's cone (as in `cone_excess`)."""
        return self.cone_excess(general, specific, min_radius) <= 0

    def pairwise_entails(
        self, generals: ArrayLike, specifics: ArrayLike, min_radius: float = 0.1
    ) -> np.ndarray:
        """Return `entails` for every pair of rows: (A, dim) and (B, dim) give bool (A, B)."""
        _require_positive("min_radius", min_radius)
        x = self.check(generals, what="generals").astype(np.float64)
        y = self.check(specifics, what="specifics").astype(np.float64)
        inside = np.empty((len(x), len(y)), dtype=bool)
        step = max(64, BLOCK_CELLS // max(1, len(y)))
        for start in range(0, len(x), step):
            rows = slice(start, start + step)
            inside[rows] = hyperboloid.pairwise_inside(x[rows], y, self.curv, min_radius)
        return inside

    def root(self) -> np.ndarray:
        """Return the origin, float32 (dim,)."""
        return np.zeros(self.dim, dtype=np.float32)

    def to_json(self) -> dict[str, Json]:
        """Return the space as JSON, for example ``{"name": "lorentz", "dim": 256, "curv": 1.0}``."""
        return {"name": self.name, "dim": self.dim, "curv": self.curv}

    def _with_time(self, points: np.ndarray, sign: int) -> np.ndarray:
        joined = np.empty((len(points), self.dim + 1), dtype=np.float32)
        joined[:, :-1] = points
        squares = np.einsum("nd,nd->n", points, points, dtype=np.float64)
        joined[:, -1] = sign * np.sqrt(1 / self.curv + squares)
        return joined


def _require_positive(field: str, value: float) -> None:
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float | np.floating)
        or not 0 < value < math.inf
    ):
        raise LimbeckError(f"{field}: {value!r} is not a positive number", code="E-OPTION-RANGE")
