"""Tables of the pages as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np

from limbeck.evaluation.compare import Group
from limbeck.evaluation.results import DIRECTIONS
from limbeck.metrics import summarize
from limbeck.reporting.tables import DIRECTION_LABELS, Table, figure, name_head
from limbeck.reporting.tables import mean_spread as spread_text
from results.data import Grid, values
from results.formats import gap
from results.measures import train_seconds
from results.pairs import Pair, figure_name

HEADS = {"map_unseen": "unseen", "map_asymmetric": "asymmetric", "ndcg@1000": "NDCG@1000", "p@100": "P@100"}
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


def _unseen(group: Group) -> float | None:
    """Mean mAP of items not trained on, both directions; None where the rows lack it."""
    found = values(group, "mean map_unseen")
    return sum(found) / len(found) if found else None


def mean_table(grid: Grid) -> str:
    """mAP, mean ± s.d., methods down and lengths across, and per length the mean mAP of both directions over
    items not trained on; best of a length in bold; the median seconds of training; then reference levels."""
    places, best = _places(grid, grid.lengths), {}
    for bits in grid.lengths:
        found = [_unseen(own[bits]) for own in grid.ranked.values() if bits in own]
        best[bits] = max((one for one in found if one is not None), default=None)
    rows = []
    for label, own in grid.ranked.items():
        cells = []
        for bits in grid.lengths:
            group = own.get(bits)
            if group is None:
                cells += [""] * (len(DIRECTIONS) + 1)
                continue
            cells += [_bold(grid, group, w, "map", mean_spread(group, f"{w} map")) for w in DIRECTIONS]
            unseen = _unseen(group)
            cell = "" if unseen is None else figure(unseen)
            cells.append(f"**{cell}**" if unseen is not None and unseen == best[bits] else cell)
        counts = sorted({len(group.results) for group in own.values()})
        seconds = train_seconds([result for group in own.values() for result in group.results])
        rows.append(
            [label, *cells, f"{np.median(seconds):.0f}" if seconds else "", "–".join(map(str, counts))]
        )
    for level, said in (("ceiling", "*codes learnt from the labels*"), ("floor", "*all codes equal*")):
        cells = []
        for bits, way in places:
            same = [group for group in grid.comparison.groups if group.bits == bits]
            bounds = [v for group in same for v in values(group, f"{way} {level}") if v is not None]
            cells += [
                figure(sum(bounds) / len(bounds)) if bounds else "",
                *([""] if way == DIRECTIONS[-1] else []),
            ]
        rows.append([said, *cells, "", ""])
    columns = [*(DIRECTION_LABELS[way] for way in DIRECTIONS), "not trained on"]
    head = [f"{bits or 'floats'} {column}" for bits in grid.lengths for column in columns]
    return markdown(["method", *head, "training s", "n"], rows, "right")


def lookup_table(
    grid: Grid, forms: Sequence[tuple[str, str, int]], radii: Sequence[int] = (0, 1, 2, 3)
) -> str:
    """Look-up against mAP: precision / recall within each radius, means of both directions.

    Args:
        grid: the grid of the rows.
        forms: name in the table, label, and the number of bits that the look-up reads.
        radii: Hamming radii.
    """
    rows = []
    for said, label, bits in forms:
        curves = [r.curves[way] for r in grid.group(label, bits).results for way in DIRECTIONS]
        cells = [
            " / ".join(
                figure(float(np.mean([curve[name][at] for curve in curves])))
                for name in ("precision", "recall")
            )
            for at in radii
        ]
        rows.append([said, figure(float(np.mean(values(grid.group(label), "mean map")))), *cells])
    return markdown(["look-up in", "mAP of 64 bits", *(f"radius {at}" for at in radii)], rows, "right")


def rank_table(grid: Grid) -> str:
    """Place of each method by mAP over the whole database and by mAP of items not trained on, both the mean
    of both directions; the best by the latter at the longest codes first."""
    lengths = [bits for bits in grid.lengths if bits]
    places: dict[tuple[str, int, str], int] = {}
    for bits in lengths:
        for name in ("map", "map_unseen"):
            scores = {
                label: float(np.mean(values(own[bits], f"mean {name}")))
                for label, own in grid.ranked.items()
                if bits in own
            }
            for place, label in enumerate(sorted(scores, key=lambda label: -scores[label]), start=1):
                places[label, bits, name] = place
    order = sorted(
        (label for label, own in grid.ranked.items() if lengths[-1] in own),
        key=lambda label: places[label, lengths[-1], "map_unseen"],
    )
    rows = [
        [
            label,
            *(str(places.get((label, bits, name), "")) for bits in lengths for name in ("map", "map_unseen")),
        ]
        for label in order
    ]
    head = [f"{bits} {said}" for bits in lengths for said in ("whole", "not trained on")]
    return markdown(["method", *head], rows, "right")


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
    here = [result for own in grid.ranked.values() if bits in own for result in own[bits].results]
    measured = [name for name in HEADS if values(here, f"i2t {name}")]
    places = [(way, name) for name in measured for way in DIRECTIONS]
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
