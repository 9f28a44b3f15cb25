"""Likeness of two pictures from small colour thumbnails; on a plain background only the objects count.

Two different objects on white correlate highly as whole pictures, because most of each is white and the
outline is a step. The background is therefore removed where there is one, and the inside of both objects is
compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

SIDE = 32
# The insides of different photos in one outline on white correlate below .71 (7,940 pairs). Those of copies
# at JPEG quality 50 correlate above .95 in 99 of 100 cases. For whole photos see `duplicates.py`.
MIN_LIKENESS = 0.96
# Background: this share of the border is within this many grey levels of the border's median colour.
_BORDER_SHARE, _GROUND_LEVELS = 0.75, 16
# An object has at least this many pixels, and its inside at least this many off the background.
_FEW = 16
_MIN_OVERLAP = 0.8
# Below this standard deviation nothing is visible, and a correlation has no meaning.
MIN_SPREAD = 4.0
# Objects of one colour each: outlines must agree, and colours within this many grey levels.
_FLAT_OVERLAP, _FLAT_LEVELS = 0.95, 6.0
_AT_ONCE = 512


@dataclass(frozen=True)
class Looks:
    """The compared parts of n pictures.

    Attributes:
        thumbs: uint8 (n, 1024, 3).
        things: bool (n, 1024), the pixels off the background; all where there is no plain background.
        inside: bool (n, 1024), `things` without the pixels that touch the background.
        grounded: bool (n,), whether there is a plain background.
    """

    thumbs: np.ndarray
    things: np.ndarray
    inside: np.ndarray
    grounded: np.ndarray

    @classmethod
    def of(cls, thumbs: np.ndarray) -> Looks:
        """Separate objects from the background of thumbnails, uint8 (n, 32, 32, 3)."""
        n = len(thumbs)
        things, grounded = np.ones((n, SIDE, SIDE), bool), np.zeros(n, bool)
        for start in range(0, n, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            things[part], grounded[part] = _without_ground(thumbs[part].astype(np.int16))
        padded = np.pad(things, ((0, 0), (1, 1), (1, 1)), constant_values=True)
        inside = sliding_window_view(padded, (3, 3), axis=(1, 2)).all(axis=(3, 4)) if n else things
        flat = (n, SIDE**2)
        return cls(thumbs.reshape(*flat, 3), things.reshape(flat), inside.reshape(flat), grounded)

    def likeness(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return how alike the pictures look, float32 (m,) up to 1, for positions (m,) and (m,).

        It is the correlation of the colours, each channel about its own mean, so that darker and paler copies
        keep it. It is 0 for objects of different outlines.
        """
        found = np.zeros(len(first), np.float32)
        for start in range(0, len(first), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            found[part] = self._likeness(first[part], second[part])
        return found

    def _likeness(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        everywhere = np.ones((len(a), SIDE**2), bool)
        x, y = self.thumbs[a].astype(np.float32), self.thumbs[b].astype(np.float32)
        whole, _ = _correlation(x, y, everywhere)
        both = self.grounded[a] & self.grounded[b]
        if not both.any():
            return whole
        a, b, x, y = a[both], b[both], x[both], y[both]
        either = self.things[a] | self.things[b]
        overlap = (self.things[a] & self.things[b]).sum(axis=1) / np.maximum(either.sum(axis=1), 1)
        shown = self.inside[a] & self.inside[b]
        thin = shown.sum(axis=1) < _FEW
        shown[thin] = either[thin]
        inner, spread = _correlation(x, y, shown)
        apart = (np.abs(x - y).mean(axis=2) * shown).sum(axis=1) / np.maximum(shown.sum(axis=1), 1)
        flat = np.where((overlap >= _FLAT_OVERLAP) & (apart <= _FLAT_LEVELS), whole[both], 0)
        inner = np.where(spread < MIN_SPREAD, flat, inner)
        whole[both] = np.where(overlap < _MIN_OVERLAP, 0, np.minimum(whole[both], inner))
        return whole


def _without_ground(thumbs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels off the background, bool (n, 32, 32), and whether there is one, bool (n,)."""
    edges = (thumbs[:, 0], thumbs[:, -1], thumbs[:, 1:-1, 0], thumbs[:, 1:-1, -1])
    border = np.concatenate(edges, axis=1)
    ground = np.median(border, axis=1, keepdims=True)
    share = (np.abs(border - ground).max(axis=2) <= _GROUND_LEVELS).mean(axis=1)
    things = np.abs(thumbs - ground[:, :, None]).max(axis=3) > _GROUND_LEVELS
    grounded = (share >= _BORDER_SHARE) & (things.sum(axis=(1, 2)) >= _FEW)
    return things | ~grounded[:, None, None], grounded


def _correlation(x: np.ndarray, y: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the correlation (m,) of colours (m, p, 3) under a mask (m, p), and the lesser standard deviation
    (m,)."""
    weight = where[:, :, None].astype(np.float32)
    count = np.maximum(weight.sum(axis=1, keepdims=True), 1)
    x, y = ((v - (v * weight).sum(axis=1, keepdims=True) / count) * weight for v in (x, y))
    xx, yy = (np.einsum("ijk,ijk->i", v, v) for v in (x, y))
    spread = np.sqrt(np.minimum(xx, yy) / (3 * count[:, 0, 0]))
    return np.einsum("ijk,ijk->i", x, y) / np.sqrt(np.maximum(xx * yy, 1e-6)), spread
