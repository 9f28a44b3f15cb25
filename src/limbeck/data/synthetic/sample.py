"""Random scenes: figures and their positions, before any drawing or caption."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from limbeck.data.synthetic import taxonomy as tx

COUNTS = (1, 2, 3)
COUNT_SHARES = (0.34, 0.4, 0.26)
# Radii in units of the picture's side; the gap between small and large keeps the words true.
RADII = {"small": (0.13, 0.16), "large": (0.215, 0.26)}
# The ratio by which one axis must dominate for "above" or "left of".
DOMINANCE = 1.3
Statement = tuple[str, tuple[str, ...], frozenset[tuple[str, tuple[str, ...]]]]


@dataclass(frozen=True)
class Figure:
    """One figure; x, y and radius in units of the picture's side, y downwards."""

    shape: str
    colour: str
    texture: str
    size: str
    x: float
    y: float
    radius: float

    @property
    def kind(self) -> tuple[str, str, str, str]:
        """The attributes of the figure alone: size, texture, colour, shape."""
        return self.size, self.texture, self.colour, self.shape


@dataclass(frozen=True)
class Scene:
    """One to three figures, the main one first, in a place."""

    figures: tuple[Figure, ...]
    place: str


def sample_scene(rng: np.random.Generator, *, held_out: bool = False) -> Scene:
    """Draw a scene; figures do not overlap, are visible, and each pair has a clear relation.

    Args:
        rng: the item's own generator.
        held_out: give the main figure one of the combinations that no other scene has.
    """
    while True:
        place = str(rng.choice(tx.PLACES))
        count = int(rng.choice(COUNTS, p=COUNT_SHARES))
        sizes = sorted(str(rng.choice(tx.SIZES)) for _ in range(count))  # large sorts before small
        if count == 3 and sizes.count("large") > 1:
            continue  # three figures have no room for two large ones
        looks = [_sample_look(rng, place, held_out and at == 0) for at in range(count)]
        if len(set(looks)) < count:
            continue
        spots = _place_figures(rng, sizes)
        if spots is None:
            continue
        figures = (Figure(*look, size, *spot) for look, size, spot in zip(looks, sizes, spots, strict=True))
        return Scene(tuple(figures), place)


def _sample_look(rng: np.random.Generator, place: str, held_out: bool) -> tuple[str, str, str]:
    while True:
        shape, colour = str(rng.choice(tx.SHAPES)), str(rng.choice(tx.COLOURS))
        if (colour, place) not in tx.INVISIBLE and ((colour, shape) in tx.HELD_OUT) == held_out:
            return shape, colour, str(rng.choice(tx.TEXTURES, p=(0.4, 0.2, 0.2, 0.2)))


def _place_figures(rng: np.random.Generator, sizes: list[str]) -> list[tuple[float, float, float]] | None:
    """Return positions (x, y, radius) without overlap, with clear relations; None after twenty tries."""
    for _ in range(20):
        radii = [float(rng.uniform(*RADII[size])) for size in sizes]
        spots = [(*(float(v) for v in rng.uniform(r + 0.03, 0.97 - r, size=2)), r) for r in radii]
        if all(_clear(a, b) for a, b in itertools.combinations(spots, 2)):
            return [(x, y, r) for x, y, r in spots]
    return None


def _clear(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    dx, dy = abs(a[0] - b[0]), abs(a[1] - b[1])
    return np.hypot(dx, dy) > a[2] + b[2] + 0.02 and max(dx, dy) > DOMINANCE * min(dx, dy)


def relation(a: Figure, b: Figure) -> str:
    """Return where ``a`` is relative to ``b``: above, below, left of or right of, by the longer axis."""
    dx, dy = a.x - b.x, a.y - b.y
    if abs(dx) > abs(dy):
        return "left of" if dx < 0 else "right of"
    return "above" if dy < 0 else "below"


def position(figure: Figure) -> str:
    """Return the coarse position in the picture, such as ``on the left``."""
    dx, dy = figure.x - 0.5, figure.y - 0.5
    if max(abs(dx), abs(dy)) < 0.1:
        return "in the middle"
    if abs(dx) > abs(dy):
        return "on the left" if dx < 0 else "on the right"
    return "at the top" if dy < 0 else "at the bottom"


def statement(scene: Scene) -> Statement:
    """Return the statement of the most detailed caption: the place, the main figure, its position."""
    main, *others = scene.figures
    where = [(position(main), ())] if not others else [(relation(main, o), o.kind) for o in others]
    return scene.place, main.kind, frozenset(where)


def true_statements(scene: Scene) -> set[Statement]:
    """Return every statement of that form that is true of the scene, also about fewer figures."""
    found: set[Statement] = set()
    for figure in scene.figures:
        others = [(relation(figure, o), o.kind) for o in scene.figures if o is not figure]
        found.add((scene.place, figure.kind, frozenset([(position(figure), ())])))
        for count in range(1, len(others) + 1):
            for chosen in itertools.combinations(others, count):
                found.add((scene.place, figure.kind, frozenset(chosen)))
    return found


class Distinct:
    """Keep scenes of a split distinct: no accepted scene's statement is true of another accepted one."""

    def __init__(self) -> None:
        self._stated: set[Statement] = set()
        self._true: set[Statement] = set()

    def accept(self, scene: Scene) -> bool:
        """Add the scene if it is distinct; return whether it was added."""
        own, true = statement(scene), true_statements(scene)
        if own in self._true or not self._stated.isdisjoint(true):
            return False
        self._stated.add(own)
        self._true |= true
        return True
