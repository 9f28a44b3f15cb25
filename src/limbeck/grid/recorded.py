"""Find the recorded rows of a checkout, and say which of them can be measured again by a packaged grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError, proposal
from limbeck.evaluation.packs import SUFFIX, read_pack
from limbeck.evaluation.results import Result
from limbeck.evaluation.validity import void_reasons
from limbeck.grid.plan import Grid, find_grid, list_grids, read_grid
from limbeck.grid.tasks import Task, expand, matches
from limbeck.typed import Json

CHECKOUT = Path(__file__).resolve().parents[3]


def recorded_folder(given: Path | None = None) -> Path:
    """Return the folder of the packs: the given one, else ``results`` here, else that of limbeck's checkout.

    Raises:
        LimbeckError: none of them has a pack; an installed package holds no recorded rows.
    """
    places = [given] if given is not None else [Path("results"), CHECKOUT / "results"]
    for place in places:
        if any(place.glob(f"*{SUFFIX}")):
            return place
    raise LimbeckError(
        f"{places[0]}: has no recorded rows (*{SUFFIX}), and the installed package holds none; run this in a "
        "checkout of limbeck, or give --recorded DIR",
        code="E-RESULT-MISSING",
    )


def recorded_names(folder: Path) -> list[str]:
    """Return the names of the recorded tables of a folder, sorted."""
    return sorted(file.name.removesuffix(SUFFIX) for file in folder.glob(f"*{SUFFIX}"))


def drawn(names: Sequence[str], count: int | None, seed: int, only: str | None = None) -> list[str]:
    """Return the names that match a pattern of ``only`` (comma-separated), or ``count`` of them, sorted.

    The draw takes the smallest hashes of seed and name, so that a new name replaces one drawn name at most.

    Raises:
        LimbeckError: no name matches.
    """
    fit = sorted(name for name in names if matches(only, name))
    if not fit:
        raise LimbeckError(
            f"--only {only}: matches no row; choose from {', '.join(sorted(names))}", code="E-GRID-ROW"
        )
    by_hash = sorted(fit, key=lambda name: hashlib.blake2b(f"{seed}|{name}".encode()).digest())
    return sorted(by_hash[: len(fit) if count is None else count])


@dataclass
class Recorded:
    """One recorded table.

    Attributes:
        name: the name of its pack.
        rows: row → result, without tuning logs; rows by further protocols, prefixes and controls included.
        logs: row of the grid → record of its trials.
        grid_file: the grid of the rows; None: the packaged one that they name.
    """

    name: str
    rows: dict[str, Result]
    logs: dict[str, Json]
    grid_file: Path | None = None

    @classmethod
    def read(cls, name: str, folder: Path, grid_file: Path | None = None) -> Recorded:
        """Read a table.

        Raises:
            LimbeckError: there is none of this name, or its pack is damaged.
        """
        if name not in recorded_names(folder):
            hint = proposal(name, [*recorded_names(folder), "hamming"], "limbeck reproduce --list")
            raise LimbeckError(f"{name}: there is no recorded table; {hint}", code="E-RESULT-MISSING")
        file = folder / f"{name}{SUFFIX}"
        records = read_pack(file)
        rows = {row: Result.parse(one, f"{file}: {row}") for row, one in records.items() if "/" not in row}
        logs = {row.removeprefix("tune/"): one for row, one in records.items() if row.startswith("tune/")}
        return cls(name, rows, logs, grid_file)

    @property
    def data(self) -> str:
        """The data sets and protocols of the rows, in words."""
        used = {
            (str(one.settings.get("pairs")), one.protocol.partition("@")[0]) for one in self.rows.values()
        }
        sets = sorted({name for name, _ in used})
        return f"{', '.join(sets)} ({', '.join(sorted({protocol for _, protocol in used}))})"

    @property
    def seeds(self) -> int:
        """The number of different seeds."""
        return len({one.seed for one in self.rows.values()})

    @property
    def seconds(self) -> float:
        """The median seconds of a row that says what its training took, evaluation included."""
        known = [sum(one.seconds.values()) for one in self.rows.values() if "train" in one.seconds]
        return median(known) if known else 0.0

    @property
    def grid_names(self) -> list[str]:
        """The names of the grids that the rows name, sorted."""
        return sorted({str(_about(one)["name"]) for one in self.rows.values() if "name" in _about(one)})

    @property
    def no_grid(self) -> str:
        """The reason why no row can be measured again without a grid file."""
        names = ", ".join(self.grid_names)
        why = f"the grid of its rows, {names}, is not packaged" if names else "its rows name no grid"
        return f"{why}; give the grid with --grid FILE"

    @cached_property
    def grid(self) -> Grid | None:
        """The grid that the rows name; None where it is not packaged."""
        if self.grid_file is not None:
            return read_grid(self.grid_file)
        named = set(self.grid_names) & set(list_grids())
        return read_grid(find_grid(named.pop())) if len(named) == 1 else None

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Row → task of the grid."""
        tasks = [] if self.grid is None else expand(self.grid)
        return {task.name: task for task in tasks if task.kind == "row"}

    def void(self, pairs: Pairs | None = None) -> dict[str, list[str]]:
        """Return the void rows with the reasons."""
        found = {row: void_reasons(result, pairs) for row, result in self.rows.items()}
        return {row: why for row, why in found.items() if why}

    @cached_property
    def cannot_run(self) -> dict[str, str]:
        """The rows that the grid does not measure again, with the reason."""
        return {row: why for row in self.rows if (why := self._cannot_run(row)) is not None}

    def _cannot_run(self, row: str) -> str | None:
        if self.grid is None:
            return self.no_grid
        if row not in self.tasks:
            return "the grid has no run of this name; a prefix or a control comes with its run"
        about = _about(self.rows[row])
        settings = about.get("hash") in self.tasks[row].hashes(about.get("tuned"))
        return None if settings else "the grid has other settings now"

    def sample(self, count: int | None, seed: int, pairs: Pairs | None, only: str | None = None) -> list[str]:
        """Return rows that count and can be measured again: all, those of ``only``, or a number of them.

        Raises:
            LimbeckError: there is no such row.
        """
        void = self.void(pairs)
        fit = sorted(row for row in self.rows if row not in void and row not in self.cannot_run)
        if not fit:
            row = next(iter(self.rows))
            why = "; ".join(void.get(row, [])) or self.cannot_run[row]
            raise LimbeckError(
                f"{self.name}: no row can be measured again; of {row}: {why}", code="E-RESULT-VOID"
            )
        return drawn(fit, count, seed, only)


def _about(result: Result) -> dict[str, Any]:
    about = result.settings.get("grid")
    return about if isinstance(about, dict) else {}
