"""Compute hash codes from embeddings by iterative quantization (ITQ), without training a network.

Gong and Lazebnik, "Iterative Quantization: A Procrustean Approach to Learning Binary Codes", CVPR 2011.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.packing import sign_codes
from limbeck.errors import LimbeckError

ITERATIONS = 50  # as the paper


@dataclasses.dataclass(frozen=True, eq=False)
class ITQ:
    """A fitted projection: PCA, then the rotation that minimises the distance to the corners of a hypercube.

    Attributes:
        mean: float64 (D,), the mean that is subtracted first.
        projection: float64 (D, bits), PCA directions times rotation.
    """

    mean: np.ndarray
    projection: np.ndarray

    @property
    def bits(self) -> int:
        """The length of the codes."""
        return self.projection.shape[1]

    def project(self, x: ArrayLike) -> np.ndarray:
        """Project points (N, D) to the real numbers whose signs are the codes, float64 (N, bits)."""
        points = _points(x)
        if points.shape[1] != len(self.mean):
            raise LimbeckError(
                f"x: has width {points.shape[1]}; this ITQ was fitted on width {len(self.mean)}",
                code="E-ARRAY-SHAPE",
            )
        return (points - self.mean) @ self.projection

    def encode(self, x: ArrayLike) -> np.ndarray:
        """Encode points (N, D) as packed codes, uint8 (N, bits / 8)."""
        return sign_codes(self.project(x))


def itq(x: ArrayLike, bits: int, seed: int, *, iterations: int = ITERATIONS) -> ITQ:
    """Fit ITQ to points.

    Args:
        x: float (N, D), finite, N at least 2.
        bits: length of the codes, a multiple of 8, at most D (the number of PCA directions).
        seed: seeds the random initial rotation; the same seed gives the same result.
        iterations: number of alternations of "nearest corners" and "best rotation"; 0 leaves the random
            rotation.

    Returns:
        The fitted projection.

    Raises:
        LimbeckError: ``bits`` exceeds D or is not a multiple of 8; there are fewer than two points; a value
            is NaN or infinite.
    """
    points = _points(x)
    count, width = points.shape
    if bits < 8 or bits % 8:
        raise LimbeckError(
            f"bits: {bits} is not a positive multiple of 8; give for example 64", code="E-CODES-LENGTH"
        )
    if bits > width:
        raise LimbeckError(
            f"bits: ITQ makes at most one bit per dimension, but the points have {width} dimensions; "
            f"use {width - width % 8} bits or fewer",
            code="E-CODES-LENGTH",
        )
    if count < 2:
        raise LimbeckError(f"x: ITQ needs at least two points; there are {count}", code="E-ARRAY-ROWS")
    mean = points.mean(axis=0)
    centred = points - mean
    directions = _principal_directions(centred, bits)
    flat = centred @ directions
    rotation = _random_rotation(bits, seed)
    for _ in range(iterations):
        corners = np.where(flat @ rotation >= 0, 1.0, -1.0)
        left, _, right = np.linalg.svd(corners.T @ flat)  # orthogonal Procrustes (paper, section 2.2)
        rotation = (left @ right).T
    return ITQ(mean=mean, projection=directions @ rotation)


def _points(x: ArrayLike) -> np.ndarray:
    array = np.asarray(x)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise LimbeckError(
            f"x: is {array.dtype} {array.shape}, expected real numbers (N, D)", code="E-ARRAY-SHAPE"
        )
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise LimbeckError("x: holds NaN or infinity; check the inputs of the encoder", code="E-ARRAY-VALUES")
    return array


def _principal_directions(centred: np.ndarray, count: int) -> np.ndarray:
    """Return the `count` directions of largest variance, (D, count), each with its largest entry positive."""
    _, vectors = np.linalg.eigh(centred.T @ centred)
    directions = vectors[:, ::-1][:, :count]
    peak = directions[np.abs(directions).argmax(axis=0), np.arange(count)]
    return directions * np.where(peak < 0, -1.0, 1.0)


def _random_rotation(size: int, seed: int) -> np.ndarray:
    """Draw a uniformly random orthogonal matrix; positive diagonal entries of R make QR unique."""
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))
    return q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
