"""Compute on the hyperboloid (Lorentz model) of curvature −curv, accurately and finitely in float32.

A point is given by its *space part* x of D numbers; its time part x_t = √(1/curv + ‖x‖²) is recomputed.
Lengths are in the unit of the coordinates (the radius of curvature is 1/√curv); angles are in radians. `curv`
is positive: a number, or a tensor of one element, which may need a gradient. float64 points stay float64.
Other types are cast to float32 and computed in float32, also under autocast. No function hides a NaN.

The equations are those of MERU (Desai et al. 2023, "Hyperbolic Image-Text Representations", preliminaries
and entailment loss; cones after Ganea et al. 2018 and Le et al. 2019). The forms are ours: in the published
forms, acosh and acos lose all digits in float32 for close points and small angles, and have no finite
gradient there. Errors compare float32 with float64 on the same float32 inputs; the tests check these bounds.

Every function raises `LimbeckError` if the curvature is not a positive number (the sign of a tensor is not
checked) or has several elements, or if points differ in width. Pairwise functions also raise it if the points
are not matrices.
"""

from __future__ import annotations

from typing import TypeAlias

import torch

from limbeck.errors import LimbeckError

Curvature: TypeAlias = float | torch.Tensor

_SMALL = 1e-14  # floor of z, and of squares before their root, in units of the curvature
_PAIRWISE_FLOOR = {torch.float32: 1e-6, torch.float64: _SMALL}  # floor of z from a matrix product
_ANGLE_FLOOR = {torch.float32: 1e-12, torch.float64: 1e-20}  # added under the root of the sine leg
_SINE_LIMIT = 1 - 1e-6  # limit of the aperture's sine: at 1 the slope of asin is infinite
_SERIES_BELOW = 1e-4  # below this radius the maps use their series


