"""What the pages are made of: rows of grids, parts that benchmarks wrote, and facts that neither holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from limbeck.evaluation import Comparison, Result, compare
from limbeck.evaluation.compare import Group
from limbeck.evaluation.packs import read_pack
from limbeck.evaluation.results import DIRECTIONS
from limbeck.evaluation.validity import void_reasons
from limbeck.files import read_json

HERE = Path(__file__).parent
DOCS = HERE.parent / "docs" / "results"
Rows = Sequence[Result] | Group


@cache
def pack(name: str) -> dict[str, Any]:
    """Records of ``results/NAME.jsonl.xz`` by name."""
    return read_pack(HERE / f"{name}.jsonl.xz")


@cache
def part(name: str) -> Any:
    """What a benchmark wrote to ``docs/results/parts/NAME.json``."""
    return read_json(DOCS / "parts" / f"{name}.json")


def part_if_there(name: str) -> Any:
    """As `part`; an empty list where nothing was written yet."""
    return part(name) if (DOCS / "parts" / f"{name}.json").is_file() else []


@cache
def facts(page: str) -> dict[str, Any]:
    """Figures of a page that no row and no part holds, from ``results/facts.yaml``."""
    found = yaml.safe_load((HERE / "facts.yaml").read_text(encoding="utf-8"))
    return dict(found.get(page, {}))


class Grid:
    """The rows of one grid.

    Attributes:
        name: of its pack.
        base: label of the row that the others are compared with.
        command: what measured the rows.
        optional: the grid may not have been run yet; then it has no rows.
        results: by the grid's own protocols, or by the further one that is named.
    """

    def __init__(
        self,
        name: str,
        base: str | None = None,
        command: str = "",
        protocol: str = "",
        *,
        optional: bool = False,
    ) -> None:
        self.name, self.base, self.command = name, base, command
        self.kept = {} if optional and not (HERE / f"{name}.jsonl.xz").is_file() else pack(name)
        records = {row: record for row, record in self.kept.items() if "/" not in row}
        self.records = {r: c for r, c in records.items() if r.partition("@")[2] == protocol}
        self.results = [Result.parse(record, row) for row, record in self.records.items()]

    @cached_property
    def void(self) -> dict[str, list[str]]:
        """Rows that no longer count → why: their protocol or the code of their metrics has changed."""
        found = {row: void_reasons(result) for row, result in zip(self.records, self.results, strict=True)}
        return {row: why for row, why in found.items() if why}

    @cached_property
    def comparison(self) -> Comparison:
        """All rows in one table."""
        return compare(self.results, base=self.base)

    @cached_property
    def labels(self) -> dict[str, list[Result]]:
        """Label → its results, in the order of the file."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            found.setdefault(result.label, []).append(result)
        return found

    @cached_property
    def ranked(self) -> dict[str, dict[int | None, Group]]:
        """Label → bits (None for floats) → group; floats first, then the best at its longest codes."""
        found: dict[str, dict[int | None, Group]] = {}
        for group in sorted(self.comparison.groups, key=lambda group: group.bits or 0):
            found.setdefault(group.label, {})[group.bits] = group

        def height(own: dict[int | None, Group]) -> tuple[bool, float]:
            return None in own, float(np.mean(values(list(own.values())[-1], "mean map")))

        return dict(sorted(found.items(), key=lambda item: height(item[1]), reverse=True))

    @property
    def lengths(self) -> list[int | None]:
        """Code lengths in order, floats last."""
        bits = {group.bits for group in self.comparison.groups}
        return [*sorted(b for b in bits if b), *([None] if None in bits else [])]

    def figure(self, group: Group, direction: str, metric: str) -> Any:
        """The row of a group's figure in `Comparison.figures`; None where there is none."""
        number = next(n for n, other in enumerate(self.comparison.groups) if other is group)
        figures = self.comparison.figures
        found = figures[
            (figures["group"] == number) & (figures["direction"] == direction) & (figures["metric"] == metric)
        ]
        return next(found.itertuples(), None)

    def group(self, label: str, bits: int | None = 64) -> Group:
        """The group of a label at a length.

        Raises:
            KeyError: there is none.
        """
        return self.ranked[label][bits]

    @property
    def trials(self) -> dict[str, dict[str, Any]]:
        """Row → the record of its tuning."""
        logs = {name: record for name, record in self.kept.items() if name.startswith("tune/")}
        return {name.removeprefix("tune/"): record for name, record in logs.items()}


