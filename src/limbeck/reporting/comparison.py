"""Show a comparison as tables, as CSV, and as a folder of files with charts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.evaluation.compare import Comparison
from limbeck.files import Kind, write_atomic, write_json
from limbeck.reporting import plots
from limbeck.reporting.codes import CODES_NOTE, code_head
from limbeck.reporting.efficiency import efficiency_table
from limbeck.reporting.progress import quality_over
from limbeck.reporting.secondary_metrics import KINDS
from limbeck.reporting.tables import (
    DIRECTION_LABELS,
    Table,
    empty_notes,
    figure,
    figure_head,
    mean_spread,
    name_head,
    score_text,
    space_text,
)

if TYPE_CHECKING:
    import pandas as pd

_COMPARISON = Kind(
    "comparison",
    r"table\.(md|csv)|comparison\.json|[a-z-]+\.svg",
    "comparison.json",
    lambda value: {"protocol", "protocol_hash", "groups"} <= value.keys(),
)


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Make the tables of a comparison: means ± s.d. over seeds, costs, and differences if there is a base.

    The best mean among equal code lengths is bold. Standard deviations of the secondary metrics of hash codes
    are in the CSV and JSON files only; they would make their table too wide.
    """
    figures, name = comparison.ordered(), comparison.protocol
    figures["text"] = list(map(mean_spread, figures["metric"], figures["mean"], figures["sd"]))
    parts = dict(iter(figures.groupby("part")))
    if comparison.task == "hashing":
        means = _pivot(comparison, name, parts["scores"], ["method", "space", "n"], figure_head)
    else:  # retrieval has many metrics per direction: one row per direction
        means = _pivot(comparison, name, parts["scores"], ["method", "space", "way", "n"], _metric_head)
    means.notes = ["mean ± s.d. over seeds; bold: best mean of equal code lengths"]
    means.notes += empty_notes(
        [result for at in _groups(figures) for result in comparison.groups[at].results]
    )
    tables = [means]
    for kind in KINDS if "further" in parts else ():
        further = parts["further"]
        further = further[(further["direction"] + " " + further["metric"]).str.fullmatch(kind.pattern)]
        if len(further):
            title = f"{kind.title}, {name}"
            tables.append(_pivot(comparison, title, further, ["method", "space", "n"], _metric_head))
            tables[-1].notes, tables[-1].rules = [kind.note], set()
    if "codes" in parts:
        codes = parts["codes"].assign(text=parts["codes"]["mean"].map(figure))
        tables.append(_pivot(comparison, f"beside mAP, {name}", codes, ["method", "space", "way"], code_head))
        tables[-1].notes = [
            f"means over seeds; unseen: mAP without trained items in the database; {CODES_NOTE}"
        ]
    efficiency = efficiency_table(comparison, [comparison.groups[at] for at in _groups(figures)])
    if efficiency is not None:
        tables.append(efficiency)
    if comparison.base is not None:
        tables.append(
            _differences(comparison, figures[figures["seeds"].notna() & (figures["part"] != "codes")])
        )
    return tables


def comparison_csv(comparison: Comparison) -> str:
    """Return all values as CSV in long form, one line per group and figure, unrounded."""
    figures = comparison.ordered()
    groups = [comparison.groups[number] for number in figures["group"]]
    figures["method"] = [group.label for group in groups]
    figures["space"] = [group.space for group in groups]
    figures["bits"] = ["" if group.bits is None else str(group.bits) for group in groups]
    figures["figure"] = figures["direction"] + " " + figures["metric"]
    figures["n"] = figures["values"].map(len)
    columns = ["method", "space", "bits", "figure", "n", "mean", "sd"]
    return str(figures.to_csv(columns=[*columns, "difference", "low", "high", "p", "p_holm"], index=False))


