"""What every space can do, and the checks that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError

_UNIT_ROUNDOFF = 2.0**-24  # of float32


@runtime_checkable
class Space(Protocol):
    """What every space can do. Points are rows: an array of shape (N, width) and of type `dtype`."""

    @property
    def name(self) -> str:
        """Short name, as in `to_json`."""

    @property
    def storage(self) -> Literal["vectors", "codes"]:
        """Which engine searches the points and which kind of file holds them."""

    @property
    def width(self) -> int:
        """Columns of a stored array."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a stored array."""

    @property
    def score_name(self) -> Literal["similarity", "distance"]:
        """What `score` returns: "similarity" (higher is nearer) or "distance" (lower is nearer)."""

    @property
    def score_sign(self) -> int:
        """+1 if a higher score is nearer, -1 if a lower one is: ``similarity = score_sign * score``."""

    @property
    def has_cones(self) -> bool:
        """Whether points entail others; if not, the five verbs of cones, from `radius` on, are refused."""

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """The points as a (N, width) array of `dtype`; anything else is a `LimbeckError` naming `what`."""

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """Rounded points (N, width), or of any length where only directions count, as `check` wants.

        Errors count rows from ``first`` on.
        """

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Similarity of every query to every item, (Q, N), higher is nearer."""

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Turn what the exact engine returns into the score of a hit (see `score_name`), same shape."""

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """The array that an engine stores, (N, columns)."""

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """The array that an engine is asked with, (Q, columns)."""

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Score of each query with its own item, row by row, in full precision.

        (…, width) and (…, width), leading dimensions broadcast, to (…). It depends on the two points alone,
        so equal items have equal scores.
        """

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """The engine's answer beyond which an item is certainly farther than a score, rounding included.

        Args:
            queries: (Q, width).
            scores: (Q,), of `rescore`.
            longest: greatest Euclidean norm of a row of `index_items`.

        Returns:
            (Q,): of an inner product in float32, summed in any order, what is below; of a Hamming distance
            what is above.
        """

    def coordinates(self, points: ArrayLike) -> np.ndarray:
        """float32 (N, D) in which what is near in the space is near in Euclidean distance.

        Where approximate engines look for candidates; only `rescore` orders them.
        """

    def stretch(self, points: ArrayLike) -> np.ndarray:
        """float32 (N,): the squared distance of two `coordinates`, times the stretch of both, orders as
        the space does but for rounding."""

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """The point in the middle of the points along `axis` (not the last one), e.g. of several prompts."""

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """The point a share `t` of the way from `a` to `b`; several `t` add a leading axis."""

    def radius(self, points: ArrayLike) -> np.ndarray:
        """Distance from the root, (…, width) to (…)."""

    def cone_excess(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """How far, in radians, each specific point lies outside the cone of its general one; negative inside.

        (…, width) and (…, width), leading dimensions broadcast, to (…).
        """

    def entails(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Whether each specific point lies in the cone of its general one; bool, shapes as `cone_excess`."""

    def pairwise_entails(
        self, generals: ArrayLike, specifics: ArrayLike, min_radius: float = 0.1
    ) -> np.ndarray:
        """`entails` of every row of one with every row of the other: (A, width), (B, width) to (A, B)."""

    def root(self) -> np.ndarray:
        """The most general point, (width,): it entails every other."""

    def to_json(self) -> dict[str, Any]:
        """The space as JSON; `space_from_json` reads it back."""


class Vectors:
    """A space whose points are float32 vectors (N, dim)."""

    dim: int

    def __post_init__(self) -> None:
        require_whole("dim", self.dim)
        if self.dim < 1:
            raise LimbeckError(f"dim: {self.dim} is below 1")

    @property
    def width(self) -> int:
        """Columns of a stored array."""
        return self.dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32."""
        return np.dtype(np.float32)

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """The points themselves, float32: every vector is one."""
        return np.ascontiguousarray(require_floats(points, self, what), dtype=np.float32)


class NoCones:
    """A space without entailment: its verbs of cones are refused."""

    @property
    def has_cones(self) -> bool:
        """False: no point of this space entails another."""
        return False

    def radius(self, points: ArrayLike) -> np.ndarray:
        """Refused."""
        self._refuse("radius")

    def cone_excess(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Refused."""
        self._refuse("cone_excess")

    def entails(self, general: ArrayLike, specific: ArrayLike, min_radius: float = 0.1) -> np.ndarray:
        """Refused."""
        self._refuse("entails")

    def pairwise_entails(
        self, generals: ArrayLike, specifics: ArrayLike, min_radius: float = 0.1
    ) -> np.ndarray:
        """Refused."""
        self._refuse("pairwise_entails")

    def root(self) -> np.ndarray:
        """Refused."""
        self._refuse("root")

    def _refuse(self, verb: str) -> NoReturn:
        raise LimbeckError(f"{verb}: {self!r} has no entailment cones; take a model in the Lorentz space")


