"""Make tables of secondary metrics: zero-shot classification, class tree, cones, radii, probe, labels."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from limbeck.evaluation.results import DIRECTIONS, GROUPS, Result
from limbeck.reporting.tables import Table, name_head, score_text, who


def _unknown_classes(result: Result) -> list[str]:
    """Name up to five classes whose words the model does not know."""
    names = result.settings.get("unknown_classes") or []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return [f"words that {result.label} does not know: {', '.join(names[:5])}{more}"] if names else []


def _labels_without_map(result: Result) -> list[str]:
    """Name the labels without mAP, because they lack queries or items; no mean includes them."""
    each = result.settings.get("labels", {}).get("each", {})
    lost = {
        name: f"{name} ({counts['queries']:,} queries, {counts['items']:,} items)"
        for direction in DIRECTIONS
        for name, about in each.items()
        if (counts := about.get(direction)) is not None and counts["map"] is None
    }
    return [f"in no mean: {', '.join(lost.values())}"] if lost else []


@dataclass(frozen=True)
class Kind:
    """A table of secondary metrics that fits a terminal.

    Attributes:
        title: title of the table.
        pattern: pattern of ``GROUP METRIC``, for the metrics that the table shows.
        note: explains the metrics.
        remarks: further notes on a result.
    """

    title: str
    pattern: str
    note: str
    remarks: Callable[[Result], list[str]] = lambda result: []

    def names(self, result: Result) -> list[tuple[str, str]]:
        """Return the (group, metric) of a result that the table shows."""
        names = [(group, name) for group in GROUPS for name in result.metrics.get(group, {})]
        return [name for name in names if re.fullmatch(self.pattern, " ".join(name))]


KINDS = (
    Kind(
        "zero-shot classification",
        r"zero_shot .*",
        "per cent; per class: mean over the classes",
        _unknown_classes,
    ),
    Kind(
        "errors in the class tree",
        r"hierarchy .*",
        "TIE: edges between predicted and true class, best 0; others: sets of ancestors, best 1",
    ),
    Kind(
        "cones and radii",
        r"cone .*|radius (image|text)",
        "in cone: per cent of pairs with the picture in its text's cone; in coarsest: in the cone of the "
        "coarsest text of its chain; in other: of another picture's text; r: mean distance from the root; "
        "cap: per cent of points at a bound of the radius",
    ),
    Kind(
        "texts that entail their picture",
        r"entailment .*",
        "texts of a picture's own chain against the finest texts of other pictures; AUC, AP: best 1, random "
        "AUC .5; margin: by the distance to the cone; distinct, zero: shares of the scores",
    ),
    Kind(
        "mean radius of texts by detail",
        r"radius text/.*",
        "detail-1: the first, most detailed text of a row",
    ),
    Kind(
        "linear probe",
        r"probe .*",
        "on image features before the lift; one class: per cent; several labels: mAP of the ranked queries",
    ),
    Kind(
        "mAP by label",
        r"label .*",
        "mean over labels, items with that label are relevant; rare: the third with the fewest training rows",
        _labels_without_map,
    ),
)


def further_tables(results: Sequence[Result]) -> list[Table]:
    """Make one table per protocol and kind of secondary metric, with one row per result."""
    tables = []
    for protocol_hash in dict.fromkeys(result.protocol_hash for result in results):
        members = [result for result in results if result.protocol_hash == protocol_hash]
        for kind in KINDS:
            names = dict.fromkeys(name for result in members for name in kind.names(result))
            having = [result for result in members if kind.names(result)]
            if not having:
                continue
            head = ["method", "space", "seed", *(name_head(metric) for _, metric in names)]
            rows = [
                [*who(r), *(score_text(m, r.metrics.get(g, {}).get(m)) for g, m in names)] for r in having
            ]
            notes = dict.fromkeys([kind.note, *(note for result in having for note in kind.remarks(result))])
            title = f"{kind.title}, {members[0].protocol}"
            tables.append(Table(title, head, rows, words=2, notes=list(notes)))
    return tables


def cone_tables(results: Sequence[Result]) -> list[Table]:
    """Return the tables of `further_tables` that show cones and radii."""
    return [table for table in further_tables(results) if table.title.startswith(KINDS[2].title)]
