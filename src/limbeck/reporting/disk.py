"""Draw a hyperbolic space on the Poincaré disk: radii are exact, angles are a linear projection (ours).

A page cannot show hundreds of dimensions, so radius and angle are computed separately. A point at geodesic
distance r from the root is drawn at tanh(r / 2) from the centre, as in any Poincaré model. Its angle comes
from a linear map of its direction to the plane. The map is fitted to texts that name the leaves of a tree, so
that the leaves are in the order of the tree (`fit_angles`). It places all other points but is not fitted to
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.style import GRID, INK, SOFT, Look, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SIZE = (5.2, 5.2)
RINGS = (0.5, 1.0, 1.5, 2.0, 3.0)
RIDGE = 0.1  # ridge penalty, relative to the mean eigenvalue of the scatter matrix of the directions


@dataclass(frozen=True)
class Angles:
    """A linear map of unit directions to the plane.

    Attributes:
        weights: float64 (d, 2).
        center: float64 (d,), mean direction of the fitted texts.
    """

    weights: np.ndarray
    center: np.ndarray

    def place(self, points: np.ndarray, radii: np.ndarray, center: np.ndarray | None = None) -> np.ndarray:
        """Return the positions of points on the disk, (n, 2).

        Args:
            points: (n, d) space parts or tangent vectors; only their directions are used.
            radii: (n,) geodesic distances from the root in units of 1/√curv.
            center: (d,) mean direction of the points' modality; by default that of the fitted texts. Pictures
                and texts are in different cones (the modality gap), so give the mean of the pictures for
                pictures.
        """
        flat = (directions(points) - (self.center if center is None else center)) @ self.weights
        length = np.linalg.norm(flat, axis=1, keepdims=True)
        return np.tanh(np.asarray(radii) / 2)[:, None] * flat / np.maximum(length, 1e-12)


def fit_angles(points: np.ndarray, leaves: Sequence[str], paths: Iterable[Sequence[str]]) -> Angles:
    """Fit a ridge regression from directions to the unit circle.

    Args:
        points: (n, d) embeddings of texts that name leaves, any number per leaf.
        leaves: (n,) the leaf of each text.
        paths: paths of the tree, root first; the leaves are at equal angles in the order of the tree.
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
    """Return unit vectors (n, d), float64; a space part has the same direction as its tangent vector."""
    points = np.asarray(points, float)
    return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)


def leaf_angles(paths: Iterable[Sequence[str]]) -> dict[str, float]:
    """Return leaf → angle in radians; the angles are equally spaced, and siblings are adjacent."""
    names = {tuple(path) for path in paths}
    inner = {path[:at] for path in names for at in range(1, len(path))}
    leaves = sorted(names - inner)
    return {path[-1]: 2 * np.pi * at / len(leaves) for at, path in enumerate(leaves)}


@dataclass(frozen=True)
class Disk:
    """The disk of one model.

    Attributes:
        spots: (n, 2) positions of the pictures.
        branches: (n,) branch of the tree of each picture.
        nodes: name → (2,) position of the text that names a node.
        edges: (parent, child) names; a parent that is not in ``nodes`` is the root, at the centre.
        node_branches: name → its branch; other nodes are drawn in grey.
    """

    spots: np.ndarray
    branches: Sequence[str]
    nodes: Mapping[str, np.ndarray]
    edges: Sequence[tuple[str, str]]
    node_branches: Mapping[str, str]


def poincare_disks(models: Mapping[str, Disk], colors: Mapping[str, str] | None = None) -> Chart | None:
    """Draw one disk per model: pictures coloured by branch, texts of the tree named and joined by geodesics.

    ``colors`` gives each branch one of `SERIES`; the default is the order of appearance. The chart is None
    without a model.
    """
    if not models:
        return None
    branches = dict.fromkeys(b for disk in models.values() for b in disk.node_branches.values())
    look = looks(branches) if colors is None else {b: Look(colors[b], "o", "-") for b in branches}
    farthest = max(float(np.linalg.norm(disk.spots, axis=1).max(initial=0.5)) for disk in models.values())
    limit = min(1.03, 1.12 * farthest)  # the whole disk would make the tree too small to read
    panels = [Panel(label, partial(_panel, disk, look, limit)) for label, disk in models.items()]
    legend = [Key(branch, style, "bar") for branch, style in look.items()]
    return Chart("disk", panels, legend, SIZE)


