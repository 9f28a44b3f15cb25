"""Define the style of all charts: colours safe for colour-blind readers, each with a marker and a dash.

Charts are drawn with placeholder colours. In a page the placeholders become CSS variables, so one chart works
in a light and a dark page; in a separate file they become the light values. Palette: after Okabe and Ito
(2008).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from limbeck.typed import Json

INK, SOFT, GRID = "#010101", "#020202", "#030303"
"""Placeholder colours of text and axes, secondary text, and grid lines."""

_LIGHT = {INK: "#1f2430", SOFT: "#667085", GRID: "#e4e7ec"}
_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", GRID: "var(--line)"}

SERIES = ("#0072b2", "#d55e00", "#009e73", "#b85c93", "#8a6d00", "#3f9bd6", "#6b5fc7", "#7a8290")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
Dash = str | tuple[float, tuple[float, ...]]
DASHES: tuple[Dash, ...] = ("-", (0, (5, 1.6)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)))


@dataclass(frozen=True)
class Look:
    """The colour, marker and dash of one series in all charts."""

    color: str
    marker: str
    dash: Dash


def looks(labels: Iterable[str]) -> dict[str, Look]:
    """Give each distinct label, in order of appearance, a different look; dashes change after eight."""
    distinct = list(dict.fromkeys(labels))
    return {
        label: Look(SERIES[i % 8], MARKERS[i % 8], DASHES[(i // 8) % len(DASHES)])
        for i, label in enumerate(distinct)
    }


def chart_settings() -> dict[str, Json]:
    """Return the matplotlib settings of all charts (for ``matplotlib.rc_context``)."""
    return {
        "svg.fonttype": "none",  # keep text as selectable text in the page's font
        "font.family": "DejaVu Sans",  # measures widths; the page may draw a narrower font
        "font.size": 10.5,
        "text.color": INK,
        "axes.labelcolor": SOFT,
        "axes.titlecolor": INK,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.edgecolor": SOFT,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": GRID,
        "grid.linewidth": 0.9,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "xtick.minor.size": 0,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "lines.linewidth": 2.0,
        "lines.markersize": 6.0,
        "lines.solid_capstyle": "round",
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        "svg.hashsalt": "limbeck",  # the same chart gives the same bytes
    }


def light_settings() -> dict[str, Json]:
    """Return `chart_settings` with the colours of a light page on white, for charts written as PNG."""
    settings = chart_settings() | dict.fromkeys(("figure.facecolor", "savefig.facecolor"), "#ffffff")
    return {
        key: _LIGHT.get(value, value) if isinstance(value, str) else value for key, value in settings.items()
    }


def light(color: str) -> str:
    """Return the colour of a placeholder on a light page."""
    return _LIGHT.get(color, color)


def standalone(svg: str) -> str:
    """Return a chart as a separate SVG file in the colours of a light page on white."""
    for stand_in, color in _LIGHT.items():
        svg = svg.replace(stand_in, color)
    return re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', svg, count=1)


def inline(svg: str, name: str) -> str:
    """Return a chart for a page: without prolog and metadata, with unique ids, colours as CSS variables.

    Args:
        svg: SVG text from matplotlib.
        name: prefix that makes the ids of several charts on one page unique.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = svg.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r'\sid="([^"]*)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, variable)
    for number, color in enumerate(SERIES):
        svg = svg.replace(color, f"var(--s{number}, {color})")
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)  # use the typeface of the page
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.S)  # it would apply to the whole page
    return re.sub(r"\n\s*", "\n", svg)


_SHAPES = {
    "o": '<circle cx="15" cy="6" r="3.6"/>',
    "s": '<rect x="11.6" y="2.6" width="6.8" height="6.8"/>',
    "^": '<path d="M15 1.6 19 9.4H11z"/>',
    "v": '<path d="M15 10.4 19 2.6H11z"/>',
    "D": '<path d="M15 1.4 19.2 6 15 10.6 10.8 6z"/>',
    "P": '<path d="M13.4 2h3.2v2.4H19v3.2h-2.4V10h-3.2V7.6H11V4.4h2.4z"/>',
    "X": '<path d="M12 1.8 15 4.4l3-2.6 1.6 1.8L17 6l2.6 2.4-1.6 1.8-3-2.6-3 2.6-1.6-1.8L13 6l-2.6-2.4z"/>',
    "*": '<path d="M15 1 16.4 4.2 19.9 4.5 17.2 6.8 18 10.3 15 8.4 12 10.3 12.8 6.8 10.1 4.5 13.6 4.2z"/>',
}


def swatch(look: Look, kind: str) -> str:
    """Return the legend entry of a series as a small inline SVG: line, dash and marker, or a filled box."""
    color = f"var(--s{SERIES.index(look.color)}, {look.color})" if look.color in SERIES else look.color
    if kind == "bar":
        body = f'<rect x="7" y="0" width="16" height="12" rx="2" fill="{color}"/>'
    else:
        pattern = (1, 3) if kind == "level" else look.dash[1] if isinstance(look.dash, tuple) else ()
        dashes = f' stroke-dasharray="{" ".join(str(2 * part) for part in pattern)}"' if pattern else ""
        body = f'<path d="M1 6H29" stroke="{color}" stroke-width="2.4"{dashes}/>'
        if kind == "line":
            body += f'<g fill="{color}">{_SHAPES.get(look.marker, "")}</g>'
    return f'<svg viewBox="0 0 30 12" width="30" height="12" aria-hidden="true">{body}</svg>'
