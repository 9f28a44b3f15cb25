"""Compute the tables of the report for its template: scores between floor and ceiling, and code health."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from limbeck.evaluation.compare import Group, compare
from limbeck.evaluation.results import Result
from limbeck.reporting.style import SERIES, looks
from limbeck.reporting.tables import figure_head, mean_spread, score_text, space_text
from limbeck.typed import Json

if TYPE_CHECKING:
    import pandas as pd

HEALTH = {
    "entropy": "entropy",
    "correlation": "correlation",
    "constant_bits": "dead bits",
    "unique": "distinct",
}


@dataclass(frozen=True)
class ScoreTable:
    """The scores of one protocol.

    Attributes:
        title: name of the protocol.
        head: column names.
        blocks: (code length in words, rows) in ascending order.
        metered: whether the last column shows the score between floor and ceiling as a bar.
        seeds: largest number of seeds of a row.
    """

    title: str
    head: list[str]
    blocks: list[tuple[str, list[dict[str, Json]]]]
    metered: bool
    seeds: int


def score_tables(results: Sequence[Result]) -> list[ScoreTable]:
    """Group results by protocol and code length, averaged over seeds; no row is marked as the best."""
    tables = []
    look = looks(result.label for result in results)
    for protocol_hash in dict.fromkeys(result.protocol_hash for result in results):
        comparison = compare([result for result in results if result.protocol_hash == protocol_hash])
        metered = any(_level(group, "ceiling") is not None for group in comparison.groups)
        blocks: dict[str, list[dict[str, Json]]] = {}
        figures = comparison.ordered()
        figures = figures[figures["part"] == "scores"]
        for number, scores in figures.groupby("group", sort=False):
            group = comparison.groups[number]
            name = f"{group.bits} bits" if group.bits else "continuous"
            color = f"var(--s{SERIES.index(look[group.label].color if group.label in look else SERIES[-1])})"
            blocks.setdefault(name, []).append(_row(group, scores) | {"color": color})
        head = ["method", *map(figure_head, scores["direction"], scores["metric"])]
        head += ["floor", "ceiling"] if metered else []
        seeds = max(len(group.results) for group in comparison.groups)
        tables.append(
            ScoreTable(comparison.protocol, [*head, "seconds"], list(blocks.items()), metered, seeds)
        )
    return tables


def _row(group: Group, scores: pd.DataFrame) -> dict[str, Json]:
    floor, ceiling = _level(group, "floor"), _level(group, "ceiling")
    share = None
    mean = scores.loc[scores["direction"] == "mean", "mean"]
    if floor is not None and ceiling is not None and ceiling > floor and len(mean):
        share = max(0.0, min(1.0, (mean.item() - floor) / (ceiling - floor)))
    seconds = [sum(result.seconds.values()) for result in group.results]
    return {
        "label": group.label,
        "space": space_text(group.results[0]),
        "cells": list(map(mean_spread, scores["metric"], scores["mean"], scores["sd"])),
        "floor": score_text("map", floor),
        "ceiling": score_text("map", ceiling),
        "share": share,
        "seconds": f"{sum(seconds) / len(seconds):.0f}" if any(seconds) else "–",
    }


def _level(group: Group, name: str) -> float | None:
    values = [value for value in (result.mean(name) for result in group.results) if value is not None]
    return sum(values) / len(values) if values else None


def health_table(results: Sequence[Result]) -> dict[str, Json] | None:
    """Return the code health of the first seed of each method and code length; None without any."""
    rows: dict[tuple[str, int | None], list[str]] = {}
    present = [
        (part, name)
        for part in ("database_image", "database_text")
        for name in HEALTH
        if any(isinstance(result.health.get(part, {}).get(name), float) for result in results)
    ]
    for result in results:
        if result.health and (result.label, result.bits) not in rows:
            rows[result.label, result.bits] = [_health_cell(result, part, name) for part, name in present]
    if not rows or not present:
        return None
    names = list(dict.fromkeys(HEALTH[name] for _, name in present))
    return {
        "names": names,
        "rows": [(label, f"{bits} bits", cells) for (label, bits), cells in rows.items()],
    }


def _health_cell(result: Result, part: str, name: str) -> str:
    value = result.health.get(part, {}).get(name)
    if not isinstance(value, (int, float)):
        return "–"
    if name == "unique":
        return f"{100 * value:.0f} %"
    return f"{value:.0f}" if name == "constant_bits" else f"{value:.2f}"
