"""Make tables of secondary metrics: zero-shot classification, class tree, cones, radii, probe, labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from limbeck.evaluation.compare import Comparison, Group
from limbeck.evaluation.results import DIRECTIONS, GROUPS, Result
from limbeck.reporting.tables import Table, mean_spread, name_head, score_text, space_text


@dataclass(frozen=True)
class _Kind:
    """A table that fits a terminal: its columns (a pattern of `group name`) and a note that explains them."""

    title: str
    pattern: str
    note: str

    def columns(self, names: Iterable[str]) -> list[str]:
        return [name for name in dict.fromkeys(names) if re.fullmatch(self.pattern, name)]


KINDS = (
    _Kind("zero-shot classification", r"zero_shot .*", "per cent; per class: mean over the classes"),
    _Kind(
        "errors in the class tree",
        r"hierarchy .*",
        "TIE: edges between predicted and true class, best 0; others: sets of ancestors, best 1",
    ),
    _Kind(
        "cones and radii",
        r"cone .*|radius (image|text)",
        "in cone: per cent of pairs with the picture in its text's cone; r: mean distance from the root; "
        "cap: per cent of points at a bound of the radius",
    ),
    _Kind(
        "mean radius of texts by detail",
        r"radius text/.*",
        "detail-1: the first, most detailed text of a row",
    ),
    _Kind(
        "linear probe",
        r"probe .*",
        "on image features before the lift; one class: per cent; several labels: mAP of the ranked queries",
    ),
    _Kind(
        "mAP by label",
        r"label .*",
        "mean over labels, items with that label are relevant; rare: the third with the fewest training rows",
    ),
)


def further_tables(results: Sequence[Result]) -> list[Table]:
    """Make one table per protocol and kind of secondary metric, with one row per result."""
    tables = []
    for protocol_hash in dict.fromkeys(result.protocol_hash for result in results):
        members = [result for result in results if result.protocol_hash == protocol_hash]
        for kind in KINDS:
            columns = kind.columns(column for result in members for column in _columns(result))
            having = [result for result in members if kind.columns(_columns(result))]
            rows = [[*_who(result), *(_cell(result, column) for column in columns)] for result in having]
            if rows:
                tables.append(_table(kind, members[0].protocol, "seed", columns, rows))
                if kind is KINDS[0]:
                    tables[-1].notes += [note for note in map(_unknown, having) if note]
                if kind is KINDS[-1]:
                    tables[-1].notes += dict.fromkeys(note for note in map(_without_value, having) if note)
    return tables


def cone_tables(results: Sequence[Result]) -> list[Table]:
    """Return the tables of `further_tables` that show cones and radii."""
    return [table for table in further_tables(results) if table.title.startswith(KINDS[2].title)]


def further_means(comparison: Comparison, ordered: Sequence[Group]) -> list[Table]:
    """Make the same tables over seeds: mean ± s.d., one row per group, best of equal bits in bold."""
    tables = []
    for kind in KINDS:
        columns = kind.columns(comparison.further)
        having = [group for group in ordered if any(column in group.values for column in columns)]
        if not having:
            continue
        table = _table(kind, comparison.protocol, "n", columns, [])
        for row, group in enumerate(having):
            who = [group.label, space_text(group.results[0]), str(len(group.results))]
            table.rows.append([*who, *(mean_spread(group, c) if c in group.values else "–" for c in columns)])
            best = {c for c in columns if comparison.best.get((group.bits, c)) == group.label}
            table.strong |= {(row, len(who) + at) for at, c in enumerate(columns) if c in best}
        tables.append(table)
    return tables


def _table(kind: _Kind, protocol: str, third: str, columns: Sequence[str], rows: list[list[str]]) -> Table:
    head = ["method", "space", third, *(name_head(column.split()[1]) for column in columns)]
    return Table(f"{kind.title}, {protocol}", head, rows, words=2, notes=[kind.note])


def _who(result: Result) -> list[str]:
    return [result.label, space_text(result), "–" if result.seed is None else str(result.seed)]


def _unknown(result: Result) -> str:
    names = result.settings.get("unknown_classes") or []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"words that {result.label} does not know: {', '.join(names[:5])}{more}" if names else ""


def _columns(result: Result) -> list[str]:
    return [f"{group} {name}" for group in GROUPS for name in result.metrics.get(group, {})]


def _cell(result: Result, column: str) -> str:
    group, name = column.split()
    return score_text(name, result.metrics.get(group, {}).get(name))


def _without_value(result: Result) -> str:
    """Name the labels without mAP, because they lack queries or items; no mean includes them."""
    each = result.settings.get("labels", {}).get("each", {})
    lost = {
        name: f"{name} ({counts['queries']:,} queries, {counts['items']:,} items)"
        for direction in DIRECTIONS
        for name, about in each.items()
        if (counts := about.get(direction)) is not None and counts["map"] is None
    }
    return f"in no mean: {', '.join(lost.values())}" if lost else ""