def write_comparison(folder: Path | str, comparison: Comparison) -> list[Path]:
    """Write ``table.md``, ``table.csv``, ``comparison.json`` and the charts that apply as SVG; return all.

    The files of an earlier comparison are replaced; other files stay.

    Raises:
        LimbeckError: the folder has a file of one of these names that does not belong to an earlier
            comparison; a file cannot be written; matplotlib is not installed (the tables are written
            nevertheless).
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
    makers = (
        quality_over,
        plots.map_against_bits,
        plots.precision_recall,
        plots.precision_at,
        plots.bit_balance,
    )
    for chart in (make(results) for make in makers):
        if chart is not None:
            written.append(folder / f"{chart.name}.svg")
            write_atomic(written[-1], chart.svg())
    return written


def _require_ours(folder: Path) -> None:
    """Raise a `LimbeckError` if the folder has files of these names that do not belong to a comparison."""
    if _COMPARISON.marked(folder):
        return
    for file in sorted(folder.iterdir()) if folder.is_dir() else ():
        if re.fullmatch(_COMPARISON.files, file.name):
            raise LimbeckError(
                f"{file}: exists and does not belong to a comparison (its folder has no valid "
                "comparison.json); choose another --out, or move the file",
                code="E-PATH-EXISTS",
            )


def _pivot(
    comparison: Comparison,
    title: str,
    figures: pd.DataFrame,
    lead: Sequence[str],
    head: Callable[[str, str], str],
) -> Table:
    """Make a table of tidy figures: one row per group, and per direction if ``way`` is a leading column."""
    down, across = ["group"], ["direction", "metric"]
    if "way" in lead:
        down, across = ["group", "direction"], ["metric"]
    figures = figures.assign(
        row=figures.groupby(down, sort=False).ngroup(),
        column=figures.sort_values("rank", kind="stable").groupby(across, sort=False).ngroup(),
    )
    cells = figures.pivot(index="row", columns="column", values="text").fillna("–").values.tolist()
    columns = figures.sort_values("column").drop_duplicates("column")
    rows = figures.drop_duplicates("row")
    for number, direction, texts in zip(rows["group"], rows["direction"], cells, strict=True):
        group = comparison.groups[number]
        about = {"method": group.label, "space": space_text(group.results[0]), "n": str(len(group.results))}
        texts[:0] = [(about | {"way": DIRECTION_LABELS.get(direction, "")})[name] for name in lead]
    best = figures[figures["best"]]
    table = Table(title, [*lead, *map(head, columns["direction"], columns["metric"])], cells)
    table.words = len([name for name in lead if name != "n"])
    table.strong = {
        (row, len(lead) + column) for row, column in zip(best["row"], best["column"], strict=True)
    }
    table.rules = _changes_of_length(rows)
    return table


def _differences(comparison: Comparison, figures: pd.DataFrame) -> Table:
    head = ["method", "space", "figure", "n", "difference", "95 % interval", "p", "p Holm"]
    table = Table(f"minus {comparison.base}, {comparison.protocol}", head, [], words=3)
    for row in figures.itertuples():
        group, metric = comparison.groups[row.group], row.metric
        interval = f"{_signed(metric, row.low)} … {_signed(metric, row.high)}" if row.low == row.low else "–"
        table.rows.append(
            [
                group.label, space_text(group.results[0]), figure_head(row.direction, metric),
                str(len(row.seeds)), _signed(metric, row.difference) + " *" * row.counts, interval,
                figure(row.p), figure(row.p_holm),
            ]
        )  # fmt: skip
    table.rules = _changes_of_length(figures)
    table.notes = ["paired by seed and split, 95 % t interval; * p < .05 after Holm's correction"]
    if (figures["part"] == "further").any():
        table.notes.append("Holm's correction is separate for the directions and for the secondary metrics")
    return table


def _groups(figures: pd.DataFrame) -> list[int]:
    return list(figures["group"].unique())


def _changes_of_length(rows: pd.DataFrame) -> set[int]:
    """Return the rows after which the code length changes."""
    bits = rows["bits"].tolist()
    return {row for row in range(len(bits) - 1) if bits[row] != bits[row + 1]}


def _metric_head(_: str, metric: str) -> str:
    return name_head(metric)


def _signed(name: str, value: float) -> str:
    return ("−" if value < 0 else "+") + score_text(name, abs(value))
