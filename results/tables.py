"""Tables of the pages as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from typing import Any

from limbeck.evaluation.compare import Group
from limbeck.evaluation.results import DIRECTIONS
from limbeck.metrics import summarize
from limbeck.reporting.tables import DIRECTION_LABELS, Table, figure, name_head
from limbeck.reporting.tables import mean_spread as spread_text
from results.data import Grid, values
from results.formats import gap
from results.pairs import Pair, figure_name

HEADS = {"map_unseen": "unseen", "ndcg@1000": "NDCG@1000", "p@100": "P@100"}
HEADS |= {"lookup_precision": "prec. r≤2", "lookup_recall": "recall r≤2"}
Cell = Callable[[Group | None, str], str]


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]], rule: str = "") -> str:
    """A table; with ``rule`` ``"right"`` the first column is aligned left and the others right."""
    rows = list(rows)
    if not rows:
        return "Not measured yet."
    marks = [":--", *["--:"] * (len(head) - 1)] if rule == "right" else ["---"] * len(head)
    lines = ["|" + "|".join(marks) + "|", *("| " + " | ".join(map(str, row)) + " |" for row in rows)]
    return "\n".join(["| " + " | ".join(head) + " |", *lines])


def claims_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """All claims of a page."""
    cells = []
    for row in rows:
        bar = "" if row["bar"] is None else f"{row['bar']:g}"
        met = "" if row["bar"] is None else ("yes" if row["met"] else "**no**")
        cells.append([row["claim"], f"{row['value']:.4g} {row['unit']}", bar, met, row["note"]])
    return markdown(["what", "value", "bar", "met", "note"], cells)


def recorded_table(table: Mapping[str, Any]) -> str:
    """A table of `limbeck compare` that was recorded as cells, since its rows were not kept."""
    strong = {(row, column) for row, column in table["strong"]}
    return Table(**{**table, "strong": strong}).markdown()


def _places(grid: Grid, lengths: Sequence[int | None]) -> list[tuple[int | None, str]]:
    return [(bits, way) for bits in lengths for way in DIRECTIONS]


def mean_spread(group: Group, figure: str) -> str:
    """Mean ± s.d. of a figure such as ``i2t map`` over the results of a group."""
    found = summarize(values(group, figure))
    return spread_text(figure.split()[1], found.mean, found.sd)


def _bold(grid: Grid, group: Group, direction: str, metric: str, cell: str) -> str:
    return f"**{cell}**" if grid.figure(group, direction, metric).best else cell


def mean_table(grid: Grid) -> str:
    """mAP, mean ± s.d., methods down and lengths across; best of a length in bold; then reference levels."""
    places = _places(grid, grid.lengths)
    rows = []
    for label, own in grid.ranked.items():
        cells = [
            _bold(grid, own[bits], way, "map", mean_spread(own[bits], f"{way} map")) if bits in own else ""
            for bits, way in places
        ]
        counts = sorted({len(group.results) for group in own.values()})
        rows.append([label, *cells, "–".join(map(str, counts))])
    for level, said in (("ceiling", "*codes learnt from the labels*"), ("floor", "*all codes equal*")):
        found = [
            [v for g in grid.comparison.groups if g.bits == bits for v in values(g, f"{way} {level}")]
            for bits, way in places
        ]
        rows.append([said, *(figure(sum(own) / len(own)) if own else "" for own in found), ""])
    head = ["method", *(f"{bits or 'floats'} {DIRECTION_LABELS[way]}" for bits, way in places), "n"]
    return markdown(head, rows, "right")


def difference_table(grid: Grid) -> str:
    """mAP minus the base: mean, interval, * where it counts after Holm."""
    places = [(bits, way) for bits, way in _places(grid, grid.lengths) if bits]
    rows = []
    for label, own in grid.ranked.items():
        found = [grid.figure(own[bits], way, "map") if bits in own else None for bits, way in places]
        cells = ["" if row is None or isnan(row.difference) else _gap(row) for row in found]
        if any(cells):
            rows.append([label, *cells])
    return markdown(
        [f"minus {grid.base}", *(f"{bits} {DIRECTION_LABELS[way]}" for bits, way in places)], rows, "right"
    )


def _gap(row: Any) -> str:
    low, high = (None, None) if isnan(row.low) else (row.low, row.high)
    return gap(Pair("", "", "", row.difference, low=low, high=high, p_holm=row.p_holm))


def beside_table(grid: Grid, bits: int) -> str:
    """What stands beside mAP at one length, both directions."""
    places = [(way, name) for name in HEADS for way in DIRECTIONS]
    rows = [
        [
            label,
            *(
                _bold(grid, own[bits], way, name, figure(row.mean))
                if (row := grid.figure(own[bits], way, name)) is not None
                else ""
                for way, name in places
            ),
        ]
        for label, own in grid.ranked.items()
        if bits in own
    ]
    head = [
        f"{bits} bits",
        *(f"{HEADS.get(name, name_head(name))} {DIRECTION_LABELS[way]}" for way, name in places),
    ]
    return markdown(head, rows, "right")


def pair_table(pairs: Sequence[Pair]) -> str:
    """Differences, both directions in a row."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for pair in pairs:
        way, name = pair.figure.split(" ", 1)
        rows.setdefault((pair.one, pair.other, name), {})[way] = gap(pair)
    lines = [
        [
            f"{one} − {other}",
            figure_name(f"i2t {name}").removeprefix(f"{DIRECTION_LABELS['i2t']} "),
            *(cells.get(way, "") for way in DIRECTIONS),
        ]
        for (one, other, name), cells in rows.items()
    ]
    return markdown(["difference", "figure", *(DIRECTION_LABELS[way] for way in DIRECTIONS)], lines, "right")
