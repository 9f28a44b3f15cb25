"""The pictures of docs/geometry.md, computed by limbeck's own spaces."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.codes import hamming_distances
from limbeck.reporting.chart import Chart, Key, Panel
from limbeck.reporting.disk import geodesic
from limbeck.reporting.style import GRID, INK, SERIES, SOFT, Look, looks
from limbeck.spaces import hyperboloid
from limbeck.spaces.lorentz import Lorentz

DOCS = Path(__file__).resolve().parents[1] / "docs"
PLANE = Lorentz(2, 1.0)
APEXES = (0.4, 0.8, 1.6)  # distances from the root
TURNS = (math.pi / 2, math.pi / 2 + 2 * math.pi / 3, math.pi / 2 - 2 * math.pi / 3)
BITS = 64


def at(radius: np.ndarray | float, turn: np.ndarray | float) -> np.ndarray:
    """Return points of the hyperbolic plane, (…, 2): distance from the root and direction in radians."""
    radius, turn = np.broadcast_arrays(np.asarray(radius, float), np.asarray(turn, float))
    tangent = radius[..., None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    return hyperboloid.exp_map0(tangent, PLANE.curv)


def on_disk(points: np.ndarray) -> np.ndarray:
    """Return the places of points (…, 2) on the Poincaré disk."""
    return points / (1 + hyperboloid.time(points, PLANE.curv))[..., None]


def from_disk(places: np.ndarray) -> np.ndarray:
    """Return the points at places (…, 2) inside the disk."""
    return 2 * places / (1 - np.square(places).sum(-1, keepdims=True))


def charts() -> list[Chart]:
    """Return all pictures of the page."""
    cones = looks(f"cone at distance {radius}" for radius in APEXES)
    flat, deep = "Sphere: all points are equally far out", "Hyperboloid: a point has a distance from the root"
    lines, wide = "The same plane as a disk: lines are arcs", "Cones: near the root they are wide"
    panels = {
        "spaces": [Panel(flat, _sphere), Panel(deep, _hyperbola)],
        "cones": [Panel(lines, _lines), Panel(wide, partial(_cones, list(cones.values())))],
        "radii": [
            Panel("Half aperture of a cone", _aperture),
            Panel("Detail of a caption, measured", _detail),
        ],
        "hamming": [
            Panel("Distances of two random codes", _distances),
            Panel("Codes within a distance", _balls),
        ],
    }
    keys = {"cones": [Key(label, look, "bar") for label, look in cones.items()]}
    sizes = {"spaces": (5.4, 4.4), "cones": (5.2, 5.2)}
    return [
        Chart(name, pair, keys.get(name, []), sizes.get(name, (5.4, 3.8))) for name, pair in panels.items()
    ]


def draw(folder: Path = DOCS / "images") -> list[Path]:
    """Write the pictures as SVG files and return their paths."""
    files = []
    for chart in charts():
        files.append(folder / f"geometry-{chart.name}.svg")
        files[-1].write_text(chart.svg(), encoding="utf-8")
    return files


def _bare(axis: Any, **limits: Any) -> None:
    axis.set(aspect="equal", xticks=[], yticks=[], **limits)
    axis.grid(visible=False)
    for spine in axis.spines.values():
        spine.set_visible(False)


def _name(
    axis: Any, text: str, place: np.ndarray, shift: tuple[float, float] = (6, 4), color: str = INK
) -> None:
    axis.annotate(text, place, xytext=shift, textcoords="offset points", color=color, fontsize=9.5)


def _sphere(axis: Any) -> None:
    _bare(axis, xlim=(-1.3, 1.5), ylim=(-1.2, 1.25))
    turn = np.linspace(0, 2 * np.pi, 200)
    axis.plot(np.cos(turn), np.sin(turn), color=SOFT)
    for angle, name, color in ((0.5, "picture", SERIES[0]), (1.1, "text", SERIES[1])):
        place = np.array([math.cos(angle), math.sin(angle)])
        axis.plot([0, place[0]], [0, place[1]], color=color)
        axis.scatter(*place, color=color, zorder=3)
        _name(axis, name, place)
    arc = np.linspace(0.5, 1.1, 20)
    axis.plot(0.35 * np.cos(arc), 0.35 * np.sin(arc), color=INK, linewidth=1.2)
    _name(axis, f"cosine {math.cos(0.6):.2f}", np.array([0.35, 0.1]), (2, -2))


def _hyperbola(axis: Any) -> None:
    """A section through the root: the space part across, the time part up."""
    _bare(axis, xlim=(-2.6, 3.0), ylim=(-1.15, 3.4))
    line = Lorentz(1, 1.0)
    x = np.linspace(-2.6, 2.6, 201)[:, None]
    axis.plot(x[:, 0], hyperboloid.time(x, line.curv), color=SOFT)
    axis.plot([-3, 0, 3], [3, 0, 3], color=GRID, linewidth=1.2)
    axis.plot([-1, 1], [0, 0], color=INK, linewidth=2.4, alpha=0.6)
    _name(axis, "disk", np.array([-1, 0]), (-4, -14))
    axis.scatter([0], [1], color=INK, zorder=4)
    _name(axis, "root", np.array([0, 1]), (-30, 2))
    for radius, name, color in ((0.6, "“a ring”", SERIES[1]), (1.45, "picture", SERIES[0])):
        point = hyperboloid.exp_map0(np.array([[radius]]), line.curv)
        up = hyperboloid.time(point, line.curv)[0]
        axis.plot([0, point[0, 0]], [-1, up], color=color, linewidth=0.9, linestyle=(0, (4, 2)))
        axis.scatter(point[0, 0], up, color=color, zorder=4)
        axis.scatter(point[0, 0] / (1 + up), 0, color=color, s=22, zorder=4)
        _name(
            axis,
            f"{name}, {radius} from the root",
            np.array([point[0, 0], up]),
            (-150, 4) if radius > 1 else (9, -3),
        )
    axis.scatter([0], [-1], color=SOFT, s=18)


def _disk(axis: Any, names: float) -> None:
    """Draw the disk with circles of equal distance from the root, named in the direction ``names``."""
    _bare(axis, xlim=(-1.06, 1.06), ylim=(-1.06, 1.06))
    turn = np.linspace(0, 2 * np.pi, 241)
    for radius in (0.5, 1.0, 2.0, 3.0):
        ring = on_disk(at(radius, turn))
        axis.plot(ring[:, 0], ring[:, 1], color=GRID, linewidth=1.0, zorder=0)
        _name(axis, f"{radius:g}", on_disk(at(radius, names)), (-4, -4), SOFT)
    axis.plot(np.cos(turn), np.sin(turn), color=SOFT, zorder=1)
    axis.scatter([0], [0], color=INK, s=24, zorder=5)


def _lines(axis: Any) -> None:
    _disk(axis, 2.0)
    pairs = [((2.2, 0.3), (2.2, 1.6)), ((1.0, 2.4), (2.6, 3.6)), ((2.8, 4.2), (2.8, 5.3))]
    for (first, second), color in zip(pairs, SERIES, strict=False):
        ends = np.stack([at(*first), at(*second)])
        way = geodesic(*on_disk(ends))
        axis.plot(way[:, 0], way[:, 1], color=color)
        axis.scatter(*on_disk(ends).T, color=color, zorder=4)
        length = float(-PLANE.similarity(ends[:1].astype(np.float32), ends[1:].astype(np.float32))[0, 0])
        _name(axis, f"{length:.2f}", way[len(way) // 2], (4, -10) if color != SERIES[2] else (4, 8))


def _cones(look: list[Look], axis: Any) -> None:
    _disk(axis, -1.2)
    side = np.linspace(-0.999, 0.999, 481)
    places = np.stack(np.meshgrid(side, side), -1)
    inside = np.square(places).sum(-1) < 0.998
    points = from_disk(np.where(inside[..., None], places, 0)).astype(np.float32)
    for radius, turn, style in zip(APEXES, TURNS, look, strict=True):
        apex = at(radius, turn).astype(np.float32)
        held = PLANE.entails(apex, points) & inside
        axis.contourf(
            side,
            side,
            held.astype(float),
            levels=[0.5, 1.5],
            colors=[style.color],
            alpha=0.25,
            antialiased=True,
        )
        axis.scatter(*on_disk(apex), color=style.color, zorder=5)


def _aperture(axis: Any) -> None:
    radius = np.linspace(0.0, 3, 200)
    angle = np.degrees(hyperboloid.half_aperture(at(radius, 0.0), PLANE.curv, 0.1))
    axis.plot(radius, angle, color=SERIES[0])
    axis.set(xlabel="distance of the apex from the root", ylabel="degrees", ylim=(0, 95), xlim=(0, 3))


def _detail(axis: Any) -> None:
    rows = json.loads((DOCS / "results/parts/radii.json").read_text(encoding="utf-8"))["levels"]
    axis.errorbar(
        [row["radius"] for row in rows], range(len(rows)), xerr=[row["sd"] for row in rows],
        fmt="o", color=SERIES[1], ecolor=SOFT, capsize=3,
    )  # fmt: skip
    axis.set(
        yticks=range(len(rows)), yticklabels=[row["name"] for row in rows], xlabel="distance from the root"
    )


def _distances(axis: Any) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 256, (2, 400, BITS // 8), dtype=np.uint8)
    found = np.bincount(hamming_distances(codes[0], codes[1]).ravel(), minlength=BITS + 1)
    axis.bar(np.arange(BITS + 1), found / found.sum(), color=SERIES[0], alpha=0.45, width=1.0, label="drawn")
    expected = [math.comb(BITS, r) / 2.0**BITS for r in range(BITS + 1)]
    axis.plot(range(BITS + 1), expected, color=SERIES[1], label="binomial")
    axis.set(xlabel=f"Hamming distance, {BITS} bits", ylabel="share of pairs", xlim=(0, BITS))
    axis.legend()


def _balls(axis: Any) -> None:
    for bits, look in zip((16, 32, 64), looks(["16", "32", "64"]).values(), strict=True):
        count = np.cumsum([math.comb(bits, r) for r in range(17)]).astype(float)
        axis.plot(
            range(17), count, color=look.color, marker=look.marker, linestyle=look.dash, label=f"{bits} bits"
        )
    axis.set(yscale="log", xlabel="distance", ylabel="number of codes", xlim=(0, 16))
    axis.legend()