def _panel(disk: Disk, look: dict[str, Look], limit: float, axis: Axes) -> None:
    axis.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    _rings(limit, axis)
    for branch, style in look.items():
        spots = disk.spots[np.array([b == branch for b in disk.branches], bool)]
        axis.scatter(spots[:, 0], spots[:, 1], s=10, color=style.color, alpha=0.4, linewidths=0, zorder=2)
    for parent, child in disk.edges:
        way = geodesic(disk.nodes.get(parent, np.zeros(2)), disk.nodes[child])
        axis.plot(way[:, 0], way[:, 1], color=_color(disk, look, child), linewidth=1.7, zorder=4)
    axis.scatter([0], [0], s=30, color=INK, zorder=5)
    names, spots = list(disk.nodes), np.array(list(disk.nodes.values())).reshape(-1, 2)
    labels = label_places(spots, inner=0.1 * limit, least=0.5 * limit)
    for name, spot, label in zip(names, spots, labels, strict=True):
        axis.plot(*np.stack([spot, label]).T, color=SOFT, linewidth=0.7, zorder=3)
        x, y = spot.tolist()
        axis.scatter(x, y, s=28, color=_color(disk, look, name), edgecolor=INK, linewidths=0.8, zorder=6)
        right, up = label - spot
        axis.annotate(
            name, label, xytext=(3 * np.sign(right), 0), textcoords="offset points", fontsize=10, zorder=7,
            color=INK, ha="left" if right > 0 else "right", va="bottom" if up > 0 else "top",
        )  # fmt: skip


def _rings(limit: float, axis: Axes) -> None:
    """Draw circles of equal distance from the root, and the boundary of the disk if it is visible."""
    turn = np.linspace(0, 2 * np.pi, 181)
    for radius in (*RINGS, np.inf):
        at = np.tanh(radius / 2)
        if at < limit:
            color = GRID if np.isfinite(radius) else SOFT
            axis.plot(at * np.cos(turn), at * np.sin(turn), color=color, linewidth=1.0, zorder=0)
        if at < min(limit, 1):
            axis.annotate(f"{radius:g}", (0, -at), color=SOFT, fontsize=8, ha="center", va="center")


def label_places(spots: np.ndarray, inner: float, least: float = 0.0) -> np.ndarray:
    """Return label positions, (n, 2), on one circle outside of all points and without overlap.

    Args:
        spots: (n, 2) points to label.
        inner: distance between the outermost point and the circle.
        least: smallest radius of the circle; with a smaller one labels would overlap.
    """
    if not len(spots):
        return spots
    order = np.argsort(np.arctan2(spots[:, 1], spots[:, 0]))
    turn = np.arctan2(spots[order, 1], spots[order, 0])
    apart = min(0.36, 2 * np.pi / len(spots))
    for _ in range(200):  # neighbours repel each other along the circle
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
    """Return ``count`` points (count, 2) on the geodesic between two points of the disk.

    The isometry z → (z − a)/(1 − āz) maps a to the centre, where geodesics are straight; its inverse maps the
    points back.
    """
    start, end = complex(*a), complex(*b)
    aim = (end - start) / (1 - start.conjugate() * end)
    length = min(abs(aim), 1 - 1e-9)
    share = np.tanh(np.linspace(0, 1, count) * np.arctanh(length))
    w = share * (aim / length if length else 0)
    z = (w + start) / (1 + start.conjugate() * w)
    return np.stack([z.real, z.imag], 1)
