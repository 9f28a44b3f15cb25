"""Codes of items compared with the real numbers of queries, as a space for scoring."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from limbeck.spaces import Hamming


@dataclasses.dataclass(frozen=True)
class AsymmetricHamming(Hamming):
    """Ranks items, packed codes (N, bits / 8), by their signs' inner product with real queries (Q, bits).

    Dong, Charikar and Li, SIGIR 2008; Gordo et al., TPAMI 2014. The items stay as small as codes.
    """

    storage: Literal["vectors", "codes"] = dataclasses.field(default="vectors", init=False, repr=False)
    score_name: Literal["similarity", "distance"] = dataclasses.field(
        default="similarity", init=False, repr=False
    )
    score_sign: int = dataclasses.field(default=1, init=False, repr=False)

    def similarity(self, queries: ArrayLike, items: ArrayLike) -> np.ndarray:
        """Return the inner products, float64 (Q, N), in which float32 sums are exact: equal codes tie."""
        bits = np.unpackbits(self.check(items, what="items"), axis=1)
        found: np.ndarray = np.asarray(queries, np.float64) @ (2.0 * bits.T - 1)
        return found
