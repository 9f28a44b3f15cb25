"""The hyperboloid of curvature -curv in numpy float64, by the space parts of its points.

The equations are those of MERU (Desai et al. 2023, "Hyperbolic Image-Text Representations"), the forms ours,
as in `limbeck.geometry.lorentz`, their torch twin with gradients and floors. Here nothing needs a gradient,
so there are no floors. Points are float64 (…, D); leading dimensions broadcast; lengths are in the unit of
the coordinates, angles in radians.
"""

from __future__ import annotations

import numpy as np

_ROUNDOFF = 2.0**-53
_DIGITS = 1e-8  # relative error of z = cosh - 1 up to which a matrix product is believed
BLOCK = 1 << 22  # numbers held at once where rows are picked


def dot(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Row-wise inner product; the same for the same two rows, wherever they stand."""
    return np.einsum("...d,...d->...", x, y)


def time(x: np.ndarray, curv: float) -> np.ndarray:
    """Time part, (…): sqrt(1/curv + |x|^2)."""
    return np.sqrt(1 / curv + dot(x, x))


def log_map0(x: np.ndarray, curv: float) -> np.ndarray:
    """Tangent vector at the origin whose geodesic reaches x: asinh(r)/r · x with r = sqrt(curv)|x|."""
    r = np.sqrt(curv * dot(x, x))[..., None]
    return np.where(r > 0, np.arcsinh(r) / np.where(r > 0, r, 1), 1) * x


def exp_map0(u: np.ndarray, curv: float) -> np.ndarray:
    """Inverse of `log_map0`: sinh(r)/r · u."""
    r = np.sqrt(curv * dot(u, u))[..., None]
    return np.where(r > 0, np.sinh(r) / np.where(r > 0, r, 1), 1) * u


def length(z: np.ndarray, curv: float) -> np.ndarray:
    """Distance of two points whose z = -curv<x, y> - 1 is known: acosh(1 + z)/sqrt(curv), near 0 too."""
    return 2 / np.sqrt(curv) * np.arcsinh(np.sqrt(z / 2))


def excess(x: np.ndarray, y: np.ndarray, curv: float) -> np.ndarray:
    """z = -curv<x, y> - 1, row by row, (…); exactly 0 for x = y, relative error about 1e-16 · curv · x_t²."""
    step = x - y
    time_gap = dot(step, x + y) / (time(x, curv) + time(y, curv))
    return np.maximum(curv / 2 * (dot(step, step) - time_gap**2), 0)


def pairwise_excess(x: np.ndarray, y: np.ndarray, curv: float) -> np.ndarray:
    """`excess` of every row with every row, (A, D), (B, D) to (A, B).

    By one matrix product; pairs too close for it to have eight digits are taken row by row.
    """
    scale = curv * np.outer(time(x, curv), time(y, curv))
    z = scale - curv * (x @ y.T) - 1
    near = z * _DIGITS < (x.shape[1] + 8) * _ROUNDOFF * scale
    for a, b in _picked(near, x.shape[1]):
        z[a, b] = excess(x[a], y[b], curv)
    return z


def half_aperture(x: np.ndarray, curv: float, min_radius: float) -> np.ndarray:
    """Half the opening of the cone at x, (…): asin(2 · min_radius / (sqrt(curv)|x|)), at most π/2."""
    return np.arcsin(2 * min_radius / np.maximum(np.sqrt(curv * dot(x, x)), 2 * min_radius))


def exterior_angle(x: np.ndarray, y: np.ndarray, curv: float) -> np.ndarray:
    """Angle at x between the ray from the origin through x, carried on, and the geodesic to y, (…).

    0 for x = y, so that a cone contains its tip; π/2 for x at the origin, whose cone is everything.
    """
    norm = np.sqrt(dot(x, x))
    ahead = x / np.where(norm > 0, norm, 1)[..., None]
    step = y - x
    climb, along = dot(ahead, step), dot(ahead, y)
    aside = step - climb[..., None] * ahead
    sine, cosine = _legs(norm, along, climb, dot(aside, aside), time(x, curv), time(y, curv), curv)
    return np.where(norm > 0, np.arctan2(sine, cosine), np.pi / 2)


def pairwise_inside(x: np.ndarray, y: np.ndarray, curv: float, min_radius: float) -> np.ndarray:
    """Whether each row of y lies in the cone of each row of x, (A, D), (B, D) to bool (A, B).

    angle <= aperture as sin(angle - aperture) <= 0, by one matrix product; pairs nearer to the cone's
    surface than its rounding error are taken row by row.
    """
    norm = np.sqrt(dot(x, x))
    along = (x / np.where(norm > 0, norm, 1)[:, None]) @ y.T
    aside = np.maximum(dot(y, y) - along**2, 0)
    at_x, at_y = time(x, curv)[:, None], time(y, curv)
    sine, cosine = _legs(norm[:, None], along, along - norm[:, None], aside, at_x, at_y, curv)
    aperture = half_aperture(x, curv, min_radius)[:, None]
    outside = sine * np.cos(aperture) - cosine * np.sin(aperture)
    error = 8 * (x.shape[1] + 8) * _ROUNDOFF
    squared = error * curv * at_y**2  # of the sine leg's square
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
    """Sine and cosine of the exterior angle times one factor.

    Args:
        norm: |x|.
        along: part of y along x.
        climb: along - norm.
        aside: square of the part of y orthogonal to x.
        time_x: time part of x.
        time_y: time part of y.
        curv: curvature.
    """
    first, second = time_x * along, norm * time_y
    # curv (first - second) without its cancellation where y lies on x's side
    total = np.maximum(first, 0) + second
    ahead = (climb * (along + norm) - curv * norm**2 * aside) / np.where(total > 0, total, 1)
    return np.sqrt(curv * aside), np.where(along > 0, ahead, curv * (first - second))


def _picked(mask: np.ndarray, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows, columns) where the mask holds, so many at once that their points fit into a block."""
    rows, columns = np.nonzero(mask)
    size = max(1, BLOCK // width)
    return [(rows[i : i + size], columns[i : i + size]) for i in range(0, len(rows), size)]
