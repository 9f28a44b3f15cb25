"""The published equations (MERU, Desai et al. 2023) in numpy float64 as they stand: acosh, acos, asin.

Written apart from `limbeck.geometry`, which they judge. Rows are points (space parts); curv = c > 0.
"""

from __future__ import annotations

import numpy as np


def time(x, c):
    return np.sqrt(1 / c + np.sum(x**2, -1))


def inner(x, y, c):
    return np.sum(x * y, -1) - time(x, c) * time(y, c)


def distance(x, y, c):
    return np.arccosh(np.maximum(-c * inner(x, y, c), 1.0)) / np.sqrt(c)


def exp_map0(u, c):
    r = np.sqrt(c) * np.linalg.norm(u, axis=-1, keepdims=True)
    return np.sinh(r) / r * u


def log_map0(x, c):
    norm = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.arccosh(np.sqrt(1 + c * norm**2)) / (np.sqrt(c) * norm) * x


def half_aperture(x, c, k=0.1):
    return np.arcsin(2 * k / (np.sqrt(c) * np.linalg.norm(x, axis=-1)))


def exterior_angle(x, y, c):
    w = c * inner(x, y, c)
    cosine = (time(y, c) + time(x, c) * w) / (np.linalg.norm(x, axis=-1) * np.sqrt(w**2 - 1))
    return np.arccos(np.clip(cosine, -1, 1))


def small_angle(x, y, c):
    """The exterior angle by the hyperbolic law of sines: has digits at small angles, holds below π/2."""
    unit_x, unit_y = (p / np.linalg.norm(p, axis=-1, keepdims=True) for p in (x, y))
    at_origin = 2 * np.arcsin(np.linalg.norm(unit_x - unit_y, axis=-1) / 2)
    opposite = np.sqrt(c) * np.linalg.norm(y, axis=-1)
    return np.arcsin(opposite * np.sin(at_origin) / np.sinh(np.sqrt(c) * distance(x, y, c)))


def triangle_angle(x, y, c):
    """The exterior angle once more, by the hyperbolic law of cosines in the triangle origin, x, y."""
    origin = np.zeros_like(x)
    a, b, d = (np.sqrt(c) * distance(p, q, c) for p, q in ((origin, x), (origin, y), (x, y)))
    cosine = (np.cosh(a) * np.cosh(d) - np.cosh(b)) / (np.sinh(a) * np.sinh(d))
    return np.pi - np.arccos(np.clip(cosine, -1, 1))
