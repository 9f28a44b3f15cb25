"""Packed binary codes, compared by Hamming distance."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.spaces.base import (
    NoCones,
    checked_broadcast,
    checked_pair,
    checked_stack,
    for_shares,
    require_matrix,
    require_whole,
)

MAX_BITS = 4096


@dataclasses.dataclass(frozen=True)
class Hamming(NoCones):
    """Binary codes, uint8 (N, bits / 8) in the order of `numpy.packbits`, compared by Hamming distance."""

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
        require_matrix(array, self.width, f"{self.bits}-bit codes ({self.width} bytes)", what)
        return np.ascontiguousarray(array)

    def restored(self, points: ArrayLike, *, what: str = "points", first: int = 0) -> np.ndarray:
        """The checked codes: bits are never rounded."""
        return self.check(points, what=what)

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

    def rescore(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Hamming distance, int32."""
        asked, stored = checked_broadcast(self.check, queries, items, ("queries", "items"))
        return np.bitwise_count(asked ^ stored).sum(axis=-1, dtype=np.int32)

    def raw_limit(self, queries: ArrayLike, scores: ArrayLike, longest: float) -> np.ndarray:
        """The distance itself: the engine counts without rounding."""
        return np.asarray(scores, dtype=np.int32)

    def coordinates(self, points: ArrayLike) -> np.ndarray:
        """±1, float32 (N, bits): the squared distance is four times that of the codes."""
        return _as_signs(self.check(points))

    def stretch(self, points: ArrayLike) -> np.ndarray:
        """1 everywhere."""
        return np.ones(len(self.check(points)), dtype=np.float32)

    def mean(self, points: ArrayLike, axis: int = 0) -> np.ndarray:
        """Majority of each bit; a draw gives +1, as sign(0) does."""
        array = checked_stack(self.check, points, axis)
        ones = np.unpackbits(array, axis=-1).sum(axis=axis, dtype=np.int64)
        return np.packbits(2 * ones >= array.shape[axis], axis=-1)

    def interpolate(self, a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
        """Flip the first round(t * differing) of the differing bits, in bit order.

        The distance to ``a`` grows evenly with ``t`` and a larger ``t`` keeps the flips of a smaller one; in
        a nested code the first bits are the coarse ones, so those change first.
        """
        start, end = checked_pair(self.check, a, b)
        differs = np.unpackbits(start ^ end, axis=-1)
        position = np.cumsum(differs, axis=-1, dtype=np.int64)

        def at(share: float) -> np.ndarray:
            flips = np.floor(share * position[..., -1:] + 0.5)
            return start ^ np.packbits(differs & (position <= flips), axis=-1)

        return for_shares(at, t)

    def prefix(self, bits: int) -> Hamming:
        """The space of the first ``bits`` bits; its codes are ``codes[:, : bits // 8]``."""
        if bits > self.bits:
            raise LimbeckError(f"bits: a {self.bits}-bit code has no prefix of {bits} bits")
        return Hamming(bits)

    def to_json(self) -> dict[str, Any]:
        """``{"name": "hamming", "bits": 64}``."""
        return {"name": self.name, "bits": self.bits}


def _as_signs(codes: np.ndarray) -> np.ndarray:
    return 2 * np.unpackbits(codes, axis=-1).astype(np.float32) - 1
