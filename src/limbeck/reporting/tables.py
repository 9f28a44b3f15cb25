"""Show results as tables, in the terminal (rich) and in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limbeck.evaluation.results import DIRECTIONS, Result

if TYPE_CHECKING:
    from rich.table import Table as RichTable

DIRECTION_LABELS = {"i2t": "i→t", "t2i": "t→i"}
PERCENT = {
    "top1", "mean_per_class", "chance", "inside", "inside_coarsest", "inside_other_coarsest", "inside_other",
    "capped_image",
    "capped_text", "distinct", "zeros",
}  # fmt: skip
HEADS = {
    "map": "mAP", "median_rank": "med. rank", "top1": "top-1", "mean_per_class": "per class", "tie": "TIE",
    "lca": "LCA", "jaccard": "Jaccard", "precision": "h. prec.", "recall": "h. rec.", "inside": "in cone",
    "image": "r image", "text": "r text", "capped_image": "cap image", "capped_text": "cap text",
    "inside_coarsest": "in coarsest", "inside_other_coarsest": "other coarsest", "inside_other": "in other",
    "auc": "AUC", "ap": "AP", "margin_auc": "margin AUC", "margin_ap": "margin AP",
    "swapped_auc": "AUC swapped", "finest_auc": "AUC finest",
    "margin_swapped_auc": "m. swapped", "margin_finest_auc": "m. finest",
}  # fmt: skip
NOTES = {
    "floor": "floor: all codes equal",
    "ceiling": "ceiling: codes learnt from the labels of both sides",
    "unseen": "unseen: mean without trained items in the database",
    "asymmetric": "asymmetric: mean with the queries' real numbers against the items' codes",
    "NDCG": "NDCG: the first 100 ranks, graded by the number of shared labels; for mAP one is enough",
}
EMPTY_QUERIES = {"skip": "left out of mAP", "zero": "they count 0 in mAP"}


@dataclass
class Table:
    """A small table of texts.

    Attributes:
        rows: cells; every row has one cell per column.
        words: number of leading columns with words (left-aligned); the other columns have numbers.
        strong: (row, column) of bold cells, the best of their group.
        rules: rows with a line below them.
        notes: lines below the table.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    words: int = 1
    strong: set[tuple[int, int]] = field(default_factory=set)
    rules: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """Return the table as GitHub Markdown, with the best values in bold."""
        align = [":--" if i < self.words else "--:" for i in range(len(self.head))]
        lines = [self.head, align]
        for r, row in enumerate(self.rows):
            lines.append([f"**{cell}**" if (r, c) in self.strong else cell for c, cell in enumerate(row)])
        body = "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )
        return "\n\n".join([f"**{self.title}**", body, *self.notes]) + "\n"

    def rich(self) -> RichTable:
        """Return the table for ``rich.print`` or a rich console."""
        from rich import box
        from rich.markup import escape
        from rich.table import Table as RichTable

        table = RichTable(
            title=escape(self.title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD,
            caption="\n".join(escape(note) for note in self.notes) or None, caption_justify="left",
            collapse_padding=True, show_edge=False, padding=(0, 1 if len(self.head) < 10 else 0, 0, 0),
        )  # fmt: skip
        for index, name in enumerate(self.head):
            wordy = index < self.words
            head = (
                name if wordy else name.replace(" ", "\n")
            )  # keep columns narrow for terminals of 80 columns
            table.add_column(
                escape(head), justify="left" if wordy else "right", no_wrap=not wordy, vertical="bottom",
                overflow="fold",
            )  # fmt: skip
        for r, row in enumerate(self.rows):
            cells = [
                f"[bold]{escape(c)}[/bold]" if (r, i) in self.strong else escape(c) for i, c in enumerate(row)
            ]
            table.add_row(*cells, end_section=r in self.rules)
        return table


def figure(value: float | None, digits: int = 3) -> str:
    """Format a score without its leading zero (``.831``); None and NaN give ``–``."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text


def result_tables(results: Sequence[Result]) -> list[Table]:
    """Make one table per protocol, in order of appearance."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.task, result.protocol_hash), []).append(result)
    return [
        hashing_table(members) if task == "hashing" else retrieval_table(members)
        for (task, _), members in groups.items()
    ]


def hashing_table(results: Sequence[Result]) -> Table:
    """Make a table of mAP in both directions with floor and ceiling, one row per result."""
    rows = [_hashing_row(result) for result in results]
    head = ["method", "space", "seed", "i→t", "t→i", "mean", "floor", "ceiling", "unseen"]
    head += ["asymmetric", "NDCG", "NDCG floor", "seconds"]
    table = _drop_empty(Table(f"mAP, {results[0].protocol}", head, rows, words=2))
    table.notes = [text for name, text in NOTES.items() if name in table.head] + empty_notes(results)
    return table


def empty_notes(results: Sequence[Result]) -> list[str]:
    """Note how many queries have no relevant item, how many texts are empty, and how they count."""
    notes: dict[str, None] = {}
    for result in results:
        for way in (way for way in DIRECTIONS if "without_relevant" in result.metrics.get(way, {})):
            rule = EMPTY_QUERIES[result.settings.get("metric", {}).get("empty", "skip")]
            lost, total = int(result.metrics[way]["without_relevant"]), len(result.per_query.get(way, []))
            name = DIRECTION_LABELS[way]
            notes[f"{name}: {lost:,} of {total:,} queries have no relevant item, {rule}"] = None
        for split, lost in result.settings.get("without_text", {}).items():
            total = result.settings["counts"][f"{split}_text"]
            notes[f"{lost:,} of {total:,} {split} texts are empty, and encoded as such"] = None
    return list(notes)


def _hashing_row(result: Result) -> list[str]:
    directions = [figure(result.metrics.get(d, {}).get("map")) for d in DIRECTIONS]
    names = ("map", "floor", "ceiling", "map_unseen", "map_asymmetric", "ndcg@100", "ndcg_floor@100")
    levels = [figure(result.mean(name)) for name in names]
    return [*who(result), *directions, *levels, _seconds(result)]


def retrieval_table(results: Sequence[Result]) -> Table:
    """Make a table of R@k (per cent) and median rank, one row per result and direction."""
    names = list(next(iter(results[0].metrics.values())))
    head = ["method", "space", "way", "seed", *map(name_head, names), "seconds"]
    rows = []
    for result in results:
        label, space, seed = who(result)
        for direction in (d for d in DIRECTIONS if d in result.metrics):
            figures = [score_text(name, result.metrics[direction].get(name)) for name in names]
            rows.append([label, space, DIRECTION_LABELS[direction], seed, *figures, _seconds(result)])
    notes = ["R@k in per cent: a relevant item among the first k, in expectation over ties."]
    return _drop_empty(Table(f"retrieval, {results[0].protocol}", head, rows, words=3, notes=notes))


def mean_spread(metric: str, mean: float, sd: float | None) -> str:
    """Format mean ± s.d., or the mean only where the s.d. is None or NaN (one result)."""
    text = score_text(metric, mean)
    return text if sd is None or math.isnan(sd) else f"{text} ± {score_text(metric, sd)}"


def who(result: Result) -> list[str]:
    """Return the leading cells of a result's row: label, space and seed."""
    return [result.label, space_text(result), "–" if result.seed is None else str(result.seed)]


def space_text(result: Result) -> str:
    """Name the space of a result: `64 bits`, `sphere 256`; the curvature differs per run and is left out."""
    if result.bits:
        return f"{result.bits} bits"
    return " ".join(str(result.space[key]) for key in ("name", "dim") if key in result.space)


def _seconds(result: Result) -> str:
    total = sum(result.seconds.values())
    return f"{total:.1f}" if total else "–"


def score_text(name: str, value: float | None) -> str:
    """Format a metric: R@k and accuracy in per cent, ranks with one decimal, other scores with three."""
    if value is not None and (name in PERCENT or name.startswith("r@")):
        return f"{100 * value:.1f}"
    return figure(value, 1 if name == "median_rank" else 3)


def figure_head(direction: str, metric: str) -> str:
    """Return the heading of a metric of a direction, of their ``mean``, or of one of `GROUPS`."""
    if direction in DIRECTION_LABELS:
        return f"{name_head(metric)} {DIRECTION_LABELS[direction]}"
    return direction if direction == "mean" else name_head(metric)


def name_head(name: str) -> str:
    """Return the heading of a metric: `mAP`, `R@10`, `med. rank`, `rare i→t`."""
    way, _, kind = name.partition("/")
    if way in DIRECTION_LABELS:
        return f"{kind} {DIRECTION_LABELS[way]}"  # a narrow terminal breaks the line at the space
    return HEADS.get(name, name.replace("r@", "R@").replace("text/", ""))


def _drop_empty(table: Table) -> Table:
    """Remove the columns in which no row has a value."""
    keep = [i for i in range(len(table.head)) if i < table.words or any(row[i] != "–" for row in table.rows)]
    table.head = [table.head[i] for i in keep]
    table.rows = [[row[i] for i in keep] for row in table.rows]
    return table
