"""Measure how well a set of hash codes uses its bits: balance, entropy, correlation, collisions."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes import check_codes, unpack_bits
from limbeck.errors import LimbeckError

_CHUNK = 1 << 16  # codes unpacked at once


@dataclasses.dataclass(frozen=True, eq=False)
class CodeHealth:
    """Statistics of N codes of b bits.

    Attributes:
        balance: float64 (b,), share of codes in which the bit is set; 0.5 is best.
        entropy: float64 (b,), entropy of each bit, in bits; 1 is best, 0 means that the bit is constant.
        correlation: float64 (b, b), Pearson correlation of two bits; 0 where a bit is constant.
        mean_correlation: mean absolute correlation of two different bits.
        max_correlation: largest absolute correlation of two different bits.
        constant_bits: number of constant bits.
        unique_share: number of distinct codes / N.
        collision_share: share of items whose code another item has, too.
    """

    balance: np.ndarray
    entropy: np.ndarray
    correlation: np.ndarray
    mean_correlation: float
    max_correlation: float
    constant_bits: int
    unique_share: float
    collision_share: float


def code_health(codes: ArrayLike) -> CodeHealth:
    """Measure a set of hash codes (ours), unpacking a block at a time.

    Args:
        codes: packed codes, uint8 (N, b / 8), N at least 1.

    Raises:
        LimbeckError: the codes are invalid, or there are none.
    """
    packed = check_codes(codes)
    if not len(packed):
        raise LimbeckError("codes: there are none; give at least one code", code="E-ARRAY-EMPTY")
    bits = 8 * packed.shape[1]
    total, products = np.zeros(bits), np.zeros((bits, bits))
    for start in range(0, len(packed), _CHUNK):
        signs = unpack_bits(packed[start : start + _CHUNK]).astype(np.float32)
        total += signs.sum(axis=0, dtype=np.float64)
        products += signs.T @ signs  # integers below 2^24 are exact in float32
    mean = total / len(packed)
    covariance = products / len(packed) - np.outer(mean, mean)
    deviation = np.sqrt(np.maximum(1 - mean**2, 0))
    scale = np.outer(deviation, deviation)
    correlation = np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0)
    between = np.abs(correlation[~np.eye(bits, dtype=bool)])
    _, repeats = np.unique(np.ascontiguousarray(packed).view(f"V{packed.shape[1]}"), return_counts=True)
    balance = (1 + mean) / 2
    return CodeHealth(
        balance=balance,
        entropy=_binary_entropy(balance),
        correlation=correlation,
        mean_correlation=float(between.mean()),
        max_correlation=float(between.max()),
        constant_bits=int((deviation == 0).sum()),
        unique_share=len(repeats) / len(packed),
        collision_share=float(repeats[repeats > 1].sum() / len(packed)),
    )


def _binary_entropy(p: np.ndarray) -> np.ndarray:
    result = np.zeros_like(p)
    for share in (p, 1 - p):
        result -= share * np.log2(share, out=np.zeros_like(share), where=share > 0)
    return result
