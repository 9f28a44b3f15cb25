"""Make a table of training cost: speed, FLOPs, memory, and validation at equal pairs or equal seconds."""

from __future__ import annotations

from collections.abc import Sequence

from limbeck.evaluation.compare import Comparison, Group
from limbeck.evaluation.efficiency import AXES, common_end, score_at
from limbeck.metrics import summarize
from limbeck.reporting.tables import Table, figure, space_text

COSTS = {
    "parameters": "params",
    "pairs_per_second": "pairs/s",
    "flops_per_step": "FLOP/step",
    "peak_memory": "peak B",
    "pairs": "pairs",
    "seconds": "train s",
}
NOTES = [
    "means over seeds; FLOP/step: twice the multiply-adds of a step, forward and backward;",
    "peak: memory of the GPU's tensors, else of the process; train s: all stages, without validation",
]


def efficiency_table(comparison: Comparison, groups: Sequence[Group]) -> Table | None:
    """Make a table with one row per group whose runs recorded their cost; None if no group has costs."""
    having = [group for group in groups if all(result.efficiency for result in group.results)]
    if not having:
        return None
    results = [result for group in having for result in group.results]
    ends = {axis: common_end(results, axis) for axis in AXES}
    head = ["method", "space", "n", *COSTS.values()]
    head += [_place(axis, end) for axis, end in ends.items() if end is not None]
    table = Table(f"efficiency, {comparison.protocol}", head, [], words=2, notes=list(NOTES))
    if any(end is not None for end in ends.values()):
        table.notes.append("at: validation score at equal pairs or seconds, linear between validations")
    if len({str(result.machine.get("processor")) for result in results}) > 1:
        table.notes.append("the runs used several processors: do not compare their seconds")
    for group in having:
        costs = [_cost(group, key) for key in COSTS]
        scores = [_score(group, axis, end) for axis, end in ends.items() if end is not None]
        row = [group.label, space_text(group.results[0]), str(len(group.results)), *costs, *scores]
        table.rows.append(row)
    return table


def _place(axis: str, end: float) -> str:
    return f"at {short(end)} {'pairs' if axis == 'pairs' else 's'}"


def _cost(group: Group, key: str) -> str:
    values = [result.efficiency[key] for result in group.results if key in result.efficiency]
    return short(sum(values) / len(values)) if values else "–"


def short(value: float) -> str:
    """Format a number with three digits and a prefix: 204,800 is `205k`, 1.5e9 is `1.5G`."""
    for size, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= 0.9995 * size:
            return f"{float(f'{value / size:.3g}'):g}{prefix}"
    return f"{value:.3g}"


def _score(group: Group, axis: str, end: float) -> str:
    scores = [score_at(result, axis, end) for result in group.results]
    values = [value for value in scores if value is not None]
    if len(values) < len(scores):
        return "–"
    summary = summarize(values)
    return figure(summary.mean) if summary.sd is None else f"{figure(summary.mean)} ± {figure(summary.sd)}"
