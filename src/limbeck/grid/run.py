"""Run a grid: choose the next task, give it to a worker, report progress, collect the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.evaluation.results import Result
from limbeck.grid.ahead import check_ahead
from limbeck.grid.heartbeat import INTERVAL, Heartbeat
from limbeck.grid.plan import Grid, Settings
from limbeck.grid.rows import RowStore, further_rows, row_name
from limbeck.grid.state import DONE, NEW, task_status
from limbeck.grid.tasks import Task, expand, matches
from limbeck.grid.tuning import TuningLog
from limbeck.grid.work import Outcome, Work
from limbeck.grid.workers import Executor, open_executor
from limbeck.signals import raises_at_sigterm
from limbeck.typed import Json


@dataclass
class GridState:
    """The state of every task of a grid.

    Attributes:
        grid: the grid file.
        out: folder of the runs.
        rows: store of the rows.
        tasks: tasks in the order of the file.
        logs: row → log of its trials.
        status: task → "to do", "to resume" or "done".
        failed: task → reason.
        seconds: task → duration, where known.
    """

    grid: Grid
    out: Path
    rows: RowStore
    tasks: list[Task]
    logs: dict[str, TuningLog]
    status: dict[Task, str] = field(default_factory=dict)
    failed: dict[Task, str] = field(default_factory=dict)
    seconds: dict[Task, float] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        grid: Grid,
        out: Path,
        only: str | None = None,
        pairs: str | None = None,
        rows: Path | None = None,
    ) -> GridState:
        """Expand a grid, read the state of its tasks, and drop tasks that no row needs.

        Args:
            grid: the grid file.
            out: folder of the runs.
            only: comma-separated patterns of rows; by default all rows.
            pairs: data set instead of the one in the file.
            rows: folder or pack instead of the file's ``rows_to``.

        Raises:
            LimbeckError: as for `expand`, `task_status` and `TuningLog`; or ``only`` matches no row.
        """
        tasks = expand(grid, pairs)
        store = RowStore.open(rows or (Path(grid.rows_to) if grid.rows_to else None), out)
        rows_only = [task for task in tasks if task.kind == "row"]
        requested = [t for t in rows_only if matches(only, t.name, t.entry, t.name.rpartition("-s")[0])]
        if not requested:
            known = ", ".join(grid.rows)
            raise LimbeckError(
                f"--only {only}: matches no row; choose from {known} (you can append -sSEED to each)",
                code="E-GRID-ROW",
            )
        logs = {task.entry: TuningLog(store, task.entry, task.trials) for task in requested if task.trials}
        state = cls(grid, out.resolve(), store, [], logs)
        wanted: list[Task] = []
        for task in requested:
            state._update(task)
            wanted.append(task)
        for task in wanted:
            if state.status[task] != DONE:
                for other in task.needs:
                    if other not in wanted:
                        state._update(other)
                        wanted.append(other)
        state.tasks = [task for task in tasks if task in state.status]
        return state

    def _update(self, task: Task) -> None:
        log = self.logs.get(task.entry)
        if task.kind == "trial" and log is not None and log.has(task):
            self.status[task] = DONE
        elif task.trials and self.chosen(task) is None:
            self.status[task] = NEW  # its settings are not known before the trials are done
        else:
            self.status[task], result = task_status(
                task, self.out, self.rows, self.grid.extra_protocols, self.chosen(task)
            )
            if result is not None:
                self.seconds[task] = sum(result.seconds.values())

    def chosen(self, task: Task) -> Settings | None:
        """Return the chosen settings of a tuned row; None for other rows and before its trials are done."""
        return self.logs[task.entry].chosen() if task.trials else None

    @property
    def remaining(self) -> list[Task]:
        """The tasks that are neither done nor failed."""
        return [t for t in self.tasks if self.status[t] != DONE and t not in self.failed]

    def work(self, task: Task) -> Work:
        """Return the description of a task for a worker.

        Raises:
            LimbeckError: all trials of a tuned row failed, or its run has other settings.
        """
        chosen = self.chosen(task)
        if task.trials:
            if chosen is None:
                raise LimbeckError(
                    f"{task.entry}: no trial has a score; see {self.logs[task.entry].where}",
                    code="E-GRID-TUNING",
                )
            self._update(task)
        about: dict[str, Json] = {
            "name": self.grid.name,
            "row": task.entry,
            "hash": task.hash(chosen),
            "product": task.product,
            "set": task.settings | (chosen or {}),
            "tuned": chosen,
        }
        recipe = task.resolved(self.out, chosen).model_dump(mode="json")
        return Work(
            task.name, task.kind, self.out / task.name, recipe, task.label, about,
            self.rows.folder, tuple(self.grid.extra_protocols), self.grid.ceiling, self.grid.probe, task.bits,
            tuple(by_label) if isinstance(by_label := self.grid.by_label, list) else by_label,
            task.exact_words,
        )  # fmt: skip

    def end(self, task: Task, outcome: Outcome) -> None:
        """Record the outcome of a task; tasks that need a failed task fail, too."""
        self.seconds[task] = outcome.seconds
        if task.kind == "trial" and (outcome.error is None or outcome.diverged):
            self.logs[task.entry].add(task, outcome)
            self.status[task] = DONE
        elif outcome.error is None:
            self.status[task] = DONE
        else:
            self.fail(task, outcome.error)

    def fail(self, task: Task, why: str) -> None:
        """Record the failure of a task and of all tasks that need it."""
        self.failed[task] = why
        for other in self.remaining:
            if task in other.needs:
                self.fail(other, f"needs {task.name}, which failed")

    def drop_unneeded(self) -> None:
        """Drop the runs that only failed tasks need."""
        needed = [task for task in self.remaining if task.kind == "row"]
        for task in needed:
            needed += [other for other in task.needs if other not in needed]
        self.tasks = [t for t in self.tasks if t in needed or t in self.failed or self.status[t] == DONE]

    def estimate(self, jobs: int) -> float | None:
        """Estimate the seconds left from runs of the same row, else from all runs; None without any."""
        known = list(self.seconds.values())
        if not known:
            return None
        total = 0.0
        for task in self.remaining:
            alike = [s for t, s in self.seconds.items() if (t.entry, t.kind) == (task.entry, task.kind)]
            same = alike or known
            total += sum(same) / len(same)
        return total / jobs

    def results(self, protocol: str | None = None) -> list[Result]:
        """Return the results of the rows that are done, by the grid's protocols or by an additional one."""
        done = [t for t in self.tasks if t.kind == "row" and self.status[t] == DONE]
        names = [row_name(task.name, protocol) for task in done]
        if protocol is None:
            names += [name for t in done for name in further_rows(t.name, t.bits, t.exact_words)]
        return [self.rows.load(name) for name in names]


