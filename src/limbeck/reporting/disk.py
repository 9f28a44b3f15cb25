"""A hyperbolic space on the Poincaré disk: the distance from the root is exact, the direction is a flat view.

Hundreds of dimensions do not fit on a page, so radius and angle are drawn apart. A point at geodesic distance
r from the root stands at tanh(r / 2) from the middle, as in any Poincaré model. Its angle comes from a linear
map of its direction to the plane, fitted to texts that name the leaves of a tree, so that leaves stand in the
order of their tree (`fit_angles`). Everything else is placed by that map and had no say in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.style import GRID, INK, SOFT, Look, looks

SIZE = (5.2, 5.2)
RINGS = (0.5, 1.0, 1.5, 2.0, 3.0)
RIDGE = 0.1  # penalty, relative to the mean eigenvalue of the directions' scatter


@dataclass(frozen=True)
class Angles:
    """A linear map of unit directions (n, d) to the plane, and the mean direction it was fitted around."""

    weights: np.ndarray
    center: np.ndarray

    def place(self, points: np.ndarray, radii: np.ndarray, center: np.ndarray | None = None) -> np.ndarray:
        """Where points stand on the disk, (n, 2).

        Args:
            points: (n, d) space parts or tangent vectors; only their directions are read.
            radii: (n,) geodesic distances from the root in units of 1/√curv.
            center: (d,) mean direction of their kind; that of the fitted texts when not given. Pictures and
                texts lie in cones of their own, so pictures need theirs.
        """
        flat = (directions(points) - (self.center if center is None else center)) @ self.weights
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        return np.tanh(np.asarray(radii) / 2)[:, None] * flat / np.maximum(length, 1e-12)


def fit_angles(points: np.ndarray, leaves: Sequence[str], paths: Iterable[Sequence[str]]) -> Angles:
    """Ridge regression from directions to the unit circle.

    Args:
        points: (n, d) texts that name leaves, several a leaf.
        leaves: (n,) the leaf that each names.
        paths: paths of the tree, root first; the leaves stand at equal angles in the order of these.
    """
    angle = leaf_angles(paths)
    turn = np.array([angle[leaf] for leaf in leaves])
    target = np.stack([np.cos(turn), np.sin(turn)], 1)
    center = directions(points).mean(0)
    x = directions(points) - center
    penalty = RIDGE * float(np.square(x).sum()) / x.shape[1]
    weights = np.linalg.solve(x.T @ x + penalty * np.eye(x.shape[1]), x.T @ target)
    return Angles(weights, center)


def directions(points: np.ndarray) -> np.ndarray:
    """Unit vectors (n, d), float64; a space part on the hyperboloid has that of its tangent vector."""
    points = np.asarray(points, float)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)


def leaf_angles(paths: Iterable[Sequence[str]]) -> dict[str, float]:
    """Leaf → angle in radians: leaves at equal distances, siblings beside each other."""
    names = {tuple(path) for path in paths}
    inner = {path[:at] for path in names for at in range(1, len(path))}
    leaves = sorted(names - inner)
    return {path[-1]: 2 * np.pi * at / len(leaves) for at, path in enumerate(leaves)}


@dataclass(frozen=True)
class Disk:
    """One model's disk.

    Attributes:
        spots: (n, 2) pictures.
        branches: (n,) branch of the tree that each belongs to.
        nodes: name → (2,) where the text that names a node stands.
        edges: (parent, child) names; a parent that is no node is the root, in the middle.
        node_branches: name → its branch; other nodes are drawn without a colour.
    """

    spots: np.ndarray
    branches: Sequence[str]
    nodes: Mapping[str, np.ndarray]
    edges: Sequence[tuple[str, str]]
    node_branches: Mapping[str, str]


def poincare_disks(models: Mapping[str, Disk], colors: Mapping[str, str] | None = None) -> Chart | None:
    """Disks beside each other, pictures coloured by branch, the tree's texts named and joined by geodesics.

    Args:
        models: label → its disk.
        colors: branch → one of `SERIES`; in order of appearance when not given.

    Returns:
        None without a model.
    """
    if not models:
        return None
    branches = dict.fromkeys(b for disk in models.values() for b in disk.node_branches.values())
    look = looks(branches) if colors is None else {b: Look(colors[b], "o", "-") for b in branches}
    farthest = max(float(np.linalg.norm(disk.spots, axis=1).max(initial=0.5)) for disk in models.values())
    limit = min(1.03, 1.12 * farthest)  # a rim without a point would make the tree too small to read
    panels = [Panel(label, partial(_panel, disk, look, limit)) for label, disk in models.items()]
    legend = [Key(branch, style, "bar") for branch, style in look.items()]
    return Chart("disk", panels, legend, SIZE)


def _panel(disk: Disk, look: dict[str, Look], limit: float, axis: Any) -> None:
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    _rings(limit, axis)
    for branch, style in look.items():
        own = disk.spots[np.array([b == branch for b in disk.branches], bool)]
        axis.scatter(own[:, 0], own[:, 1], s=10, color=style.color, alpha=0.4, linewidths=0, zorder=2)
    for parent, child in disk.edges:
        way = geodesic(disk.nodes.get(parent, np.zeros(2)), disk.nodes[child])
        axis.plot(way[:, 0], way[:, 1], color=_color(disk, look, child), linewidth=1.7, zorder=4)
    axis.scatter([0], [0], s=30, color=INK, zorder=5)
    names, spots = list(disk.nodes), np.array(list(disk.nodes.values())).reshape(-1, 2)
    labels = label_places(spots, inner=0.1 * limit, least=0.5 * limit)
    for name, spot, label in zip(names, spots, labels, strict=True):
        axis.plot(*np.stack([spot, label]).T, color=SOFT, linewidth=0.7, zorder=3)
        axis.scatter(*spot, s=28, color=_color(disk, look, name), edgecolor=INK, linewidths=0.8, zorder=6)
        right, up = label - spot
        axis.annotate(
            name, label, xytext=(3 * np.sign(right), 0), textcoords="offset points", fontsize=10, zorder=7,
            color=INK, ha="left" if right > 0 else "right", va="bottom" if up > 0 else "top",
        )  # fmt: skip


def _rings(limit: float, axis: Any) -> None:
    """Circles of equal distance from the root, and the rim where it is in sight."""
    turn = np.linspace(0, 2 * np.pi, 181)
    for radius in (*RINGS, np.inf):
        at = np.tanh(radius / 2)
        if at < limit:
            color = GRID if np.isfinite(radius) else SOFT
            axis.plot(at * np.cos(turn), at * np.sin(turn), color=color, linewidth=1.0, zorder=0)
        if at < min(limit, 1):
            axis.annotate(f"{radius:g}", (0, -at), color=SOFT, fontsize=8, ha="center", va="center")


def label_places(spots: np.ndarray, inner: float, least: float = 0.0) -> np.ndarray:
    """Where names go, (n, 2): outside of all the points they name, on one circle, apart from each other.

    Args:
        spots: (n, 2) points.
        inner: distance between the farthest of them and the circle.
        least: radius below which names on the circle would cover each other.
    """
    if not len(spots):
        return spots
    order = np.argsort(np.arctan2(spots[:, 1], spots[:, 0]))
    turn = np.arctan2(spots[order, 1], spots[order, 0])
    apart = min(0.36, 2 * np.pi / len(spots))
    for _ in range(200):  # neighbours push each other away, around the circle
        gaps = np.diff(np.append(turn, turn[0] + 2 * np.pi))
        push = np.maximum(apart - gaps, 0) / 2
        if push.max() < 1e-3:
            break
        turn = turn - push + np.roll(push, 1)
    circle = max(least, np.linalg.norm(spots, axis=1).max() + inner)
    places = np.empty_like(spots, dtype=float)
    places[order] = circle * np.stack([np.cos(turn), np.sin(turn)], 1)
    return places


def _color(disk: Disk, look: dict[str, Look], name: str) -> str:
    branch = disk.node_branches.get(name)
    return look[branch].color if branch in look else SOFT


def geodesic(a: np.ndarray, b: np.ndarray, count: int = 24) -> np.ndarray:
    """Points (count, 2) on the shortest way between two points of the disk.

    The disk's isometry z → (z − a)/(1 − āz) takes a to the middle, from where the way is straight, and back.
    """
    start, end = complex(*a), complex(*b)
    aim = (end - start) / (1 - start.conjugate() * end)
    length = min(abs(aim), 1 - 1e-9)
    share = np.tanh(np.linspace(0, 1, count) * np.arctanh(length))
    w = share * (aim / length if length else 0)
    z = (w + start) / (1 + start.conjugate() * w)
    return np.stack([z.real, z.imag], 1)
