"""Define the interface of a space, and the checks that the spaces share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError

_UNIT_ROUNDOFF = 2.0**-24  # of float32


@runtime_checkable
class Space(Protocol):
    """The interface of a space; points are the rows of an array of shape (N, width) and type `dtype`."""

    @property
    def name(self) -> str:
        """The short name, as in `to_json`."""

    @property
    def storage(self) -> Literal["vectors", "codes"]:
        """The storage form; it selects the search engine and the file format."""

    @property
    def width(self) -> int:
        """The number of columns of a stored array."""

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of a stored array."""

    @property
    def score_name(self) -> Literal["similarity", "distance"]:
        """The kind of `score`: "similarity" (higher is nearer) or "distance" (lower is nearer)."""

    @property
    def score_sign(self) -> int:
        """+1 if a higher score is nearer, -1 if a lower one is: ``similarity = score_sign * score``."""

    @property
    def has_cones(self) -> bool:
        """Whether the space has entailment cones; without them the cone methods raise an error."""

    @property
    def is_indexable(self) -> bool:
        """Whether the engines of an index can rank by the similarity of the space."""

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Return the points as a (N, width) array of `dtype`.

        Raises:
            LimbeckError: the points are invalid; the message names ``what`` and the row.
        """

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """Return rounded points (N, width) as valid points for `check`.

        On the sphere, vectors of any length except 0 are normalised.

        Args:
            points: (N, width), floats of any precision, or codes.
            what: name of the points in errors.
            first: row number of the first point in errors.

        Raises:
            LimbeckError: the points are invalid.
        """

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the similarity of every query to every item, (Q, N); higher is nearer."""

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Convert the raw output of the exact engine to scores (see `score_name`) of the same shape."""

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """Return the array that an engine stores, (N, columns)."""

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """Return the query array of an engine, (Q, columns)."""

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the score of each query with the item of the same row, in full precision.

        The score depends on the two points only, so equal items have equal scores.

        Args:
            queries: (…, width).
            items: (…, width); leading dimensions broadcast.

        Returns:
            (…).
        """

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Return the raw engine output beyond which an item is certainly farther than a score.

        The limit includes the rounding error of the engine.

        Args:
            queries: (Q, width).
            scores: (Q,), from `rescore`.
            longest: largest Euclidean norm of a row of `index_items`.

        Returns:
            (Q,). An item is farther if its inner product (float32, summed in any order) is below the limit,
            or its Hamming distance above it.
        """

    def coordinates(self, points: ArrayLike) -> np.ndarray:
        """Return float32 (N, D) whose Euclidean neighbours are neighbours in the space.

        Approximate engines search candidates in these coordinates; only `rescore` ranks them.
        """

    def stretch(self, points: ArrayLike) -> np.ndarray:
        """Return a factor per point, float32 (N,).

        The squared distance of two `coordinates` times the factors of both points gives the order of the
        space, up to rounding.
        """

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Return the mean of the points along `axis` (not the last axis), for example of several prompts."""

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Return the point at share `t` (0 to 1) of the path from `a` to `b`.

        Several values of `t` add a leading axis.
        """

    def combine(self, weights: ArrayLike, vectors: ArrayLike) -> np.ndarray:
        """Return the weighted sum of the terms of a query, (D,); their order does not matter (ours).

        The sum has the direction of Σ wᵢ·vᵢ and the mean length of the terms, weighted by |wᵢ|. So one term
        of positive weight stays as it is, and a sum is as long as its terms on average. A Lorentz point is
        added in the tangent space at the origin.

        Args:
            weights: (T,), finite and not 0; a negative weight leads away from its term.
            vectors: points (T, width); for codes, the real numbers (T, bits) before the signs, of any
                length, and so is the result.

        Raises:
            LimbeckError: a weight is 0 or not finite, the numbers of rows differ, or the terms cancel out.
        """

    def radius(self, points: ArrayLike) -> np.ndarray:
        """Return the distance from the root, (…, width) to (…), in the space's unit of length."""

    def exterior_angle(self, general: ArrayLike, specific: ArrayLike) -> np.ndarray:
        """Return the angle, in radians, from the axis of each general point's cone to its specific point.

        (…, width) and (…, width) give (…); leading dimensions broadcast.
        """

    def cone_excess(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Return the angle, in radians, from the cone of each general point to its specific point.

        The angle is negative or 0 inside the cone. (…, width) and (…, width) give (…); leading dimensions
        broadcast.
        """

    def entails(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Return whether each specific point is in its general point's cone; bool, as `cone_excess`."""

    def pairwise_entails(
        self, generals: ArrayLike, specifics: ArrayLike, min_radius: float = 0.1
    ) -> np.ndarray:
        """Return `entails` for every pair of rows: (A, width) and (B, width) give bool (A, B)."""

    def root(self) -> np.ndarray:
        """Return the most general point, (width,), which entails every other point."""

    def to_json(self) -> dict[str, Any]:
        """Return the space as a JSON object for `space_from_json`."""


class Vectors:
    """The base class of spaces whose points are float32 vectors (N, dim)."""

    dim: int

    def __post_init__(self) -> None:
        require_whole("dim", self.dim)
        if self.dim < 1:
            raise LimbeckError(f"dim: {self.dim} is below 1; give 1 or more", code="E-OPTION-RANGE")

    @property
    def width(self) -> int:
        """The number of columns of a stored array."""
        return self.dim

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of a stored array: float32."""
        return np.dtype(np.float32)

    @property
    def is_indexable(self) -> bool:
        """True: the similarity is that of an inner product."""
        return True

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """Return the points as float32; every vector is a valid point."""
        return np.ascontiguousarray(require_floats(points, self, what), dtype=np.float32)

    def coordinates(self: Space, points: ArrayLike) -> np.ndarray:
        """Return the points, float32 (N, dim), whose Euclidean distance gives the order of the space."""
        return self.check(points)


class NoCones:
    """The base class of spaces without entailment cones: the cone methods raise a `LimbeckError`."""

    @property
    def has_cones(self) -> bool:
        """Always False: the space has no entailment cones."""
        return False

    def stretch(self: Space, points: ArrayLike) -> np.ndarray:
        """Return 1 for every point, float32 (N,)."""
        return np.ones(len(self.check(points)), dtype=np.float32)

    def radius(self, points: ArrayLike) -> np.ndarray:
        """Raise a `LimbeckError`: the space has no root."""
        self._refuse("radius")

    def exterior_angle(self, general: ArrayLike, specific: ArrayLike) -> np.ndarray:
        """Raise a `LimbeckError`: the space has no cones."""
        self._refuse("exterior_angle")

    def cone_excess(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Raise a `LimbeckError`: the space has no cones."""
        self._refuse("cone_excess")

    def entails(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Raise a `LimbeckError`: the space has no cones."""
        self._refuse("entails")

    def pairwise_entails(
        self, generals: ArrayLike, specifics: ArrayLike, min_radius: float = 0.1
    ) -> np.ndarray:
        """Raise a `LimbeckError`: the space has no cones."""
        self._refuse("pairwise_entails")

    def root(self) -> np.ndarray:
        """Raise a `LimbeckError`: the space has no root."""
        self._refuse("root")

    def _refuse(self, verb: str) -> NoReturn:
        raise LimbeckError(
            f"{verb}: {self!r} has no entailment cones; use a model in the Lorentz space",
            code="E-SPACE-CONES",
        )


def require_whole(field: str, value: object) -> None:
    """Raise a `LimbeckError` unless the value is a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise LimbeckError(
            f"{field}: {value!r} is not a whole number; give an integer", code="E-OPTION-RANGE"
        )


def require_matrix(array: np.ndarray, width: int, wanted: str, what: str) -> None:
    """Raise a `LimbeckError` unless the array has the shape (N, width)."""
    if array.ndim != 2:
        raise LimbeckError(f"{what}: has shape {array.shape}, expected (N, {width})", code="E-ARRAY-SHAPE")
    if array.shape[1] != width:
        raise LimbeckError(f"{what}: has width {array.shape[1]}, expected {wanted}", code="E-ARRAY-SHAPE")


def require_floats(points: ArrayLike, space: Vectors, what: str) -> np.ndarray:
    """Return the points unchanged; raise a `LimbeckError` unless they are floats of shape (N, width)."""
    array = np.asarray(points)
    if array.dtype.kind != "f":
        raise LimbeckError(f"{what}: holds {array.dtype}, {space!r} needs float vectors", code="E-ARRAY-TYPE")
    require_matrix(array, space.width, f"{space.width}-d vectors", what)
    return array


def refuse_not_finite(array: np.ndarray, row: int, what: str) -> None:
    """Raise a `LimbeckError` if a row holds NaN or infinity."""
    if not np.isfinite(array[row]).all():
        raise LimbeckError(
            f"{what}: row {row} holds NaN or infinity; check the input of that row", code="E-ARRAY-VALUES"
        )


def checked_rows(check: Callable[..., np.ndarray], points: ArrayLike, what: str) -> np.ndarray:
    """Check points of shape (…, width) by ``check`` and return them in that shape."""
    array = np.asarray(points)
    if array.ndim < 1:
        raise LimbeckError(f"{what}: has shape {array.shape}, expected (…, width)", code="E-ARRAY-SHAPE")
    return check(array.reshape(-1, array.shape[-1]), what=what).reshape(array.shape)


def checked_broadcast(
    check: Callable[..., np.ndarray], a: ArrayLike, b: ArrayLike, what: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Check two sets of points of shape (…, width) whose leading dimensions broadcast."""
    first, second = checked_rows(check, a, what[0]), checked_rows(check, b, what[1])
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise LimbeckError(
            f"{what[1]}: shape {second.shape} does not broadcast with {what[0]} {first.shape}",
            code="E-ARRAY-SHAPE",
        ) from None
    return first, second


def checked_stack(check: Callable[..., np.ndarray], points: ArrayLike, axis: int) -> np.ndarray:
    """Check points of shape (…, width) before a mean over `axis`."""
    array = np.asarray(points)
    if array.ndim < 2 or not -array.ndim <= axis < array.ndim or axis % array.ndim == array.ndim - 1:
        raise LimbeckError(
            f"points: shape {array.shape} cannot be averaged over axis {axis}; choose another axis",
            code="E-ARRAY-SHAPE",
        )
    if array.shape[axis] == 0:
        raise LimbeckError(
            "points: there are none, so there is no mean; give at least one", code="E-ARRAY-EMPTY"
        )
    return checked_rows(check, array, "points")


def checked_pair(
    check: Callable[..., np.ndarray], a: ArrayLike, b: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Check the two ends of a path, both (width,) or both (N, width)."""
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim not in (1, 2):
        raise LimbeckError(
            f"interpolate: the ends have shapes {first.shape} and {second.shape}; "
            "give both as (width,) or both as (N, width)",
            code="E-ARRAY-SHAPE",
        )
    return checked_rows(check, first, "first end"), checked_rows(check, second, "second end")


def for_shares(at: Callable[[float], np.ndarray], t: ArrayLike) -> np.ndarray:
    """Call ``at`` with a share between 0 and 1, or with each of several shares, and stack the results."""
    shares = np.asarray(t, dtype=np.float64)
    if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise LimbeckError(
            f"t: {t!r} is not a number, or list of numbers, between 0 and 1", code="E-OPTION-RANGE"
        )
    return at(float(shares)) if shares.ndim == 0 else np.stack([at(float(share)) for share in shares])


def weighted_sum(weights: ArrayLike, vectors: np.ndarray) -> np.ndarray:
    """Return `Space.combine` of plain vectors, float64 (D,).

    Each column is added in ascending order, so that the result does not depend on the order of the terms.
    """
    factors, rows = np.asarray(weights, np.float64), np.asarray(vectors, np.float64)
    if factors.ndim != 1 or rows.ndim != 2 or len(factors) != len(rows) or not len(rows):
        raise LimbeckError(
            f"terms: there are {factors.shape} weights for vectors {rows.shape}; give one weight per term",
            code="E-ARRAY-ROWS",
        )
    if not (np.isfinite(factors) & (factors != 0)).all():
        raise LimbeckError(
            f"weight: {factors.tolist()} holds 0 or no number; give finite weights other than 0",
            code="E-OPTION-RANGE",
        )
    if len(rows) == 1 and factors[0] > 0:
        return rows[0]
    sizes = np.sqrt(np.einsum("td,td->t", rows, rows))
    total = np.sort(factors[:, None] * rows, axis=0).sum(axis=0)
    reach, share = np.sort(np.abs(factors) * sizes).sum(), np.sort(np.abs(factors)).sum()
    size = np.sqrt(np.einsum("d,d->", total, total))
    if not size > 1e-6 * reach:
        raise LimbeckError(
            "terms: they cancel out, so their sum has no direction; change a weight or a term",
            code="E-SPACE-POINTS",
        )
    return np.asarray(total * (reach / share / size))


def product_error(terms: int) -> float:
    """Return the error bound of a float32 inner product relative to the norms, for any order of summation.

    With gamma_n = n u / (1 - n u) and u = 2^-24, the error is at most gamma_n times the sum of the absolute
    values of the terms (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1). By
    Cauchy-Schwarz that sum is at most the product of the norms.
    """
    return terms * _UNIT_ROUNDOFF / (1 - terms * _UNIT_ROUNDOFF)
