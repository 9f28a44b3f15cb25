"""Show a comparison as tables, as CSV, and as a folder of files with charts."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.evaluation.compare import Comparison, Group
from limbeck.evaluation.results import DIRECTIONS
from limbeck.files import Kind, write_atomic, write_json
from limbeck.reporting import plots
from limbeck.reporting.codes import codes_table
from limbeck.reporting.efficiency import efficiency_table
from limbeck.reporting.progress import precision_at, quality_over
from limbeck.reporting.secondary_metrics import further_means
from limbeck.reporting.tables import (
    DIRECTION_LABELS,
    Table,
    column_head,
    empty_notes,
    figure,
    mean_spread,
    name_head,
    score_text,
    space_text,
)

_COMPARISON = Kind(
    "comparison",
    r"table\.(md|csv)|comparison\.json|[a-z-]+\.svg",
    "comparison.json",
    lambda value: {"protocol", "protocol_hash", "groups"} <= value.keys(),
)
DIFFERENCE_FIELDS = {"difference": "mean", "low": "low", "high": "high", "p": "p", "p_holm": "p_holm"}


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Make the tables of a comparison: means ± s.d. over seeds, costs, and differences if there is a base.

    The best mean among equal code lengths is bold.
    """
    tables = [_means(comparison), *further_means(comparison, _ordered(comparison))]
    codes = codes_table(comparison, _ordered(comparison))
    if codes is not None:
        tables.append(codes)
    efficiency = efficiency_table(comparison, _ordered(comparison))
    if efficiency is not None:
        tables.append(efficiency)
    if comparison.base is not None:
        tables.append(_differences(comparison))
    return tables


def comparison_csv(comparison: Comparison) -> str:
    """Return all values as CSV in long form, one line per group and column, unrounded."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["method", "space", "bits", "figure", "n", "mean", "sd", *DIFFERENCE_FIELDS])
    for group in _ordered(comparison):
        for column in group.values:
            difference = group.differences.get(column)
            fields = [getattr(difference, name) for name in DIFFERENCE_FIELDS.values()] if difference else []
            scores = [len(group.results), group.mean(column), group.spread(column)]
            writer.writerow([group.label, group.space, group.bits, column, *scores, *fields])
    return stream.getvalue()


def write_comparison(folder: Path | str, comparison: Comparison) -> list[Path]:
    """Write ``table.md``, ``table.csv``, ``comparison.json`` and the charts that apply as SVG.

    Args:
        folder: created if missing. The files of an earlier comparison are replaced; other files stay.
        comparison: the result of `limbeck.evaluation.compare`.

    Returns:
        The files written.

    Raises:
        LimbeckError: the folder has a file of one of these names that does not belong to an earlier
            comparison; a file cannot be written; the extra ``report`` is not installed (the tables are
            written nevertheless).
    """
    folder = Path(folder)
    _require_ours(folder)
    tables = comparison_tables(comparison)
    # This file comes first because it marks the folder as written by limbeck.
    write_json(folder / "comparison.json", comparison.to_json())
    write_atomic(folder / "table.md", "\n".join(table.markdown() for table in tables))
    write_atomic(folder / "table.csv", comparison_csv(comparison))
    written = [folder / name for name in ("table.md", "table.csv", "comparison.json")]
    results = [result for group in comparison.groups for result in group.results]
    makers = (quality_over, plots.map_against_bits, plots.precision_recall, precision_at, plots.bit_balance)
    for make in makers:
        chart = make(results)
        if chart is not None:
            file = folder / f"{chart.name}.svg"
            write_atomic(file, chart.svg())
            written.append(file)
    return written


def _require_ours(folder: Path) -> None:
    """Raise a `LimbeckError` if the folder has files of these names that do not belong to a comparison."""
    if _COMPARISON.marked(folder):
        return
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if re.fullmatch(_COMPARISON.files, file.name):
            raise LimbeckError(
                f"{file}: exists and does not belong to a comparison (its folder has no valid "
                "comparison.json); choose another --out, or move the file"
            )


def _ordered(comparison: Comparison) -> list[Group]:
    return sorted(comparison.groups, key=lambda group: (group.bits is None, group.bits or 0))


def _means(comparison: Comparison) -> Table:
    ordered = _ordered(comparison)
    if comparison.task == "hashing":
        layout = [(group, "", comparison.columns) for group in ordered]
        head = ["method", "space", "n", *map(column_head, comparison.columns)]
    else:  # retrieval has many metrics per direction: one row per direction
        names = list(dict.fromkeys(column.split()[1] for column in comparison.columns))
        ways = [d for d in DIRECTIONS if f"{d} {names[0]}" in comparison.columns]
        layout = [(group, way, [f"{way} {name}" for name in names]) for group in ordered for way in ways]
        head = ["method", "space", "way", "n", *map(name_head, names)]
    table = Table(comparison.protocol, head, [], words=2 if comparison.task == "hashing" else 3)
    for number, (group, way, columns) in enumerate(layout):
        row = [group.label, space_text(group.results[0]), *([DIRECTION_LABELS[way]] if way else [])]
        row.append(str(len(group.results)))
        best = {c for c in columns if comparison.best.get((group.bits, c)) == group.label}
        table.strong |= {(number, len(row) + place) for place, c in enumerate(columns) if c in best}
        table.rows.append(row + [mean_spread(group, column) for column in columns])
    table.rules = _changes_of_length([group for group, _, _ in layout])
    table.notes = ["mean ± s.d. over seeds; bold: best mean of equal code lengths"]
    table.notes += empty_notes([result for group in ordered for result in group.results])
    return table


def _differences(comparison: Comparison) -> Table:
    head = ["method", "space", "figure", "n", "difference", "95 % interval", "p", "p Holm"]
    table = Table(f"minus {comparison.base}, {comparison.protocol}", head, [], words=3)
    groups: list[Group] = []
    for group in _ordered(comparison):
        shown = {c: d for c, d in group.differences.items() if c not in comparison.beside}
        for column, difference in shown.items():
            name = column.split()[1]
            mark = " *" if difference.counts else ""
            interval = "–"
            if difference.low is not None and difference.high is not None:
                interval = f"{_signed(name, difference.low)} … {_signed(name, difference.high)}"
            table.rows.append(
                [
                    group.label, space_text(group.results[0]), column_head(column),
                    str(len(difference.seeds)), _signed(name, difference.mean) + mark, interval,
                    figure(difference.p), figure(difference.p_holm),
                ]
            )  # fmt: skip
            groups.append(group)
    table.rules = _changes_of_length(groups)
    table.notes = ["paired by seed and split, 95 % t interval; * p < .05 after Holm's correction"]
    if any(not column.startswith(("i2t", "t2i", "mean")) for group in groups for column in group.differences):
        table.notes.append("Holm's correction is separate for the directions and for the secondary metrics")
    return table


def _changes_of_length(groups: Sequence[Group]) -> set[int]:
    """Return the rows after which the code length changes; ``groups`` has one group per row."""
    return {row for row in range(len(groups) - 1) if groups[row].bits != groups[row + 1].bits}


def _signed(name: str, value: float) -> str:
    return ("−" if value < 0 else "+") + score_text(name, abs(value))
