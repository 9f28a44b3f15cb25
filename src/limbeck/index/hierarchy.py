"""Search along the hierarchy: only items that are more general, or more specific, than a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.spaces import Space

Along = Literal["more-general", "more-specific"]
_BLOCK_CELLS = 1 << 20  # coordinates held at once, in float64


def in_hierarchy(space: Space, parts: Sequence[np.ndarray], point: np.ndarray, along: str) -> np.ndarray:
    """bool (rows,): the items that entail a point and lie nearer to the root, or the other way round.

    Entailment is that of MERU's cones (`Space.entails`); two near points may lie in each other's cones, so
    the radius decides which is the general one. A point is neither of itself.

    Args:
        space: one with cones.
        parts: stored points of the segments, (n_i, width) each.
        point: (1, width).
        along: "more-general": items in whose cone the point lies; "more-specific": items in its cone.

    Raises:
        LimbeckError: a space without cones, another word.
    """
    if along not in get_args(Along):
        raise LimbeckError(f"along: {along!r} is neither of {', '.join(get_args(Along))}")
    if not space.has_cones:
        raise LimbeckError(f"{along}: {space!r} has no entailment cones; take an index of a Lorentz model")
    own, up = space.radius(point)[0], along == "more-general"
    step, found = max(1, _BLOCK_CELLS // space.width), []
    for part in parts:
        for start in range(0, len(part), step):
            block = part[start : start + step]
            radius = space.radius(block)
            inside = (
                space.pairwise_entails(block, point)[:, 0] if up else space.pairwise_entails(point, block)[0]
            )
            found.append(inside & (radius < own if up else radius > own))
    return np.concatenate(found) if found else np.empty(0, dtype=bool)


def nearest_cone(space: Space, parts: Sequence[np.ndarray], point: np.ndarray, along: str) -> float:
    """By how many degrees the cone of `in_hierarchy` misses the item that it comes nearest to; 0 inside.

    Only items on the right side of the point's radius count; infinity where there is none.
    """
    own, up = space.radius(point)[0], along == "more-general"
    step, least = max(1, _BLOCK_CELLS // space.width), np.inf
    for part in parts:
        for start in range(0, len(part), step):
            block = part[start : start + step]
            radius = space.radius(block)
            block = block[radius < own if up else radius > own]
            excess = space.cone_excess(block, point) if up else space.cone_excess(point, block)
            least = min(least, float(np.min(excess, initial=np.inf)))
    return float(np.rad2deg(max(least, 0.0)))


def with_masks(
    store: IndexStore, points: np.ndarray, mask: np.ndarray | None, along: str | None
) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Queries with the rows that they may find: all together, or each with its part of the hierarchy.

    Raises:
        LimbeckError: as `in_hierarchy`, and points of another width.
    """
    if along is None:
        return [(points, mask)]
    asked = store.space.check(points, what="query")
    found = []
    for q in range(len(asked)):
        inside = in_hierarchy(store.space, store.points, asked[q : q + 1], along)
        found.append((asked[q : q + 1], inside if mask is None else inside & mask))
    return found