def members(rows: Rows) -> Sequence[Result]:
    """The results of a group, or the results themselves."""
    return rows.results if isinstance(rows, Group) else rows


def value(result: Result, figure: str) -> float | None:
    """A figure of a result; None where it lacks it.

    Args:
        result: a row.
        figure: ``i2t map``, ``mean r@10`` (of both directions), ``t2i label:rare``, ``cone inside``,
            ``space curv``, ``efficiency pairs_per_second``; of the last validation ``validation score`` and
            ``validation seconds``.
    """
    way, name = figure.split(" ", 1)
    if way == "mean":
        found = [value(result, f"{direction} {name}") for direction in DIRECTIONS]
        return None if None in found else sum(v for v in found if v is not None) / len(found)
    if name.startswith("label:"):
        return result.metrics.get("label", {}).get(f"{way}/{name.removeprefix('label:')}")
    further: dict[str, Mapping[str, Any]] = {"space": result.space, "efficiency": result.efficiency}
    if way == "validation":
        return result.progress[-1][name] if result.progress else None
    return further.get(way, result.metrics.get(way, {})).get(name)


def values(rows: Rows, figure: str, scale: float = 1.0) -> list[float]:
    """A figure of each result that has it."""
    found = [value(result, figure) for result in members(rows)]
    return [scale * one for one in found if one is not None]


def observed(rows: Rows, figure: str, scale: float = 1.0) -> dict[tuple[str, int | None], float]:
    """Draw and seed → a figure, of the results that have it."""
    found = {result.observation: value(result, figure) for result in members(rows)}
    return {at: scale * one for at, one in found.items() if one is not None}


def provenance(*grids: Grid) -> str:
    """When, on what machines and with which torch the rows of grids were measured."""
    results = [result for grid in grids for result in grid.results]
    days = sorted({result.created[:10] for result in results})
    machines = {(r.machine["processor"], r.machine["cores"], r.machine["bf16"]) for r in results}
    named = [f"{name}, {cores} cores, bf16 {bf16}" for name, cores, bf16 in sorted(machines)]
    torch = sorted({result.versions["torch"] for result in results})
    when = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"Machine: {'; '.join(named)}; torch {', '.join(torch)}; rows of {when}."


def search_rows() -> list[dict[str, Any]]:
    """Rows that ``benchmarks/search.py`` measured, each with the part that it is from as ``file``."""
    names = [file.stem for file in sorted((DOCS / "parts").glob("search-*.json"))]
    return [row | {"file": name} for name in names for row in part(name).get("rows", [])]


def search_machine() -> str:
    """Machines and days that the parts of `search_rows` name."""
    found = [part(name)["machine"] for name in dict.fromkeys(row["file"] for row in search_rows())]
    return "; ".join(sorted({f"{m['processor']}, {m['cores']} cores, {m['date']}" for m in found}))


def all_rows(prefix: str) -> list[dict[str, Any]]:
    """Metrics of every row of the grids whose packs begin so, further protocols left out."""
    grids = [Grid(file.name.partition(".")[0]) for file in sorted(HERE.glob(f"{prefix}*.jsonl.xz"))]
    return [
        {"grid": g.name, "row": row, "label": r.label, "seed": r.seed, "space": r.space, "metrics": r.metrics}
        for g in grids
        for row, r in zip(g.records, g.results, strict=True)
    ]
