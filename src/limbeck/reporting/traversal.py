"""Draw a traversal: the picture at its start, and the texts above it up to the root."""

from __future__ import annotations

import io
import textwrap
from math import degrees
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.files import STANDARD_OUTPUT, write_atomic
from limbeck.optional_deps import require
from limbeck.reporting.style import GRID, INK, SERIES, SOFT, light, light_settings
from limbeck.traversal import Step, Traversal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

# In inches: width of the page, edge of the picture, gaps, width of the columns of texts and of radii.
_WIDTH, _PICTURE, _GAP, _TEXTS, _RADII = 8.6, 2.0, 0.25, 4.1, 1.85
_ROW, _LINE, _HEAD, _HEAD_GAP, _FOOT = 0.54, 0.16, 0.42, 0.1, 0.15
_LETTERS = 40  # characters per line of text
_WAY, _START = SERIES[0], SERIES[1]


def check_figure(path: Path | str) -> None:
    """Check before the computation that a figure can be drawn.

    Raises:
        LimbeckError: the suffix is not ``.png``, or matplotlib is not installed.
    """
    if Path(path) != STANDARD_OUTPUT and Path(path).suffix.lower() != ".png":
        raise LimbeckError(
            f"{path}: a figure is a picture; use a name that ends in .png", code="E-PATH-ENDING"
        )
    require("matplotlib.figure")


def write_figure(path: Path | str, found: Traversal, picture: Image.Image) -> None:
    """Write `traversal_png` to a file.

    Raises:
        LimbeckError: as for `check_figure`, or the file cannot be written.
    """
    check_figure(path)
    write_atomic(Path(path), traversal_png(found, picture))


def traversal_png(found: Traversal, picture: Image.Image, dpi: int = 150) -> bytes:
    """Return a PNG of 8.6 inches: the picture on the left, and the texts up to the root with their radii."""
    matplotlib, figures = require("matplotlib"), require("matplotlib.figure")
    steps = found.chain[::-1]  # the root on top
    words = ["\n".join(textwrap.wrap(step.text, _LETTERS)) for step in steps]
    depths = [_ROW + _LINE * text.count("\n") for text in words]
    body = max(sum(depths) + _ROW, _PICTURE)
    places = [body - sum(depths[:at]) - depth / 2 for at, depth in enumerate(depths)]
    height = body + _HEAD + _FOOT
    with matplotlib.rc_context(light_settings()):
        figure = figures.Figure(figsize=(_WIDTH, height))

        def axes(left: float, width: float, top: float = body) -> Axes:
            """Add axes at the lower margin; their y unit is inches."""
            box = (left / _WIDTH, _FOOT / height, width / _WIDTH, top / height)
            axis = figure.add_axes(box, ylim=(0, top))
            axis.set(yticks=[], xticks=[])
            axis.spines[:].set_visible(False)
            return axis

        _show(axes(_GAP, _PICTURE, _PICTURE), picture)
        middle = 2 * _GAP + _PICTURE
        _texts(axes(middle, _TEXTS), found, steps, words, places)
        _radii(axes(middle + _TEXTS, _RADII), found, steps, places)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def _show(axis: Axes, picture: Image.Image) -> None:
    """Draw the whole picture at the bottom of its column; small pictures are not interpolated."""
    small = max(picture.size) <= 160
    tall = _PICTURE * min(1.0, picture.height / picture.width)
    wide = tall * picture.width / picture.height / _PICTURE
    axis.imshow(
        picture.convert("RGB"), extent=(1 - wide, 1, 0, tall), aspect="auto", zorder=2,
        interpolation="nearest" if small else "antialiased",
    )  # fmt: skip
    axis.set(xlim=(0, 1), ylim=(0, _PICTURE))


def _texts(axis: Axes, found: Traversal, steps: list[Step], words: list[str], places: list[float]) -> None:
    """Draw the path from the picture to the root, with one dot and two lines of words per text."""
    axis.set_xlim(0, _TEXTS)
    axis.grid(visible=False)
    turn, start = _GAP, _ROW / 2
    axis.plot([-_GAP, turn, turn], [start, start, places[0]], color=_WAY, lw=1.8, clip_on=False, zorder=1)
    axis.plot([turn] * len(places), places, "o", color=_WAY, ms=6.5, mec="#ffffff", mew=1.2)
    axis.plot([turn], [start], "s", color=_START, ms=7, mec="#ffffff", mew=1.2)
    left, pad = turn + 0.2, 0.09
    head = "nearest text that entails the point" if found.entailed else "nearest text, entailing or not"
    axis.text(left, places[0] + _ROW / 2 + _HEAD_GAP, head, color=light(SOFT), fontsize=9)
    axis.text(left, _ROW - pad, "the picture", color=_START, va="top", fontweight="bold")
    count = f"{_counted(found.steps[0].entailing, found.texts)} it"
    axis.text(left, pad, count, color=light(SOFT), va="bottom", fontsize=8)
    for step, text, place in zip(steps, words, places, strict=True):
        half = (_ROW + _LINE * text.count("\n")) / 2 - pad
        weight = "bold" if step.number is None else "normal"
        axis.text(
            left, place + half, text, color=light(INK), va="top", weight=weight, linespacing=1.1,
            parse_math=False,
        )  # fmt: skip
        axis.text(left, place - half, _description(step), color=light(SOFT), va="bottom", fontsize=8)


def _radii(axis: Axes, found: Traversal, steps: list[Step], places: list[float]) -> None:
    """Draw the distance of each text and of the picture from the root."""
    far = max(found.radius, *(step.radius for step in steps))
    axis.set_xlim(0, 1.3 * far)
    axis.text(0, places[0] + _ROW / 2 + _HEAD_GAP, "distance from the root", color=light(SOFT), fontsize=9)
    axis.plot([0, 0], [0, places[0] + _ROW / 2], color=light(GRID), lw=1.2, zorder=0, clip_on=False)
    rows = [(step.radius, place, _WAY, "o") for step, place in zip(steps, places, strict=True)]
    for radius, place, color, marker in [*rows, (found.radius, _ROW / 2, _START, "s")]:
        axis.plot([0, radius], [place, place], color=color, lw=2.2, alpha=0.45, zorder=1)
        axis.plot([radius], [place], marker, color=color, ms=6.5, mec="#ffffff", mew=1.2, clip_on=False)
        axis.text(radius + 0.06 * far, place, f"{radius:.2f}", color=light(INK), fontsize=9, va="center")


def _description(step: Step) -> str:
    """Describe a step: where it becomes the nearest, the angle to its cone, and how many texts entail it."""
    if step.number is None:
        return f"entails everything; nearest from {step.share:.0%} of the path"
    side = "inside" if step.inside is None or step.inside >= 0 else "outside"
    angle = degrees(abs(step.inside or 0.0))
    return f"from {step.share:.0%} of the path; {angle:.1f}° {side} its cone; {_counted(step.entailing)}"


def _counted(count: int, of: int | None = None) -> str:
    among = "" if of is None else f" of {of:,} texts"
    return f"{count or 'none'}{among} entail{'s' if count == 1 else ''}"
