"""Define the Hamming space: packed binary hash codes, compared by Hamming distance."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces.base import (
    NoCones,
    Space,
    checked_broadcast,
    checked_pair,
    checked_stack,
    for_shares,
    require_matrix,
    require_whole,
    weighted_sum,
)
from limbeck.spaces.sphere import Sphere
from limbeck.typed import Json

MAX_BITS = 4096


@dataclasses.dataclass(frozen=True)
class Hamming(NoCones):
    """The space of binary hash codes, uint8 (N, bits / 8) as by `numpy.packbits`, with Hamming distance."""

    bits: int
    name: str = dataclasses.field(default="hamming", init=False, repr=False)
    storage: Literal["vectors", "codes"] = dataclasses.field(default="codes", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="distance", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=-1, init=False, repr=False)

    def __post_init__(self) -> None:
        require_whole("bits", self.bits)
        if self.bits % 8 or not 8 <= self.bits <= MAX_BITS:
            raise LimbeckError(
                f"bits: {self.bits} is not a multiple of 8 between 8 and {MAX_BITS}; choose for example 64",
                code="E-CODES-LENGTH",
            )

    @property
    def width(self) -> int:
        """The number of bytes of a stored code."""
        return self.bits // 8

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The type of a stored array: uint8."""
        return np.dtype(np.uint8)

    @property
    def is_indexable(self) -> bool:
        """True: engines compare codes."""
        return True

    def check(self, points: ArrayLike, *, what: str = "points") -> np.ndarray:
        """Return packed codes of this length unchanged.

        Raises:
            LimbeckError: the array is not uint8 (N, bits / 8).
        """
        array = np.asarray(points)
        if array.dtype != np.uint8:
            raise LimbeckError(
                f"{what}: holds {array.dtype}, not packed uint8 codes; use limbeck.codes.pack_bits",
                code="E-CODES-FORM",
            )
        if array.shape[1:] != (self.width,):
            require_matrix(array, self.width, f"{self.bits}-bit codes ({self.width} bytes)", what)
        return np.ascontiguousarray(array)

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """Return the checked codes; bits are never rounded."""
        return self.check(points, what=what)

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return minus the Hamming distance, int32 (Q, N)."""
        left = _as_signs(self.check(queries, what="queries"))
        right = self.check(items, what="items")
        result = np.empty((len(left), len(right)), dtype=np.int32)
        step = max(1, (1 << 24) // self.bits)
        for start in range(0, len(right), step):
            # u.v = bits - 2 * distance, and float32 represents such integers exactly.
            product = left @ _as_signs(right[start : start + step]).T
            result[:, start : start + step] = (product - self.bits) / 2
        return result

    def score(self, raw: ArrayLike) -> np.ndarray:
        """Return the engine's distance as int32."""
        return np.asarray(raw, dtype=np.int32)

    def index_items(self, points: ArrayLike) -> np.ndarray:
        """Return the checked codes, uint8 (N, bits / 8)."""
        return self.check(points, what="items")

    def index_queries(self, points: ArrayLike) -> np.ndarray:
        """Return the checked codes, uint8 (Q, bits / 8)."""
        return self.check(points, what="query")

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the Hamming distance, int32."""
        left, right = checked_broadcast(self.check, queries, items, ("queries", "items"))
        return np.bitwise_count(left ^ right).sum(axis=-1, dtype=np.int32)

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """Return the distances unchanged: the engine counts without rounding."""
        return np.asarray(scores, dtype=np.int32)

    def coordinates(self, points: ArrayLike) -> np.ndarray:
        """Return ±1, float32 (N, bits); the squared distance is four times the Hamming distance."""
        return _as_signs(self.check(points))

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Return the majority of each bit; a tie gives +1, like sign(0)."""
        array = checked_stack(self.check, points, axis)
        ones = np.unpackbits(array, axis=-1).sum(axis=axis, dtype=np.int64)
        return np.packbits(2 * ones >= array.shape[axis], axis=-1)

    def combine(self, weights: ArrayLike, vectors: ArrayLike) -> np.ndarray:
        """Return the weighted sum of numbers (T, bits) at unit length, float32 (bits,), for its signs.

        Raises:
            LimbeckError: as `Space.combine`, or a row is all zeros.
        """
        return weighted_sum(weights, Sphere(self.bits).restored(vectors, what="terms")).astype(np.float32)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Flip the first round(t * differing) of the differing bits, in bit order (ours).

        The distance to ``a`` grows linearly with ``t``, and a larger ``t`` keeps the flips of a smaller one.
        In a nested code the first bits are the coarse ones, and they change first.
        """
        start, end = checked_pair(self.check, a, b)
        differs = np.unpackbits(start ^ end, axis=-1)
        position = np.cumsum(differs, axis=-1, dtype=np.int64)

        def at(share: float) -> np.ndarray:
            flips = np.floor(share * position[..., -1:] + 0.5)
            return start ^ np.packbits(differs & (position <= flips), axis=-1)

        return for_shares(at, t)

    def prefix(self, bits: int) -> Hamming:
        """Return the space of the first ``bits`` bits; its codes are ``codes[:, : bits // 8]``."""
        if bits > self.bits:
            raise LimbeckError(
                f"bits: a {self.bits}-bit code has no prefix of {bits} bits; give {self.bits} or fewer",
                code="E-CODES-LENGTH",
            )
        return Hamming(bits)

    def to_json(self) -> dict[str, Json]:
        """Return the space as JSON, for example ``{"name": "hamming", "bits": 64}``."""
        return {"name": self.name, "bits": self.bits}


def prefix_space(space: Space, bits: int) -> Hamming:
    """Return the space of the first ``bits`` bits of a space of codes.

    Raises:
        LimbeckError: the points are no codes, or have no prefix of ``bits`` bits.
    """
    if not isinstance(space, Hamming):
        raise LimbeckError(
            f"bits: the points of {space!r} are no codes; leave it out", code="E-OPTION-UNUSED"
        )
    return space.prefix(bits)


def _as_signs(codes: np.ndarray) -> np.ndarray:
    return 2 * np.unpackbits(codes, axis=-1).astype(np.float32) - 1
