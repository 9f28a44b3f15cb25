"""Traverse from a point to the root, through the texts that entail it (MERU, image traversals).

The path is the straight line in the tangent space at the origin, in equal steps including both ends. Each
step selects the nearest text whose cone contains the point of the step; the root entails every point.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.spaces import Space
from limbeck.typed import Json

ROOT = "[ROOT]"
# MERU takes 50. Pictures on a wide shell leave a tenth of the path to the texts near the root, which
# 50 steps partly pass over.
STEPS = 200


@dataclass(frozen=True)
class Step:
    """One step of the path.

    Attributes:
        share: position on the path, 0 at the point and 1 at the root.
        text: the nearest text, or `ROOT`.
        number: its position in the list of texts; None for the root.
        radius: distance of the text from the root.
        distance: distance of the text from the point of the step.
        inside: angle in radians by which the point is inside the cone of the text, negative outside; None for
            the root, which entails every point.
        entailing: number of texts that entail the point, without the root.
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
    """A path from a point to the root, and statistics of its candidates.

    Attributes:
        radius: distance of the starting point from the root.
        steps: steps from the point to the root, see `traverse`.
        texts: number of candidate texts.
        nearest_cone: the text with the smallest difference of exterior angle and half aperture at the start.
        nearest_inside: angle in radians by which the starting point is inside that cone, negative outside.
        unknown: texts left out because the model knows none of their words.
        entailed: whether texts that do not entail the point of a step were skipped.
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
        steps: int = STEPS,
        entailed: bool = True,
        unknown: Sequence[str] = (),
    ) -> Traversal:
        """Call `traverse` with at least one text, and add the statistics; it takes the same arguments."""
        path = traverse(space, point, text_points, texts, steps=steps, entailed=entailed)
        start = np.reshape(point, -1)
        excess = space.cone_excess(text_points, start)
        best = int(excess.argmin())
        radius = float(space.radius(start))
        return cls(radius, path, len(texts), texts[best], -float(excess[best]), [*unknown], entailed)

    @property
    def chain(self) -> list[Step]:
        """The first step at each text."""
        return chain(self.steps)

    def to_json(self) -> dict[str, Json]:
        """Return the traversal as a JSON object, with ``chain`` and all ``steps``."""
        return asdict(self) | {"chain": [asdict(step) for step in self.chain]}


def traverse(
    space: Space,
    point: np.ndarray,
    text_points: np.ndarray,
    texts: Sequence[str],
    *,
    steps: int = STEPS,
    min_radius: float = 0.1,
    entailed: bool = True,
) -> list[Step]:
    """Traverse from a point to the root.

    On this path the set of entailing texts can only shrink, and the root stays nearest once it is nearest
    (both by convexity). The last step is therefore the root, and no other text follows it.

    Args:
        space: a space with cones.
        point: (width,) or (1, width), the start of the path.
        text_points: embeddings of the texts, (N, width); N may be 0.
        texts: the N texts, none of them `ROOT`.
        steps: number of points on the path, including both ends; MERU takes 50.
        min_radius: MERU's K, see `Lorentz.cone_excess`.
        entailed: skip texts that do not entail the point of a step. Otherwise the nearest of all texts is
            selected, as MERU does for CLIP.

    Returns:
        ``steps`` steps; ties go to the root, then to the first text.

    Raises:
        LimbeckError: the space has no cones; there are fewer than two steps; the numbers of texts and points
            differ; a text equals `ROOT`; points have a wrong width.
    """
    require_cones(space)
    check_steps(steps)
    refuse_root(texts)
    start = space.check(np.atleast_2d(point), what="point")
    if len(start) != 1:
        raise LimbeckError(f"traverse: {len(start)} points; give one", code="E-ARRAY-SHAPE")
    places = space.check(text_points, what="texts")
    if len(places) != len(texts):
        raise LimbeckError(
            f"traverse: {len(texts)} texts, but {len(places)} points; give one point per text",
            code="E-ARRAY-ROWS",
        )
    root = space.root()
    candidates = np.concatenate([root[None], places])  # the root comes first and wins ties
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
    """Return the first step at each text, in order; the last one is the root."""
    first: dict[int | None, Step] = {}
    for step in steps:
        first.setdefault(step.number, step)
    return list(first.values())


def split_known(texts: Sequence[str], check: Callable[[str], None]) -> tuple[list[str], list[str]]:
    """Split texts into those that ``check`` accepts and those that make it raise a `LimbeckError`.

    Args:
        texts: candidate texts.
        check: for example the check of a text encoder for known words.

    Raises:
        LimbeckError: there are no texts, one equals `ROOT`, or none is accepted.
    """
    refuse_root(texts)
    if not texts:
        raise LimbeckError("traverse: there are no texts to pass; give at least one", code="E-ARRAY-EMPTY")
    known, unknown = [], []
    for text in texts:
        try:
            check(text)
            known.append(text)
        except LimbeckError:
            unknown.append(text)
    if not known:
        raise LimbeckError(
            f"traverse: the model knows no word of the {len(texts)} texts; give other texts",
            code="E-QUERY-WORDS",
        )
    return known, unknown


def refuse_root(texts: Sequence[str]) -> None:
    """Raise a `LimbeckError` if a text equals `ROOT`."""
    if ROOT in texts:
        raise LimbeckError(
            f"texts: {ROOT!r} is the name of the root, which is always a candidate; remove it",
            code="E-OPTION-CONFLICT",
        )


def check_steps(steps: int) -> None:
    """Raise a `LimbeckError` unless ``steps`` is a whole number of at least 2."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 2:
        raise LimbeckError(f"steps: {steps!r} is not a whole number of at least 2", code="E-OPTION-RANGE")


def require_cones(space: Space) -> None:
    """Raise a `LimbeckError` if the space has no entailment cones."""
    if not space.has_cones:
        raise LimbeckError(
            f"traverse: {space!r} has no entailment cones; "
            "use an index of a model trained with a lift of kind tangent or polar",
            code="E-SPACE-CONES",
        )
