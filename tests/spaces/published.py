"""The published equations of the hyperboloid (MERU, Desai et al. 2023) in 60 digits, as they stand.

Written apart from `limbeck.spaces`, which they judge. A point is one row of numbers (its space part).
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

mp.mp.dps = 60


def _dot(x, y):
    return mp.fsum(mp.mpf(float(a)) * mp.mpf(float(b)) for a, b in zip(x, y, strict=True))


def _time(x, c):
    return mp.sqrt(1 / mp.mpf(c) + _dot(x, x))


def inner(x, y, c):
    return _dot(x, y) - _time(x, c) * _time(y, c)


def distance(x, y, c):
    return mp.acosh(mp.mpf(-c) * inner(x, y, c)) / mp.sqrt(c)


def exp_map0(u, c):
    r = mp.sqrt(mp.mpf(c) * _dot(u, u))
    return np.array([float(mp.sinh(r) / r * float(a)) for a in u])


def log_map0(x, c):
    w = mp.sqrt(c) * _time(x, c)
    return np.array([float(mp.acosh(w) / mp.sqrt(w * w - 1) * float(a)) for a in x])


def half_aperture(x, c, k=0.1):
    return mp.asin(2 * mp.mpf(k) / mp.sqrt(mp.mpf(c) * _dot(x, x)))


def exterior_angle(x, y, c):
    w = mp.mpf(c) * inner(x, y, c)
    return mp.acos((_time(y, c) + _time(x, c) * w) / (mp.sqrt(_dot(x, x)) * mp.sqrt(w * w - 1)))


def rows(function, *points_and_rest):
    """A row-wise function of the above over arrays (N, D), as float64 (N,)."""
    arrays = [p for p in points_and_rest if isinstance(p, np.ndarray)]
    rest = [p for p in points_and_rest if not isinstance(p, np.ndarray)]
    return np.array([float(function(*parts, *rest)) for parts in zip(*arrays, strict=True)])