def require_whole(field: str, value: Any) -> None:
    """Refuse what is not a whole number."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise LimbeckError(f"{field}: {value!r} is not a whole number")


def require_matrix(array: np.ndarray, width: int, wanted: str, what: str) -> None:
    """Refuse what is not (N, width)."""
    if array.ndim != 2:
        raise LimbeckError(f"{what}: has shape {array.shape}, expected (N, {width})")
    if array.shape[1] != width:
        raise LimbeckError(f"{what}: has width {array.shape[1]}, expected {wanted}")


def require_floats(points: ArrayLike, space: Any, what: str) -> np.ndarray:
    """The points as they are, if they are floats (N, width) and finite; else refused."""
    array = np.asarray(points)
    if array.dtype.kind != "f":
        raise LimbeckError(f"{what}: holds {array.dtype}, {space!r} needs float vectors")
    require_matrix(array, space.width, f"{space.width}-d vectors", what)
    return array


def refuse_not_finite(array: np.ndarray, row: int, what: str) -> None:
    """Refuse a suspect row if it holds NaN or infinity."""
    if not np.isfinite(array[row]).all():
        raise LimbeckError(f"{what}: row {row} holds NaN or infinity; see what the encoder was given there")


def checked_rows(check: Callable[..., np.ndarray], points: ArrayLike, what: str) -> np.ndarray:
    """Check points of shape (…, width)."""
    array = np.asarray(points)
    if array.ndim < 1:
        raise LimbeckError(f"{what}: has shape {array.shape}, expected (…, width)")
    return check(array.reshape(-1, array.shape[-1]), what=what).reshape(array.shape)


def checked_broadcast(
    check: Callable[..., np.ndarray], a: ArrayLike, b: ArrayLike, what: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray]:
    """Check two sets of points of shape (…, width) whose leading dimensions broadcast."""
    first, second = checked_rows(check, a, what[0]), checked_rows(check, b, what[1])
    try:
        np.broadcast_shapes(first.shape, second.shape)
    except ValueError:
        raise LimbeckError(f"{what[1]}: shape {second.shape} does not fit {what[0]} {first.shape}") from None
    return first, second


def checked_stack(check: Callable[..., np.ndarray], points: ArrayLike, axis: int) -> np.ndarray:
    """Check points of shape (…, width) that are to be averaged over `axis`."""
    array = np.asarray(points)
    if array.ndim < 2 or not -array.ndim <= axis < array.ndim or axis % array.ndim == array.ndim - 1:
        raise LimbeckError(f"points: shape {array.shape} cannot be averaged over axis {axis}")
    if array.shape[axis] == 0:
        raise LimbeckError("points: none given, so there is no mean")
    return checked_rows(check, array, "points")


def checked_pair(
    check: Callable[..., np.ndarray], a: ArrayLike, b: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Check two ends, both (width,) or both (N, width)."""
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim not in (1, 2):
        raise LimbeckError(f"interpolate: the ends have shapes {first.shape} and {second.shape}")
    return checked_rows(check, first, "first end"), checked_rows(check, second, "second end")


def for_shares(at: Callable[[float], np.ndarray], t: ArrayLike) -> np.ndarray:
    """``at`` of a share between 0 and 1, or of several, stacked."""
    shares = np.asarray(t, dtype=np.float64)
    if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise LimbeckError(f"t: {t!r} is not a number, or list of numbers, between 0 and 1")
    return at(float(shares)) if shares.ndim == 0 else np.stack([at(float(share)) for share in shares])


def product_error(terms: int) -> float:
    """Error of a float32 inner product by the norms of its vectors, whatever the order of summation.

    gamma_n = n u / (1 - n u) with u = 2^-24 bounds the error by gamma_n times the sum of the terms' sizes
    (Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1), which Cauchy-Schwarz bounds
    by the norms.
    """
    return terms * _UNIT_ROUNDOFF / (1 - terms * _UNIT_ROUNDOFF)
