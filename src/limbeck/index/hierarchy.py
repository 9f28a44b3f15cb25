"""Restricts a search to items that are more general, or more specific, than the query point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.spaces import Space

Hierarchy = Literal["more-general", "more-specific"]
_BLOCK_CELLS = 1 << 20  # float64 coordinates that are in memory at once


def in_hierarchy(space: Space, parts: Sequence[np.ndarray], point: np.ndarray, direction: str) -> np.ndarray:
    """Return bool (rows,): the items that entail a point and are nearer to the root, or the reverse.

    Entailment is that of MERU's cones (Desai et al. 2023; `Space.entails`). Two near points may be in each
    other's cones; then the one with the smaller radius is the more general. No point is more general or more
    specific than itself.

    Args:
        space: a space with entailment cones.
        parts: stored points of the segments, (n_i, width) each.
        point: (1, width).
        direction: "more-general" for items whose cone contains the point; "more-specific" for items in its
            cone.

    Raises:
        LimbeckError: the space has no cones, or ``direction`` is another word.
    """
    if direction not in get_args(Hierarchy):
        raise LimbeckError(
            f"hierarchy: {direction!r} is not one of {', '.join(get_args(Hierarchy))}", code="E-OPTION-CHOICE"
        )
    if not space.has_cones:
        raise LimbeckError(
            f"{direction}: {space!r} has no entailment cones; use an index of a Lorentz model",
            code="E-SPACE-CONES",
        )
    point_radius, up = space.radius(point)[0], direction == "more-general"
    step, blocks = max(1, _BLOCK_CELLS // space.width), []
    for part in parts:
        for start in range(0, len(part), step):
            block = part[start : start + step]
            radius = space.radius(block)
            inside = (
                space.pairwise_entails(block, point)[:, 0] if up else space.pairwise_entails(point, block)[0]
            )
            blocks.append(inside & (radius < point_radius if up else radius > point_radius))
    return np.concatenate(blocks) if blocks else np.empty(0, dtype=bool)


def nearest_cone(space: Space, parts: Sequence[np.ndarray], point: np.ndarray, direction: str) -> float:
    """Return by how many degrees the nearest item is outside the cone of `in_hierarchy`; 0 if it is inside.

    Only items of smaller radius (more general) or of larger radius (more specific) count; without one the
    result is infinity. The arguments are those of `in_hierarchy`.
    """
    point_radius, up = space.radius(point)[0], direction == "more-general"
    step, least = max(1, _BLOCK_CELLS // space.width), np.inf
    for part in parts:
        for start in range(0, len(part), step):
            block = part[start : start + step]
            radius = space.radius(block)
            block = block[radius < point_radius if up else radius > point_radius]
            excess = space.cone_excess(block, point) if up else space.cone_excess(point, block)
            least = min(least, float(np.min(excess, initial=np.inf)))
    return float(np.rad2deg(max(least, 0.0)))


def with_masks(
    store: IndexStore, points: np.ndarray, mask: np.ndarray | None, direction: str
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Return the queries one by one, each with the mask of its hierarchy.

    Args:
        store: the index.
        points: (Q, width).
        mask: bool (rows,), True for allowed rows; None allows all.
        direction: as `in_hierarchy`.

    Raises:
        LimbeckError: as `in_hierarchy`, or the points have another width.
    """
    checked = store.space.check(points, what="query")
    pairs = []
    for q in range(len(checked)):
        inside = in_hierarchy(store.space, store.points, checked[q : q + 1], direction)
        pairs.append((checked[q : q + 1], inside if mask is None else inside & mask))
    return pairs
