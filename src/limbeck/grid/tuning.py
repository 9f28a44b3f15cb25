"""Record the trials of a row: settings, validation scores, and the chosen trial."""

from __future__ import annotations

from typing import TypedDict

from limbeck.errors import LimbeckError
from limbeck.files import write_json
from limbeck.grid.plan import Settings
from limbeck.grid.rows import RowStore
from limbeck.grid.tasks import Task
from limbeck.grid.work import Outcome

RULE = "highest validation score, the earlier trial on a tie; query rows are never looked at"


class Trial(TypedDict):
    """The record of one trial."""

    trial: int
    settings: Settings
    score: float | None
    error: str | None
    seconds: float
    seed: int
    hash: str


class TuningLog:
    """The log of a row's trials, stored as ``tune/ROW`` with the rows and written after each trial."""

    def __init__(self, rows: RowStore, entry: str, trials: list[Task]) -> None:
        """Read the stored log.

        Raises:
            LimbeckError: a stored trial has other settings than the grid file.
        """
        self.rows, self.name, self.entry, self.tasks = rows, f"tune/{entry}", entry, trials
        self.done: dict[int, Trial] = {}
        if rows.has(self.name):
            for record in rows.read(self.name)["trials"]:
                self.done[record["trial"]] = record
        for number, record in self.done.items():
            if number >= len(trials) or record["hash"] not in trials[number].own_hashes:
                raise LimbeckError(
                    f"{self.where}: trial {number} was made with other settings than row {entry!r} has; "
                    f"remove it and {entry}'s runs, or rename the row",
                    code="E-RUN-OTHER-SETTINGS",
                )

    @property
    def where(self) -> str:
        """The location of the record, for messages."""
        return self.rows.where(self.name)

    def has(self, task: Task) -> bool:
        """Return whether the score of a trial is stored."""
        return self.tasks.index(task) in self.done

    def add(self, task: Task, outcome: Outcome) -> None:
        """Write the score of a trial, or its error; a trial that diverges counts as the worst."""
        number = self.tasks.index(task)
        self.done[number] = {
            "trial": number,
            "settings": task.searched,
            "score": outcome.score,
            "error": outcome.error,
            "seconds": round(outcome.seconds, 1),
            "seed": task.seed,
            "hash": task.own_hashes[0],
        }
        trials = [self.done[n] for n in sorted(self.done)]
        write_json(
            self.rows.file(self.name),
            {"row": self.entry, "rule": RULE, "chosen": self.best(), "trials": trials},
        )

    def best(self) -> int | None:
        """Return the number of the chosen trial; None before all are done, or if none has a score."""
        scored = {n: score for n, record in self.done.items() if (score := record["score"]) is not None}
        if len(self.done) < len(self.tasks) or not scored:
            return None
        return min(scored, key=lambda n: (-scored[n], n))

    def chosen(self) -> Settings | None:
        """Return the settings of the chosen trial; None before it is known."""
        best = self.best()
        return None if best is None else self.tasks[best].searched
