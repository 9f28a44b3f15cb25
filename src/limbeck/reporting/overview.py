"""Compare models of different spaces in one table: scores, bytes per embedding, training cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.reporting.tables import Table, figure_head, name_head, score_text, space_text
from limbeck.spaces import space_from_json

RECALLS = ("r@1", "r@10")
FURTHER = {"top1": "zero_shot", "tie": "hierarchy"}


@dataclass(frozen=True)
class Cost:
    """The cost of one training run: parameters, pairs seen (once per epoch), and all its seconds."""

    label: str
    parameters: int
    pairs: int
    seconds: float


def overview_table(results: Sequence[Result], more: Mapping[str, Sequence[str]] | None = None) -> Table:
    """Make a table with one row per model: space, bytes per picture, recall, zero-shot accuracy, TIE.

    ``results`` are of one retrieval protocol; ``more`` adds columns, head → one cell per result.
    """
    head = ["method", "space", "bytes"]
    head += [figure_head(way, name) for name in RECALLS for way in DIRECTIONS]
    head += [name_head(name) for name in FURTHER]
    table = Table(f"side by side, {results[0].protocol}", [*head, *(more or {})], [], words=2)
    for at, result in enumerate(results):
        space = space_from_json(result.space)
        row = [result.label, space_text(result), str(space.width * space.dtype.itemsize)]
        row += [score_text(n, result.metrics.get(w, {}).get(n)) for n in RECALLS for w in DIRECTIONS]
        row += [score_text(n, result.metrics.get(group, {}).get(n)) for n, group in FURTHER.items()]
        table.rows.append(row + [cells[at] for cells in (more or {}).values()])
    chance = next((r.metrics["zero_shot"]["chance"] for r in results if "zero_shot" in r.metrics), None)
    table.notes = ["bytes: size of one stored picture embedding; R@k and top-1 in per cent"]
    if chance is not None:
        table.notes.append(
            f"top-1: zero-shot classes, chance {100 * chance:.1f}; TIE: edges from predicted to true class"
        )
    return table


def cost_table(costs: Sequence[Cost]) -> Table:
    """Make a table of the cost of each training run."""
    rows = [
        [
            cost.label, f"{cost.parameters / 1e6:.2f} M", f"{cost.pairs:,}", f"{cost.seconds:.0f}",
            f"{cost.pairs / cost.seconds:,.0f}",
        ]
        for cost in costs
    ]  # fmt: skip
    return Table("training cost", ["method", "parameters", "pairs seen", "seconds", "pairs/s"], rows)