def run_grid(
    state: GridState, *, jobs: int = 1, say: Callable[[str], None] = print, live: bool = False
) -> dict[str, str]:
    """Run the remaining tasks of a grid.

    Args:
        state: see `GridState.open`.
        jobs: number of parallel processes, which share the threads.
        say: called with one line per finished task.
        live: whether a progress bar is shown. Without one, ``say`` also gets a line when a task starts, and
            one per five minutes while it runs.

    Returns:
        The failed tasks by name, with the reason. All other tasks are done.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM stopped the grid; running trainings have saved their state.
    """
    began = time.monotonic()
    running: dict[str, Task] = {}
    finished = [task for task in state.tasks if state.status[task] == DONE]
    if finished:
        say(f"{len(finished)} of {len(state.tasks)} tasks are done and kept")
    for task, why in check_ahead(state.remaining, state.status, state.out).items():
        say(f"{task.name}: cannot run, and nothing is trained for it: {why}")
        state.fail(task, why)
    state.drop_unneeded()
    heartbeat = Heartbeat((lambda line: None) if live else say)
    try:
        with raises_at_sigterm(), open_executor(jobs) as executor, heartbeat.running(INTERVAL):
            while state.remaining:
                ended = len(state.tasks) - len(state.remaining) + len(running)
                for number, task in enumerate(_submit_ready(state, executor, running), start=ended + 1):
                    begun = f"[{number}/{len(state.tasks)}] {task.name}: begins"
                    heartbeat.begin(task.name, state.out / task.name, begun)
                if not running:
                    break
                name, outcome = executor.next_outcome()
                heartbeat.end(name)
                task = running.pop(name)
                state.end(task, outcome)
                say(_line(state, task, outcome, time.monotonic() - began, jobs))
    finally:
        state.rows.merge()
    return {task.name: why for task, why in state.failed.items()}


def _submit_ready(state: GridState, executor: Executor, running: dict[str, Task]) -> list[Task]:
    """Submit a task whose needs are met for every free worker, in file order; return these tasks."""
    begun = []
    for task in state.remaining:
        if executor.free and task.name not in running and all(state.status[n] == DONE for n in task.needs):
            try:
                executor.submit(state.work(task))
            except LimbeckError as error:
                state.fail(task, error.line())
            else:
                running[task.name] = task
                begun.append(task)
    return begun


def _line(state: GridState, task: Task, outcome: Outcome, elapsed: float, jobs: int) -> str:
    done = len(state.tasks) - len(state.remaining)
    text = outcome.summary if outcome.error is None else f"failed: {outcome.error}"
    left = state.estimate(jobs)
    estimate = f", about {_duration(left)} left" if left and state.remaining else ""
    times = f"{_duration(outcome.seconds)}; {_duration(elapsed)} elapsed{estimate}"
    return f"[{done}/{len(state.tasks)}] {task.name}: {text}  ({times})"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
