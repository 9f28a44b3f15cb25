"""Compute on the hyperboloid of curvature -curv in numpy float64, with the space parts of its points.

The equations are those of MERU (Desai et al. 2023, "Hyperbolic Image-Text Representations"); the forms are
ours. `limbeck.geometry.lorentz` is the torch version, with gradients and with lower bounds that keep the
gradients finite. No function here needs a gradient, so there are no such bounds. Points are float64 (…, D)
and leading dimensions broadcast. Lengths are in the unit of the coordinates, angles are in radians.
"""

from __future__ import annotations

import numpy as np

_ROUNDOFF = 2.0**-53
_DIGITS = 1e-8  # largest relative error of z = cosh - 1 accepted from a matrix product
BLOCK = 1 << 22  # numbers per block where pairs are computed row by row


def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the row-wise inner product; it does not depend on the position of the rows."""
    return np.einsum("...d,...d->...", x, y)


def time(x: np.ndarray, curv: float) -> np.ndarray:
    """Return the time part, (…): sqrt(1/curv + |x|^2)."""
    return np.sqrt(1 / curv + dot(x, x))


def log_map0(x: np.ndarray, curv: float) -> np.ndarray:
    """Apply the logarithmic map at the origin: asinh(r)/r · x with r = sqrt(curv)|x|."""
    r = np.sqrt(curv * dot(x, x))[..., None]
    return np.where(r > 0, np.arcsinh(r) / np.where(r > 0, r, 1), 1) * x


def exp_map0(u: np.ndarray, curv: float) -> np.ndarray:
    """Apply the exponential map at the origin: sinh(r)/r · u with r = sqrt(curv)|u|."""
    r = np.sqrt(curv * dot(u, u))[..., None]
    return np.where(r > 0, np.sinh(r) / np.where(r > 0, r, 1), 1) * u


def length(z: np.ndarray, curv: float) -> np.ndarray:
    """Return the distance acosh(1 + z)/sqrt(curv) for z = -curv<x, y> - 1; it is accurate near 0, too."""
    return 2 / np.sqrt(curv) * np.arcsinh(np.sqrt(z / 2))


def excess(x: np.ndarray, y: np.ndarray, curv: float) -> np.ndarray:
    """Return z = -curv<x, y> - 1, row by row, (…).

    It is exactly 0 for x = y. The relative error is about 1e-16 · curv · x_t².
    """
    step = x - y
    time_gap = dot(step, x + y) / (time(x, curv) + time(y, curv))
    return np.maximum(curv / 2 * (dot(step, step) - time_gap**2), 0)


def pairwise_excess(x: np.ndarray, y: np.ndarray, curv: float) -> np.ndarray:
    """Return `excess` for every pair of rows: (A, D) and (B, D) give (A, B).

    One matrix product computes most pairs. Pairs too close for eight correct digits are computed row by row.
    """
    scale = curv * np.outer(time(x, curv), time(y, curv))
    z = scale - curv * (x @ y.T) - 1
    near = z * _DIGITS < (x.shape[1] + 8) * _ROUNDOFF * scale
    for a, b in _picked(near, x.shape[1]):
        z[a, b] = excess(x[a], y[b], curv)
    return z


def half_aperture(x: np.ndarray, curv: float, min_radius: float) -> np.ndarray:
    """Return the half aperture of the cone at x, (…): asin(2 · min_radius / (sqrt(curv)|x|)), at most π/2."""
    return np.arcsin(2 * min_radius / np.maximum(np.sqrt(curv * dot(x, x)), 2 * min_radius))


def exterior_angle(x: np.ndarray, y: np.ndarray, curv: float) -> np.ndarray:
    """Return the exterior angle at x, (…), in radians.

    It is the angle between the ray from the origin, extended beyond x, and the geodesic to y. The angle is 0
    for x = y, so a cone contains its apex. It is π/2 for x at the origin, whose cone contains every point.
    """
    norm = np.sqrt(dot(x, x))
    ahead = x / np.where(norm > 0, norm, 1)[..., None]
    step = y - x
    climb, along = dot(ahead, step), dot(ahead, y)
    aside = step - climb[..., None] * ahead
    sine, cosine = _legs(norm, along, climb, dot(aside, aside), time(x, curv), time(y, curv), curv)
    return np.where(norm > 0, np.arctan2(sine, cosine), np.pi / 2)


def pairwise_inside(x: np.ndarray, y: np.ndarray, curv: float, min_radius: float) -> np.ndarray:
    """Return whether each row of y is in the cone of each row of x: (A, D) and (B, D) give bool (A, B).

    The test angle <= aperture is computed as sin(angle - aperture) <= 0 by one matrix product. Pairs nearer
    to the surface of the cone than the rounding error are computed row by row.
    """
    norm = np.sqrt(dot(x, x))
    along = (x / np.where(norm > 0, norm, 1)[:, None]) @ y.T
    aside = np.maximum(dot(y, y) - along**2, 0)
    at_x, at_y = time(x, curv)[:, None], time(y, curv)
    sine, cosine = _legs(norm[:, None], along, along - norm[:, None], aside, at_x, at_y, curv)
    aperture = half_aperture(x, curv, min_radius)[:, None]
    outside = sine * np.cos(aperture) - cosine * np.sin(aperture)
    error = 8 * (x.shape[1] + 8) * _ROUNDOFF
    squared = error * curv * at_y**2  # error of the squared sine leg
    slack = squared / np.maximum(sine, np.sqrt(squared)) + error * curv * at_x * at_y
    inside = outside <= 0
    for a, b in _picked((np.abs(outside) <= slack) | (norm[:, None] == 0), x.shape[1]):
        inside[a, b] = exterior_angle(x[a], y[b], curv) <= half_aperture(x[a], curv, min_radius)
    return inside


def _legs(
    norm: np.ndarray,
    along: np.ndarray,
    climb: np.ndarray,
    aside: np.ndarray,
    time_x: np.ndarray,
    time_y: np.ndarray,
    curv: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return sine and cosine of the exterior angle, both times one positive factor.

    Args:
        norm: |x|.
        along: component of y along x.
        climb: along - norm.
        aside: square of the component of y orthogonal to x.
        time_x: time part of x.
        time_y: time part of y.
        curv: minus the curvature.
    """
    first, second = time_x * along, norm * time_y
    # This is curv (first - second) without cancellation where y has a positive component along x.
    total = np.maximum(first, 0) + second
    ahead = (climb * (along + norm) - curv * norm**2 * aside) / np.where(total > 0, total, 1)
    return np.sqrt(curv * aside), np.where(along > 0, ahead, curv * (first - second))


def _picked(mask: np.ndarray, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (rows, columns) where the mask is true, in parts whose points fit into a block."""
    rows, columns = np.nonzero(mask)
    size = max(1, BLOCK // width)
    return [(rows[i : i + size], columns[i : i + size]) for i in range(0, len(rows), size)]