def inner(x: torch.Tensor, y: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Return the Lorentz inner product x·y − x_t y_t.

    It is −1/curv for a point with itself and smaller for two different points. Use `distance` for points that
    may be close: their inner product has no digits to distinguish them.

    Args:
        x: (…, D) space parts.
        y: (…, D) space parts; leading dimensions broadcast.
        curv: minus the curvature.

    Returns:
        (…), in squared lengths. Source: MERU, preliminaries. Error: 1e-6 of |x_t y_t|.
    """
    x, y, curv = _prepare(x, y, curv)
    return _dot(x, y) - _time(x, curv) * _time(y, curv)


def pairwise_inner(x: torch.Tensor, y: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Return `inner` of every row of x with every row of y.

    Args:
        x: (A, D) space parts.
        y: (B, D) space parts.
        curv: minus the curvature.

    Returns:
        (A, B), in squared lengths. Source and error as for `inner`.
    """
    x, y, curv = _prepare(x, y, curv)
    return _pairwise_inner(x, y, curv)


def distance(x: torch.Tensor, y: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Return the geodesic distance; MERU: acosh(−curv⟨x, y⟩) / √curv.

    Let D = (x − y)·(x + y) / (x_t + y_t), which is x_t − y_t without cancellation. Then −curv⟨x, y⟩ − 1 is
    z = curv/2 · (‖x − y‖² − D²), and the distance is acosh(1 + z)/√curv. z is at least 1e-14: at x = y the
    distance is 1.4e-7/√curv and its gradient is 0.

    Args:
        x: (…, D) space parts.
        y: (…, D) space parts; leading dimensions broadcast.
        curv: minus the curvature.

    Returns:
        (…), in lengths. Source: MERU, preliminaries; form ours. Error: 1e-4 relative for √curv‖x‖ ≤ 10
        and √curv · distance ≥ 1e-3.
    """
    x, y, curv = _prepare(x, y, curv)
    difference = x - y
    time_gap = _dot(difference, x + y) / (_time(x, curv) + _time(y, curv))
    return _length(curv / 2 * (_dot(difference, difference) - time_gap.square()), curv, _SMALL)


def pairwise_distance(x: torch.Tensor, y: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Return the geodesic distance of every row of x to every row of y, by one matrix product.

    z = −curv⟨x, y⟩ − 1 is computed directly. It is at least 1e-6 in float32 (a distance of 1.4e-3/√curv) and
    1e-14 in float64. Use `distance` for close points.

    Args:
        x: (A, D) space parts.
        y: (B, D) space parts.
        curv: minus the curvature.

    Returns:
        (A, B), in lengths. Source as for `distance`. Error for √curv‖x‖ ≤ 10: 2e-4 relative where
        √curv · distance ≥ 1, and 2e-2/√curv absolute below.
    """
    x, y, curv = _prepare(x, y, curv)
    return _length(-curv * _pairwise_inner(x, y, curv) - 1, curv, _PAIRWISE_FLOOR[x.dtype])


def exp_map0(u: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Apply the exponential map at the origin: sinh(r)/r · u with r = √curv‖u‖.

    The result is at distance ‖u‖ from the origin. There is no clipping: float32 overflows at r = 88, and the
    lift limits the radius.

    Args:
        u: (…, D) tangent vectors at the origin.
        curv: minus the curvature.

    Returns:
        (…, D) space parts. Source: MERU, preliminaries; below r = 1e-4 by series. Error: 1e-5 relative
        for r ≤ 10.
    """
    u, curv = _cast(u), _scalar(curv, u)
    square, r = _radius(u, curv)
    # The last bit of torch.sinh depends on the position of a number in the tensor (MKL), so cached points
    # would differ from computed ones. The result of expm1 does not depend on the position.
    sinh = (torch.expm1(r) - torch.expm1(-r)) / 2
    return torch.where(r < _SERIES_BELOW, 1 + square / 6, sinh / r).unsqueeze(-1) * u


def log_map0(x: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Apply the logarithmic map at the origin, the inverse of `exp_map0`: asinh(r)/r · x with r = √curv‖x‖.

    MERU writes acosh(√(1 + r²)), which equals asinh(r).

    Args:
        x: (…, D) space parts.
        curv: minus the curvature.

    Returns:
        (…, D) tangent vectors at the origin. Source: MERU, preliminaries; below r = 1e-4 by series.
        Error: 1e-6 relative.
    """
    x, curv = _cast(x), _scalar(curv, x)
    square, r = _radius(x, curv)
    return torch.where(r < _SERIES_BELOW, 1 - square / 6, torch.asinh(r) / r).unsqueeze(-1) * x


def half_aperture(x: torch.Tensor, curv: Curvature, min_radius: float = 0.1) -> torch.Tensor:
    """Return the half aperture of the entailment cone at x: asin(2 · min_radius / (√curv‖x‖)).

    The sine is clipped to 1 − 1e-6. Points with ‖x‖ ≤ 2 · min_radius/√curv have the widest cone,
    π/2 − 1.4e-3, and gradient 0.

    Args:
        x: (…, D) space parts.
        curv: minus the curvature.
        min_radius: MERU's K, in units of 1/√curv.

    Returns:
        (…), in radians. Source: MERU, entailment loss. Error: 1e-6 relative for
        ‖x‖ ≥ 1.1 · 2 · min_radius/√curv.
    """
    x, curv = _cast(x), _scalar(curv, x)
    return torch.asin((2 * min_radius / _radius(x, curv)[1]).clamp_max(_SINE_LIMIT))


def exterior_angle(x: torch.Tensor, y: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Return the exterior angle at x, between the ray from the origin extended past x and the geodesic to y.

    The angle is 0 where y is beyond x on the ray, and π where y is between the origin and x. y is in the cone
    of x where the angle is at most `half_aperture(x)`. Where the angle is undefined (x = y, or x at the
    origin) it is π/2.

    MERU: acos((y_t + curv x_t⟨x, y⟩) / (‖x‖ √((curv⟨x, y⟩)² − 1))). Here it is atan2 of a sine term and a
    cosine term, both scaled by that root. The sine term is √(curv‖p‖² + 1e-12) (1e-20 in float64), where p is
    the part of y − x orthogonal to x. The cosine term is curv(x_t s − ‖x‖ y_t), where s is the component of y
    along x. For s > 0 this difference cancels, and it is computed as
    ((s − ‖x‖)(s + ‖x‖) − curv‖x‖²‖p‖²) / (x_t s + ‖x‖ y_t). With the z of `distance` it is also
    −(x_t − y_t + x_t z)/‖x‖, but the error of that form is 1e-2 at √curv‖x‖ = 1e-4 and above 1e-5 below 0.2.

    Args:
        x: (…, D) space parts, the apexes of the cones.
        y: (…, D) space parts; leading dimensions broadcast.
        curv: minus the curvature.

    Returns:
        (…), radians in [0, π]. Source: MERU, entailment loss; form ours. Error: 2e-6 for √curv‖x‖ ≤ 10;
        the constant 1e-12 adds at most 1e-6/(√curv · distance).
    """
    x, y, curv = _prepare(x, y, curv)
    square, norm, ahead = _ray(x, curv)
    step = y - x
    climb, along = _dot(ahead, step), _dot(ahead, y)
    aside = step - climb.unsqueeze(-1) * ahead
    times = _time(x, curv), _time(y, curv)
    return _angle(square, norm, along, climb, _dot(aside, aside), times, curv, _ANGLE_FLOOR[x.dtype])


def pairwise_exterior_angle(x: torch.Tensor, y: torch.Tensor, curv: Curvature) -> torch.Tensor:
    """Return `exterior_angle` at every row of x toward every row of y, by one matrix product.

    The square of the sine is a difference of two numbers, whose rounding error is about 1e-6 in float32 and
    1e-14 in float64. Use `exterior_angle` for small angles.

    Args:
        x: (A, D) space parts, the apexes of the cones.
        y: (B, D) space parts.
        curv: minus the curvature.

    Returns:
        (A, B), in radians. Source as for `exterior_angle`.
    """
    x, y, curv = _prepare(x, y, curv)
    square, norm, ahead = (part.unsqueeze(1) for part in _ray(x, curv))
    with torch.autocast(x.device.type, enabled=False):  # autocast would multiply in half precision
        along = ahead.squeeze(1) @ y.T
    aside_square = (_dot(y, y) - along.square()).clamp_min(0)
    times = _time(x, curv).unsqueeze(1), _time(y, curv)
    return _angle(square, norm, along, along - norm, aside_square, times, curv, _PAIRWISE_FLOOR[x.dtype])


def _ray(x: torch.Tensor, curv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return curv‖x‖² (…), ‖x‖ (…), and the unit vector (…, D) that continues the ray from the origin."""
    square, r = _radius(x, curv)
    norm = r / curv.sqrt()
    return square, norm, torch.where((square > _SMALL).unsqueeze(-1), x / norm.unsqueeze(-1), 0.0)


def _angle(
    square: torch.Tensor,
    norm: torch.Tensor,
    along: torch.Tensor,
    climb: torch.Tensor,
    aside_square: torch.Tensor,
    times: tuple[torch.Tensor, torch.Tensor],
    curv: torch.Tensor,
    floor: float,
) -> torch.Tensor:
    """Return the exterior angle from the terms that `exterior_angle` describes."""
    first, second = times[0] * along, norm * times[1]
    near = (climb * (along + norm) - square * aside_square) / (first.clamp_min(0) + second)
    cosine_leg = torch.where(along > 0, near, curv * (first - second))
    return torch.atan2((curv * aside_square + floor).sqrt(), cosine_leg)


def _cast(x: torch.Tensor) -> torch.Tensor:
    """Return float64 unchanged and any other type as float32, which autocast does not do."""
    return x if x.dtype == torch.float64 else x.float()


def _scalar(curv: Curvature, like: torch.Tensor) -> torch.Tensor:
    """Return `curv` as a 0-d tensor of the type and device of `like`; a tensor's sign is not checked."""
    if isinstance(curv, torch.Tensor):
        if curv.numel() != 1:
            raise LimbeckError(
                f"curv has {curv.numel()} elements; give one curvature for all points", code="E-ARRAY-SHAPE"
            )
        return curv.reshape(()).to(dtype=like.dtype, device=like.device)
    if not 0 < curv < float("inf"):
        raise LimbeckError(
            f"curv is {curv}; it must be a positive number (the curvature is −curv)", code="E-OPTION-RANGE"
        )
    return torch.full((), curv, dtype=like.dtype, device=like.device)


def _prepare(
    x: torch.Tensor, y: torch.Tensor, curv: Curvature
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return both sets of points and the curvature in one type."""
    if x.shape[-1:] != y.shape[-1:]:
        raise LimbeckError(
            f"points of different width: x is {tuple(x.shape)}, y is {tuple(y.shape)}", code="E-ARRAY-SHAPE"
        )
    x, y = _cast(x), _cast(y)
    dtype = torch.promote_types(x.dtype, y.dtype)
    x, y = x.to(dtype), y.to(dtype)
    return x, y, _scalar(curv, x)


def _dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return (x * y).sum(-1)


def _time(x: torch.Tensor, curv: torch.Tensor) -> torch.Tensor:
    return (1 / curv + _dot(x, x)).sqrt()


def _radius(x: torch.Tensor, curv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return curv‖x‖² with its floor, and its root √curv‖x‖; both are dimensionless."""
    square = (curv * _dot(x, x)).clamp_min(_SMALL)
    return square, square.sqrt()


def _length(z: torch.Tensor, curv: torch.Tensor, floor: float) -> torch.Tensor:
    """Return the distance acosh(1 + z)/√curv, z = −curv⟨x, y⟩ − 1, by log1p (asinh is ten times slower)."""
    z = z.clamp_min(floor)
    return torch.log1p(z + z.sqrt() * (z + 2).sqrt()) / curv.sqrt()


def _pairwise_inner(x: torch.Tensor, y: torch.Tensor, curv: torch.Tensor) -> torch.Tensor:
    if x.ndim != 2 or y.ndim != 2:
        raise LimbeckError(
            f"pairwise needs (A, D) and (B, D); x is {tuple(x.shape)}, y is {tuple(y.shape)}",
            code="E-ARRAY-SHAPE",
        )
    with torch.autocast(x.device.type, enabled=False):  # autocast would multiply in half precision
        return x @ y.T - torch.outer(_time(x, curv), _time(y, curv))
