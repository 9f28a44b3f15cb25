"""The record of a row's trials: settings and validation scores, and which of them is used."""

from __future__ import annotations

from typing import Any

from limbeck.errors import LimbeckError
from limbeck.files import write_json
from limbeck.grid.plan import Settings
from limbeck.grid.rows import RowStore
from limbeck.grid.tasks import Task
from limbeck.grid.work import Outcome

RULE = "highest validation score, the earlier trial on a tie; query rows are never looked at"


class TuningLog:
    """``tune/ROW`` among the rows, written after each trial."""

    def __init__(self, rows: RowStore, entry: str, trials: list[Task]) -> None:
        """Read what is there.

        Raises:
            LimbeckError: a trial on file has other settings than the grid file asks for now.
        """
        self.rows, self.name, self.entry, self.tasks = rows, f"tune/{entry}", entry, trials
        self.done: dict[int, dict[str, Any]] = {}
        if rows.has(self.name):
            for found in rows.read(self.name)["trials"]:
                self.done[found["trial"]] = found
        for number, found in self.done.items():
            if number >= len(trials) or found["hash"] not in trials[number].own_hashes:
                raise LimbeckError(
                    f"{self.where}: trial {number} had other settings than row {entry!r} asks for now; "
                    f"remove it there and {entry}'s runs, or rename the row"
                )

    @property
    def where(self) -> str:
        """Where the record lies, for messages."""
        return self.rows.where(self.name)

    def has(self, task: Task) -> bool:
        """Whether a trial's score is on file."""
        return self.tasks.index(task) in self.done

    def add(self, task: Task, outcome: Outcome) -> None:
        """Write a trial's score, or why it has none (a trial that diverges counts as one that lost)."""
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
        """Number of the chosen trial; None before all are done, or when none has a score."""
        scored = {n: found["score"] for n, found in self.done.items() if found["score"] is not None}
        if len(self.done) < len(self.tasks) or not scored:
            return None
        return min(scored, key=lambda n: (-scored[n], n))

    def chosen(self) -> Settings | None:
        """Settings of the chosen trial; None before it is known."""
        best = self.best()
        return None if best is None else self.tasks[best].searched
