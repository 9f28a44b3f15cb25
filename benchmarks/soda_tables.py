"""The field's tables as Markdown: methods down, lengths and directions across."""

from __future__ import annotations

from limbeck.evaluation.compare import Comparison, Difference, Group
from limbeck.evaluation.results import DIRECTIONS
from limbeck.reporting.tables import DIRECTION_LABELS, figure, mean_spread, name_head

Grid = dict[str, dict[int | None, Group]]
BESIDE = ("map_unseen", "ndcg@1000", "p@100", "lookup_precision", "lookup_recall")
HEADS = {"map_unseen": "unseen", "ndcg@1000": "NDCG@1000", "p@100": "P@100"}
HEADS |= {"lookup_precision": "prec. r≤2", "lookup_recall": "recall r≤2"}


def by_label(comparison: Comparison) -> Grid:
    """Label → bits (None for floats) → group, the best at its longest codes first."""
    found: Grid = {}
    for group in comparison.groups:
        found.setdefault(group.label, {})[group.bits] = group

    def height(own: dict[int | None, Group]) -> tuple[bool, float]:
        group = own[None] if None in own else own[max(bits for bits in own if bits)]
        return None in own, group.mean("mean map")

    return dict(sorted(found.items(), key=lambda item: height(item[1]), reverse=True))


def lengths(comparison: Comparison) -> list[int | None]:
    """Code lengths in order, floats last."""
    bits = {group.bits for group in comparison.groups}
    return sorted((b for b in bits if b), key=int) + ([None] if None in bits else [])


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def means(comparison: Comparison, name: str = "map") -> list[str]:
    """Mean ± s.d. of a figure, best of a length in bold."""
    places = [(bits, way) for bits in lengths(comparison) for way in DIRECTIONS]
    head = ["method", *(f"{bits or 'floats'} {DIRECTION_LABELS[way]}" for bits, way in places), "n"]
    rows = []
    for label, own in by_label(comparison).items():
        cells = [_mean(comparison, own.get(bits), f"{way} {name}") for bits, way in places]
        seen = sorted({len(group.results) for group in own.values()})
        rows.append([label, *cells, "–".join(map(str, seen))])
    if name == "map":
        for level, said in (("ceiling", "*codes learnt from the labels*"), ("floor", "*all codes equal*")):
            rows.append([said, *(_level(comparison, bits, way, level) for bits, way in places), ""])
    return table(head, rows)


def _level(comparison: Comparison, bits: int | None, way: str, level: str) -> str:
    """Mean of a reference level over all results of one length."""
    found = [
        result.metrics[way][level]
        for group in comparison.groups
        if group.bits == bits
        for result in group.results
        if level in result.metrics.get(way, {})
    ]
    return figure(sum(found) / len(found)) if found else ""


def _mean(comparison: Comparison, group: Group | None, column: str) -> str:
    if group is None or column not in group.values:
        return ""
    cell = mean_spread(group, column)
    return f"**{cell}**" if comparison.best.get((group.bits, column)) == group.label else cell


def differences(comparison: Comparison, name: str = "map") -> list[str]:
    """Minus the base: mean, interval, * where it counts after Holm."""
    places = [(bits, way) for bits in lengths(comparison) if bits for way in DIRECTIONS]
    head = [f"minus {comparison.base}", *(f"{bits} {DIRECTION_LABELS[way]}" for bits, way in places)]
    rows = []
    for label, own in by_label(comparison).items():
        found = [own[bits].differences.get(f"{way} {name}") if bits in own else None for bits, way in places]
        if any(found):
            rows.append([label, *(signed(difference) for difference in found)])
    return table(head, rows)


def signed(difference: Difference | None) -> str:
    """`−.012 (−.020 … −.004) *`."""
    if difference is None:
        return ""
    text = _signed(difference.mean)
    if difference.low is not None and difference.high is not None:
        text += f" ({_signed(difference.low)} … {_signed(difference.high)})"
    return text + (" *" if difference.counts else "")


def _signed(value: float) -> str:
    return ("−" if value < 0 else "+") + figure(abs(value))


def beside(comparison: Comparison, bits: int) -> list[str]:
    """What stands beside mAP at one length, both directions."""
    places = [(way, name) for name in BESIDE for way in DIRECTIONS]
    head = [
        f"{bits} bits",
        *(f"{HEADS.get(name, name_head(name))} {DIRECTION_LABELS[way]}" for way, name in places),
    ]
    rows = []
    for label, own in by_label(comparison).items():
        group = own.get(bits)
        if group is not None:
            cells = [_plain(comparison, group, f"{way} {name}") for way, name in places]
            rows.append([label, *cells])
    return table(head, rows)


def _plain(comparison: Comparison, group: Group, column: str) -> str:
    if column not in group.values:
        return ""
    cell = figure(group.mean(column))
    return f"**{cell}**" if comparison.best.get((group.bits, column)) == group.label else cell
