"""From a point to the root, through the texts that entail it (MERU, image traversals).

The way is the straight line in the tangent space at the origin, in equal steps, both ends among them. Each
step takes the nearest text among those in whose cone its point lies; the root entails everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.spaces import Space

ROOT = "[ROOT]"


@dataclass(frozen=True)
class Step:
    """One step of the way.

    Attributes:
        share: of the way done, 0 at the point and 1 at the root.
        text: the nearest text, or `ROOT`.
        number: its place among the texts; None for the root.
        radius: of the text, its distance from the root.
        distance: of the text from the step's point.
        inside: radians that the step's point lies within the text's cone, negative outside; None for the
            root, which holds everything.
        entailing: how many texts entail the step's point, the root not counted.
    """

    share: float
    text: str
    number: int | None
    radius: float
    distance: float
    inside: float | None
    entailing: int


@dataclass(frozen=True)
class Traversal:
    """A way to the root, and what it went among.

    Attributes:
        radius: of the starting point.
        steps: from the point to the root, see `traverse`.
        texts: how many candidates there were.
        nearest_cone: the text in whose cone the starting point lies deepest, or which it misses least.
        nearest_inside: radians that it lies within that cone, negative outside.
        unknown: texts left out because the model knows no word of them.
        entailed: whether texts that do not entail the step were passed over.
    """

    radius: float
    steps: list[Step]
    texts: int
    nearest_cone: str
    nearest_inside: float
    unknown: list[str]
    entailed: bool = True

    @classmethod
    def of(
        cls,
        space: Space,
        point: np.ndarray,
        text_points: np.ndarray,
        texts: Sequence[str],
        *,
        steps: int = 50,
        entailed: bool = True,
        unknown: Sequence[str] = (),
    ) -> Traversal:
        """`traverse` among at least one text; arguments and errors are its own."""
        found = traverse(space, point, text_points, texts, steps=steps, entailed=entailed)
        start = np.reshape(point, -1)
        excess = space.cone_excess(text_points, start)
        best = int(excess.argmin())
        radius = float(space.radius(start))
        return cls(radius, found, len(texts), texts[best], -float(excess[best]), [*unknown], entailed)

    @property
    def chain(self) -> list[Step]:
        """The first step at each text: what a person reads."""
        return chain(self.steps)

    def to_json(self) -> dict[str, Any]:
        """As a JSON value, ``chain`` and all ``steps``."""
        return asdict(self) | {"chain": [asdict(step) for step in self.chain]}


def traverse(
    space: Space,
    point: np.ndarray,
    text_points: np.ndarray,
    texts: Sequence[str],
    *,
    steps: int = 50,
    min_radius: float = 0.1,
    entailed: bool = True,
) -> list[Step]:
    """Go from a point to the root.

    On this way the set of entailing texts only shrinks, and the root stays nearest once it is (both by
    convexity), so the last step is at the root and no other text follows it.

    Args:
        space: one with cones.
        point: (width,) or (1, width), where the way starts.
        text_points: (N, width), N may be 0.
        texts: the N texts, none of them `ROOT`.
        steps: points on the way, both ends among them; MERU takes 50.
        min_radius: MERU's K, see `Lorentz.cone_excess`.
        entailed: pass over texts that do not entail the step's point; if not, the nearest of all is taken, as
            MERU does for CLIP.

    Returns:
        ``steps`` steps; ties go to the root, then to the first text.

    Raises:
        LimbeckError: a space without cones, fewer than two steps, another number of texts than points, a text
            named like the root, points of another width.
    """
    require_cones(space)
    check_steps(steps)
    refuse_root(texts)
    start = space.check(np.atleast_2d(point), what="point")
    if len(start) != 1:
        raise LimbeckError(f"traverse: {len(start)} points at once; give one")
    places = space.check(text_points, what="texts")
    if len(places) != len(texts):
        raise LimbeckError(f"traverse: {len(texts)} texts, but {len(places)} points; give one a text")
    root = space.root()
    candidates = np.concatenate([root[None], places])  # the root first: a tie is its
    shares = np.linspace(0, 1, steps)
    way = space.interpolate(start[0], root, shares)
    holds = space.pairwise_entails(candidates, way, min_radius)  # (1 + N, steps)
    nearness = space.similarity(way, candidates)
    best = np.where(holds.T, nearness, -np.inf).argmax(1) if entailed else nearness.argmax(1)
    chosen = candidates[best]
    inside = -space.cone_excess(chosen, way, min_radius)
    radius, distance, count = space.radius(chosen), -nearness[np.arange(steps), best], holds[1:].sum(0)
    return [
        Step(
            share=float(shares[at]),
            text=ROOT if number < 0 else texts[number],
            number=None if number < 0 else number,
            radius=float(radius[at]),
            distance=abs(float(distance[at])),  # not -0.0
            inside=None if number < 0 else float(inside[at]),
            entailing=int(count[at]),
        )
        for at, number in enumerate((best - 1).tolist())
    ]


def chain(steps: Sequence[Step]) -> list[Step]:
    """The first step at each text, in order; the last is the root's."""
    found: dict[int | None, Step] = {}
    for step in steps:
        found.setdefault(step.number, step)
    return list(found.values())


def split_known(texts: Sequence[str], check: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """Texts that ``check`` lets pass (an encoder's, for words it knows), and the others.

    Raises:
        LimbeckError: no texts, one named like the root, or none passes.
    """
    refuse_root(texts)
    if not texts:
        raise LimbeckError("traverse: no texts to pass; give at least one")
    known, unknown = [], []
    for text in texts:
        try:
            check(text)
            known.append(text)
        except LimbeckError:
            unknown.append(text)
    if not known:
        raise LimbeckError(f"traverse: the model knows no word of the {len(texts)} texts; give it others")
    return known, unknown


def refuse_root(texts: Sequence[str]) -> None:
    """Refuse a text that could be taken for the root."""
    if ROOT in texts:
        raise LimbeckError(f"texts: {ROOT!r} is the root's own name, which always stands there; remove it")


def check_steps(steps: int) -> None:
    """Refuse what is no number of steps: a way has two ends."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 2:
        raise LimbeckError(f"steps: {steps!r} is not a whole number of at least 2")


def require_cones(space: Space) -> None:
    """Refuse a space without entailment."""
    if not space.has_cones:
        raise LimbeckError(
            f"traverse: {space!r} has no entailment cones; "
            "take an index of a model trained with a lift of kind tangent or polar"
        )
