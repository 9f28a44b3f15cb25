"""Measure recorded rows again and judge the differences by the spread over the seeds of the recorded rows."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limbeck.evaluation.results import DIRECTIONS, Result
from limbeck.files import write_json
from limbeck.grid.recorded import Recorded
from limbeck.grid.run import GridState, run_grid
from limbeck.optional_deps import require

FIGURES = {"hashing": ("map",), "retrieval": ("r@1", "r@5", "r@10")}
LEVEL = 0.05
SAME = 5e-7
"""Figures that differ by less are equal; a run that is repeated on one machine gives equal figures."""
RULE = (
    "same: equal to six decimals. within the noise: a difference that two seeds of a row make, by a 95 % t "
    "interval from the spread over the seeds of the recorded rows of this code length (less the means of "
    "rows and of draws), corrected for the number of figures. one run only: the recorded rows tell no spread."
)
Verdict = Literal["same", "within the noise", "differs", "one run only"]


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a figure over seeds; the rows of one code length share it.

    Attributes:
        sd: the standard deviation of what is left after the mean of each row and the mean effect of each seed
            (a draw of the split).
        freedom: degrees of freedom; 0 where only one run is recorded.
    """

    sd: float
    freedom: int

    @classmethod
    def of(cls, values: dict[str, dict[int, float]]) -> Noise:
        """Estimate the noise from row → seed → value; rows with one seed are left out."""
        rows = [own for own in values.values() if len(own) > 1]
        away: dict[int, list[float]] = defaultdict(list)
        for own in rows:
            for seed, value in own.items():
                away[seed].append(value - sum(own.values()) / len(own))
        draws = len(rows) > 1
        freedom = sum(len(own) - 1 for own in rows) - (len(away) - 1 if draws else 0)
        if freedom < 1:
            return cls(0.0, 0)
        means = {seed: sum(own) / len(own) if draws else 0.0 for seed, own in away.items()}
        left = sum((one - means[seed]) ** 2 for seed, own in away.items() for one in own)
        return cls(math.sqrt(left / freedom), freedom)

    def reach(self, figures: int) -> float:
        """Return the largest difference of two runs that counts as noise when this many figures are compared.

        It is the half-width of a t interval of the difference at 95 %, corrected after Bonferroni.
        """
        quantile = float(require("scipy.special").stdtrit(self.freedom, 1 - LEVEL / (2 * figures)))
        return quantile * math.sqrt(2) * self.sd


@dataclass(frozen=True)
class Compared:
    """One figure of one row, new and recorded; ``reach`` is None if only one run is recorded."""

    row: str
    label: str
    figure: str
    recorded: float
    ours: float
    reach: float | None

    @property
    def verdict(self) -> Verdict:
        """The verdict on the difference."""
        difference = abs(self.ours - self.recorded)
        if difference < SAME:
            return "same"
        if self.reach is None:
            return "one run only"
        return "differs" if difference > self.reach else "within the noise"


def figures_of(result: Result) -> dict[str, float]:
    """Return the main figures of both directions: ``i2t map``, or ``i2t r@1``, …"""
    return {
        f"{way} {name}": result.metrics[way][name]
        for way in DIRECTIONS
        for name in FIGURES[result.task]
        if name in result.metrics.get(way, {})
    }


def compare_rows(table: Recorded, ours: dict[str, Result]) -> tuple[list[Compared], str]:
    """Compare repeated rows with the recorded ones of equal names; also return the rule of the verdicts."""
    pairs = [
        (row, name, value, figures_of(ours[row])[name])
        for row in ours
        for name, value in figures_of(table.rows[row]).items()
    ]
    found = []
    for row, name, recorded, own in pairs:
        noise = Noise.of(_by_seed(table, table.rows[row], name))
        reach = noise.reach(len(pairs)) if noise.freedom else None
        found.append(Compared(row, table.rows[row].label, name, recorded, own, reach))
    return found, RULE


def _by_seed(table: Recorded, like: Result, figure: str) -> dict[str, dict[int, float]]:
    """Return row without seed → seed → figure, for rows of equal task, splits' family and code length."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    for row, result in table.rows.items():
        alike = (result.task, result.pool, result.bits) == (like.task, like.pool, like.bits)
        value = figures_of(result).get(figure)
        if alike and value is not None and row.endswith(f"-s{result.seed}"):
            found[row.rpartition("-s")[0]][result.seed or 0] = value
    return found


def repeat(
    table: Recorded, rows: Sequence[str], out: Path, pairs: Path | None, *, jobs: int = 1,
    say: Callable[[str], None] = print, live: bool = False,
) -> tuple[dict[str, Result], dict[str, str]]:  # fmt: skip
    """Train and evaluate rows in a folder of their own, with all runs that they need; finished ones are kept.

    The trials of a tuned row are taken as they were recorded, so that it has the recorded settings.

    Returns:
        Row → result, and failed task → reason.

    Raises:
        LimbeckError: as for `GridState.open`; the folder holds other runs.
        KeyboardInterrupt: it was stopped; the same call continues.
    """
    assert table.grid is not None
    place = out / "rows"
    for entry in _tuned(table, rows):
        write_json(place / "tune" / f"{entry}.json", table.logs[entry])
    given = None if pairs is None else str(pairs.resolve())
    state = GridState.open(table.grid, out, ",".join(rows), given, place)
    failed = run_grid(state, jobs=jobs, say=say, live=live)
    done = {row: state.rows.load(row) for row in rows if state.rows.has(row)}
    return done, failed


def _tuned(table: Recorded, rows: Iterable[str]) -> list[str]:
    entries = dict.fromkeys(table.tasks[row].entry for row in rows)
    return [entry for entry in entries if entry in table.logs]
