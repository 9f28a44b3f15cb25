"""Places points of a space with cones on a Poincaré disk: radii are exact, angles are a projection (ours).

A page cannot show hundreds of dimensions. A point at distance r from the root is at tanh(√curv · r / 2) from
the centre, as in any Poincaré model. Its angle is that of its direction on the two main axes of the shown
directions. Pictures and texts lie in different cones, so each kind is centred by itself first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limbeck.spaces import Space


def on_disk(space: Space, points: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
    """Return the places (N, 2) of points (N, dim) in the unit disk.

    Args:
        space: a space with cones.
        points: N points.
        kinds: the kind of each point; the mean direction of a kind is subtracted before angles are taken.
    """
    directions = np.asarray(points, np.float64)
    lengths = np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions / np.maximum(lengths, 1e-12)
    for kind in set(kinds):
        same = np.array([one == kind for one in kinds])
        directions[same] -= directions[same].mean(0)
    axes = np.linalg.svd(directions, full_matrices=False)[2][:2]
    axes *= np.where(axes[np.arange(len(axes)), np.abs(axes).argmax(1)] < 0, -1, 1)[:, None]  # a fixed sign
    flat = np.zeros((len(points), 2))
    flat[:, : len(axes)] = directions @ axes.T
    flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-12)
    root = np.sqrt(float(space.to_json()["curv"]))
    return np.tanh(root * space.radius(points) / 2)[:, None] * flat
