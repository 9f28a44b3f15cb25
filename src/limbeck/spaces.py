"""The spaces that points live in, numpy only: what a stored point is and what "near" means.

A space is a small frozen object with the verbs of `Space`. Code that stores, searches or scores points asks
the space, never *which* space it is. A further space is one more class here and one entry in `_SPACES`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError

MAX_BITS = 4096
_UNIT_TOLERANCE = 1e-2  # half-precision towers round unit vectors by about 1e-3


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

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """The points as a (N, width) array of `dtype`; anything else is a `LimbeckError` naming `what`."""

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Similarity of every query to every item, (Q, N), higher is nearer."""

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Turn what the exact engine returns into the score of a hit (see `score_name`), same shape."""

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """The array that an engine stores, (N, columns)."""

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """The array that an engine is asked with, (Q, columns)."""

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """The point in the middle of the points along `axis` (not the last one), e.g. of several prompts."""

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """The point a share `t` of the way from `a` to `b`; several `t` add a leading axis."""

    def to_json(self) -> dict[str, Any]:
        """The space as JSON; `space_from_json` reads it back."""


@dataclasses.dataclass(frozen=True)
class Sphere:
    """Unit vectors, float32 (N, dim), compared by cosine."""

    dim: int
    name: str = dataclasses.field(default="sphere", init=False, repr=False)
    storage: Literal["vectors", "codes"] = dataclasses.field(default="vectors", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="similarity", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=1, init=False, repr=False)

    def __post_init__(self) -> None:
        _require_whole("dim", self.dim)
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

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Floats of any precision become float32; wrong width, NaN and lengths other than 1 are refused."""
        array = np.asarray(points)
        if array.dtype.kind != "f":
            raise LimbeckError(f"{what}: holds {array.dtype}, Sphere({self.dim}) needs float vectors")
        _require_matrix(array, self.width, f"{self.dim}-d vectors", what)
        array = np.ascontiguousarray(array, dtype=np.float32)
        lengths = np.sqrt(np.einsum("nd,nd->n", array, array))
        bad = np.flatnonzero(~(np.abs(lengths - 1) <= _UNIT_TOLERANCE))
        if bad.size and not np.isfinite(array[bad[0]]).all():
            raise LimbeckError(
                f"{what}: row {bad[0]} holds NaN or infinity; see what the encoder was given there"
            )
        if bad.size:
            raise LimbeckError(
                f"{what}: row {bad[0]} has length {lengths[bad[0]]:.4g}, not 1; normalise the vectors"
            )
        return array

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Cosine, float32 (Q, N)."""
        return self.check(queries, what="queries") @ self.check(items, what="items").T

    def score(self, raw: ArrayLike) -> np.ndarray:
        """The engine's inner product is the cosine already."""
        return np.asarray(raw, dtype=np.float32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """The checked vectors, float32 (N, dim)."""
        return self.check(points, what="items")

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """The checked vectors, float32 (Q, dim)."""
        return self.check(points, what="query")

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Mean vector, brought back to length 1."""
        array = _checked_stack(self.check, points, axis)
        total = array.astype(np.float64).sum(axis=axis)
        length = np.linalg.norm(total, axis=-1, keepdims=True)
        if not (length > 1e-6).all():
            raise LimbeckError("points: they cancel out, so their mean has no direction")
        return (total / length).astype(np.float32)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Along the great circle at constant speed (slerp; Shoemake 1985)."""
        start, end = _checked_pair(self.check, a, b)
        x, y = start.astype(np.float64), end.astype(np.float64)
        # atan2 of the chords keeps its digits where acos of the dot product loses them
        angle = 2 * np.arctan2(
            np.linalg.norm(x - y, axis=-1, keepdims=True), np.linalg.norm(x + y, axis=-1, keepdims=True)
        )
        if (angle > np.pi - 1e-4).any():
            raise LimbeckError("interpolate: opposite points have no one shortest path")

        def at(share: float) -> np.ndarray:
            straight = angle < 1e-6
            sine = np.where(straight, 1.0, np.sin(angle))
            weight_x = np.where(straight, 1 - share, np.sin((1 - share) * angle) / sine)
            weight_y = np.where(straight, share, np.sin(share * angle) / sine)
            point = weight_x * x + weight_y * y
            return (point / np.linalg.norm(point, axis=-1, keepdims=True)).astype(np.float32)

        return _for_shares(at, t)

    def to_json(self) -> dict[str, Any]:
        """``{"name": "sphere", "dim": 256}``."""
        return {"name": self.name, "dim": self.dim}


@dataclasses.dataclass(frozen=True)
class Hamming:
    """Binary codes, uint8 (N, bits / 8) in the order of `numpy.packbits`, compared by Hamming distance."""

    bits: int
    name: str = dataclasses.field(default="hamming", init=False, repr=False)
    storage: Literal["vectors", "codes"] = dataclasses.field(default="codes", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="distance", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=-1, init=False, repr=False)

    def __post_init__(self) -> None:
        _require_whole("bits", self.bits)
        if self.bits % 8 or not 8 <= self.bits <= MAX_BITS:
            raise LimbeckError(f"bits: {self.bits} is not a multiple of 8 between 8 and {MAX_BITS}")

    @property
    def width(self) -> int:
        """Bytes of a stored code."""
        return self.bits // 8

    @property
    def dtype(self) -> np.dtype[Any]:
        """uint8."""
        return np.dtype(np.uint8)

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Packed codes of this length pass; everything else is refused."""
        array = np.asarray(points)
        if array.dtype != np.uint8:
            raise LimbeckError(
                f"{what}: holds {array.dtype}, not packed uint8 codes; pack it with limbeck.codes.pack_bits"
            )
        _require_matrix(array, self.width, f"{self.bits}-bit codes ({self.width} bytes)", what)
        return np.ascontiguousarray(array)

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Minus the Hamming distance, int32 (Q, N)."""
        left = _as_signs(self.check(queries, what="queries"))
        right = self.check(items, what="items")
        result = np.empty((len(left), len(right)), dtype=np.int32)
        step = max(1, (1 << 24) // self.bits)
        for start in range(0, len(right), step):
            # u.v = bits - 2 * distance, and float32 holds such whole numbers exactly
            product = left @ _as_signs(right[start : start + step]).T
            result[:, start : start + step] = (product - self.bits) / 2
        return result

    def score(self, raw: ArrayLike) -> np.ndarray:
        """The engine's distance, int32."""
        return np.asarray(raw, dtype=np.int32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """The checked codes, uint8 (N, bits / 8)."""
        return self.check(points, what="items")

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """The checked codes, uint8 (Q, bits / 8)."""
        return self.check(points, what="query")

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Majority of each bit; a draw gives +1, as sign(0) does."""
        array = _checked_stack(self.check, points, axis)
        ones = np.unpackbits(array, axis=-1).sum(axis=axis, dtype=np.int64)
        return np.packbits(2 * ones >= array.shape[axis], axis=-1)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Flip the first round(t * differing) of the differing bits, in bit order.

        The distance to ``a`` grows evenly with ``t`` and a larger ``t`` keeps the flips of a smaller one; in
        a nested code the first bits are the coarse ones, so those change first.
        """
        start, end = _checked_pair(self.check, a, b)
        differs = np.unpackbits(start ^ end, axis=-1)
        position = np.cumsum(differs, axis=-1, dtype=np.int64)

        def at(share: float) -> np.ndarray:
            flips = np.floor(share * position[..., -1:] + 0.5)
            return start ^ np.packbits(differs & (position <= flips), axis=-1)

        return _for_shares(at, t)

    def prefix(self, bits: int) -> Hamming:
        """The space of the first ``bits`` bits; its codes are ``codes[:, : bits // 8]``."""
        if bits > self.bits:
            raise LimbeckError(f"bits: a {self.bits}-bit code has no prefix of {bits} bits")
        return Hamming(bits)

    def to_json(self) -> dict[str, Any]:
        """``{"name": "hamming", "bits": 64}``."""
        return {"name": self.name, "bits": self.bits}


_SPACES: dict[str, Callable[..., Space]] = {"sphere": Sphere, "hamming": Hamming}


def space_from_json(value: Any) -> Space:
    """Read a space from what `Space.to_json` wrote; an unknown name or field is a `LimbeckError`."""
    if not isinstance(value, dict) or "name" not in value:
        raise LimbeckError(f'space: {value!r} is not an object such as {{"name": "hamming", "bits": 64}}')
    fields = {key: item for key, item in value.items() if key != "name"}
    try:
        return _SPACES[value["name"]](**fields)
    except (KeyError, TypeError) as error:
        if value["name"] in _SPACES:
            raise LimbeckError(f"space: {value!r} has wrong or missing fields") from error
        raise LimbeckError(
            f"space: unknown name {value['name']!r}; known are {', '.join(sorted(_SPACES))}"
        ) from None


from_json = space_from_json


def _require_whole(field: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise LimbeckError(f"{field}: {value!r} is not a whole number")


def _require_matrix(array: np.ndarray, width: int, wanted: str, what: str) -> None:
    if array.ndim != 2:
        raise LimbeckError(f"{what}: has shape {array.shape}, expected (N, {width})")
    if array.shape[1] != width:
        raise LimbeckError(f"{what}: has width {array.shape[1]}, expected {wanted}")


def _as_signs(codes: np.ndarray) -> np.ndarray:
    return 2 * np.unpackbits(codes, axis=-1).astype(np.float32) - 1


def _checked_stack(check: Callable[..., np.ndarray], points: ArrayLike, axis: int) -> np.ndarray:
    """Check points of shape (..., width) that are to be averaged over `axis`."""
    array = np.asarray(points)
    if array.ndim < 2 or not -array.ndim <= axis < array.ndim or axis % array.ndim == array.ndim - 1:
        raise LimbeckError(f"points: shape {array.shape} cannot be averaged over axis {axis}")
    if array.shape[axis] == 0:
        raise LimbeckError("points: none given, so there is no mean")
    return check(array.reshape(-1, array.shape[-1])).reshape(array.shape)


def _checked_pair(
    check: Callable[..., np.ndarray], a: ArrayLike, b: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Check two ends, both (width,) or both (N, width)."""
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim not in (1, 2):
        raise LimbeckError(f"interpolate: the ends have shapes {first.shape} and {second.shape}")
    start = check(np.atleast_2d(first), what="first end").reshape(first.shape)
    return start, check(np.atleast_2d(second), what="second end").reshape(first.shape)


def _for_shares(at: Callable[[float], np.ndarray], t: ArrayLike) -> np.ndarray:
    shares = np.asarray(t, dtype=np.float64)
    if shares.ndim > 1 or not ((shares >= 0) & (shares <= 1)).all():
        raise LimbeckError(f"t: {t!r} is not a number, or list of numbers, between 0 and 1")
    return at(float(shares)) if shares.ndim == 0 else np.stack([at(float(share)) for share in shares])
