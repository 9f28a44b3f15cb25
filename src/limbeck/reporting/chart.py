"""Draw a chart: a few panels with one legend, as one SVG file or as separate panels for a web page."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from limbeck.optional_deps import require
from limbeck.reporting.style import Look, chart_settings, inline, light, light_settings, standalone

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Key:
    """One entry of a legend; ``kind`` is ``line``, ``level`` (a horizontal dotted line) or ``bar``."""

    label: str
    look: Look
    kind: str = "line"


@dataclass(frozen=True)
class Panel:
    """One pair of axes; ``draw`` is called with the matplotlib axes and draws into them."""

    title: str
    draw: Callable[[Axes], None]


@dataclass(frozen=True)
class Chart:
    """Panels of equal size with one legend.

    Attributes:
        name: file name without suffix, and prefix of the ids on a page.
        size: width and height of one panel in inches.
        columns: maximal number of panels per row in the file.
    """

    name: str
    panels: Sequence[Panel]
    legend: Sequence[Key]
    size: tuple[float, float]
    columns: int = 2

    def svg(self) -> str:
        """Return the whole chart as the text of an SVG file, in light colours on white."""
        return standalone(_figure(self._draw, *self._size()))

    def png(self, dpi: int = 144) -> bytes:
        """Return the whole chart as a PNG file; ``dpi`` is in pixels per inch."""
        return _pixels(self._draw, *self._size(), dpi)

    def _grid(self) -> tuple[int, int]:
        columns = min(self.columns, len(self.panels))
        return -(-len(self.panels) // columns), columns

    def _across(self) -> int:
        """Return the number of legend entries per row."""
        return max(1, int(self.size[0] * self._grid()[1] / 2.4))

    def _size(self) -> tuple[float, float]:
        rows, columns = self._grid()
        legend_rows = -(-len(self.legend) // self._across())
        return self.size[0] * columns, self.size[1] * rows + 0.25 * legend_rows

    def _draw(self, figure: Figure) -> None:
        axes = figure.subplots(*self._grid(), squeeze=False).ravel()
        for axis, panel in zip(axes, self.panels, strict=False):
            panel.draw(axis)
            axis.set_title(panel.title)
        for axis in axes[len(self.panels) :]:
            axis.set_visible(False)
        if self.legend:
            figure.legend(
                [_handle(key) for key in self.legend], [key.label for key in self.legend],
                loc="outside lower center", ncols=min(self._across(), len(self.legend)),
            )  # fmt: skip

    def inline(self) -> list[tuple[str, str]]:
        """Return title and inline SVG of each panel; the page draws the legend (see `style.inline`)."""
        parts = []
        for number, panel in enumerate(self.panels):
            svg = _figure(partial(_alone, panel), *self.size)
            parts.append((panel.title, inline(svg, f"{self.name}{number}")))
        return parts


def _figure(draw: Callable[[Figure], None], width: float, height: float) -> str:
    stream = io.StringIO()
    with require("matplotlib").rc_context(chart_settings()):
        _drawn(draw, width, height).savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _pixels(draw: Callable[[Figure], None], width: float, height: float, dpi: int) -> bytes:
    stream = io.BytesIO()
    with require("matplotlib").rc_context(light_settings()):
        figure = _drawn(draw, width, height)
        artists: list[Any] = figure.findobj(lambda part: isinstance(getattr(part, "_color", None), str))
        for artist in artists:
            artist.set_color(light(artist.get_color()))  # panels use placeholder colours
        figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> Figure:
    figure = require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.06, h_pad=0.06, wspace=0.04, hspace=0.05)
    draw(figure)
    return figure


def _alone(panel: Panel, figure: Figure) -> None:
    panel.draw(figure.subplots())


def _handle(key: Key) -> Artist:
    if key.kind == "bar":
        return require("matplotlib.patches").Patch(color=key.look.color)
    line = require("matplotlib.lines").Line2D
    if key.kind == "level":
        return line([], [], color=key.look.color, linestyle=(0, (1, 1.6)), linewidth=1.8)
    return line([], [], color=key.look.color, linestyle=key.look.dash, marker=key.look.marker)
