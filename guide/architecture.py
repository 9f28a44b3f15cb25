"""The picture of docs/architecture.md: packages by level, and who imports whom, read from the code."""

from __future__ import annotations

import html
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs/images/architecture.svg"
WIDTH, ROW, BOX, SIDE, GAP = 1080, 58, 30, 20, 10
STYLE = """text{font:13px system-ui,sans-serif;fill:#1f2430}rect{fill:#e6f4f1;stroke:#009485;rx:6}
path{fill:none;stroke:#667085;stroke-width:1;opacity:.55}
g:hover path{stroke:#d55e00;stroke-width:2.2;opacity:1}g:hover rect{fill:#ffe3cf}
.paper{fill:#fff;stroke:none}"""


def levels() -> list[list[str]]:
    """Return the packages of each level, the highest first, as the contract of import-linter names them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [[name.strip() for name in layer.split("|")] for layer in layers]


def imports(packages: list[str]) -> dict[str, list[str]]:
    """Return the packages that each package imports directly, through any of its modules."""
    graph = grimp.build_graph("limbeck", exclude_type_checking_imports=True, cache_dir=None)
    for package in packages:
        graph.squash_module(package)
    return {
        package: sorted(graph.find_modules_directly_imported_by(package) & set(packages) - {package})
        for package in packages
    }


def needed(known: dict[str, list[str]]) -> dict[str, list[str]]:
    """Return the imports that no longer way implies: the transitive reduction, which can be read."""
    below: dict[str, set[str]] = {}

    def reach(name: str) -> set[str]:
        if name not in below:
            below[name] = set(known[name]).union(*map(reach, known[name]))
        return below[name]

    return {
        name: [target for target in targets if not any(target in reach(other) for other in targets)]
        for name, targets in known.items()
    }


def svg() -> str:
    """Return the picture: one row per level, a curve for each import that no longer way implies."""
    rows = levels()
    places = {name: place for at, row in enumerate(rows) for name, place in _row(row, at).items()}
    known = imports(list(places))
    drawn = needed(known)
    groups = [_group(name, known[name], drawn[name], places) for name in places]
    height = ROW * len(rows) + 10
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>Packages of limbeck by level and their imports</title><style>{STYLE}</style>"
        f'<rect class="paper" width="{WIDTH}" height="{height}"/>{"".join(groups)}</svg>\n'
    )


def _row(names: list[str], at: int) -> dict[str, tuple[float, float, float]]:
    """Return left, top and width of each box of a level, centred."""
    widths = [8 * len(_short(name)) + 2 * SIDE for name in names]
    left = (WIDTH - sum(widths) - GAP * (len(names) - 1)) / 2
    placed = {}
    for name, width in zip(names, widths, strict=True):
        placed[name] = (left, 10.0 + ROW * at, float(width))
        left += width + GAP
    return placed


def _group(
    name: str, targets: list[str], drawn: list[str], places: dict[str, tuple[float, float, float]]
) -> str:
    left, top, width = places[name]
    curves = [_curve(places[name], places[target]) for target in drawn]
    box = f'<rect x="{left:.0f}" y="{top:.0f}" width="{width:.0f}" height="{BOX}"/>'
    middle = f'x="{left + width / 2:.0f}" y="{top + 20:.0f}" text-anchor="middle"'
    text = f"<text {middle}>{html.escape(_short(name))}</text>"
    told = ", ".join(map(_short, targets)) or "no other package"
    return f"<g><title>{_short(name)} imports {told}</title>{''.join(curves)}{box}{text}</g>"


def _curve(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    """Return a curve from the bottom of one box to the top of another; long ones swing outward."""
    x0, y0 = start[0] + start[2] / 2, start[1] + BOX
    x1, y1 = end[0] + end[2] / 2, end[1]
    swing = 0.09 * (y1 - y0) * (1 if x0 + x1 >= WIDTH else -1)
    places = (x0, y0, x0 + swing, y0 + 30, x1 + swing, y1 - 30, x1, y1)
    return '<path d="M{:.0f} {:.0f}C{:.0f} {:.0f} {:.0f} {:.0f} {:.0f} {:.0f}"/>'.format(*places)


def _short(name: str) -> str:
    return name.removeprefix("limbeck.")


def draw() -> Path:
    """Write the picture and return its path."""
    FILE.write_text(svg(), encoding="utf-8")
    return FILE
