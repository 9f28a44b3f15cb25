"""Find finished rows and finished or interrupted runs, and refuse those with other settings."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.evaluation.results import Result
from limbeck.files import read_json
from limbeck.grid.plan import Settings
from limbeck.grid.rows import RowStore, further_rows, row_name
from limbeck.grid.tasks import Task
from limbeck.grid.work import write_row
from limbeck.training.folder import is_free, is_run
from limbeck.training.identity import differing_key
from limbeck.training.recipe import Recipe

NEW, RESUME, DONE = "to do", "to resume", "done"


def task_status(
    task: Task, out: Path, rows: RowStore, extra_protocols: list[str], chosen: Settings | None = None
) -> tuple[str, Result | None]:
    """Return the state of a task, and the result of a finished row.

    A row is finished when its record is stored, even if its run is missing. If the grid evaluated its run but
    the record is missing, the record is written again.

    Raises:
        LimbeckError: the row or the run has other settings than the grid file, or another data set.
    """
    recipe = task.resolved(out, chosen)
    if task.kind == "row":
        result = _finished_row(task, out, rows, extra_protocols, chosen)
        if result is not None:
            _same_data(rows.where(task.name), result.settings.get("fingerprint"), task, recipe)
            return DONE, result
    folder = out / task.name
    if not is_run(folder):
        if not is_free(folder):
            raise LimbeckError(
                f"{folder}: exists and is not a run; move it away, or choose another --out",
                code="E-PATH-EXISTS",
            )
        return NEW, None
    _same_settings(folder, task, recipe)
    if (folder / "run.json").is_file():
        _same_data(str(folder), read_json(folder / "run.json").get("pairs_fingerprint"), task, recipe)
        if task.kind != "row":
            return DONE, None
    return RESUME, None


def _finished_row(
    task: Task, out: Path, rows: RowStore, extra_protocols: list[str], chosen: Settings | None
) -> Result | None:
    names = further_rows(task.name, task.bits, task.exact_words)
    names += [row_name(task.name, protocol) for protocol in [*extra_protocols, None]]
    if all(rows.has(name) for name in names):
        result = rows.load(names[-1])
        if _hash_of(result) not in task.hashes(chosen):
            raise LimbeckError(
                f"{rows.where(names[-1])}: row {task.entry!r} was made with other settings than those of the "
                "grid file; remove it and its run, or rename the row",
                code="E-RUN-OTHER-SETTINGS",
            )
        return result
    whole = out / task.name / "result.json"
    if len(names) > 1 or not whole.is_file():
        return None
    result = Result.load(whole)
    if _hash_of(result) not in task.hashes(chosen):
        return None  # evaluated by hand or with other settings; `_same_settings` checks the run's recipe
    write_row(rows.file(task.name), result)
    return result


def _hash_of(result: Result) -> object:
    about = result.settings.get("grid")
    return about.get("hash") if isinstance(about, dict) else None


def _same_data(place: str, recorded: str | None, task: Task, wanted: Recipe) -> None:
    """Refuse a row or run of another data set; without a data set on this machine, accept it."""
    pairs = wanted.data.pairs
    table = None if pairs is None else Path(pairs) / "pairs.json"
    if pairs is None or table is None or not table.is_file() or recorded is None:
        return
    here = _fingerprint(pairs, table.stat().st_mtime_ns)
    if here != recorded:
        raise LimbeckError(
            f"{place}: row {task.entry!r} is of another data set (fingerprint {recorded[:8]}) than {pairs} "
            f"({here[:8]}); use separate --rows and --out folders for this data set",
            code="E-RUN-OTHER-DATA",
        )


@cache
def _fingerprint(pairs: str, changed: int) -> str:
    return Pairs.open(pairs).fingerprint


def _same_settings(folder: Path, task: Task, wanted: Recipe) -> None:
    key = differing_key(folder, wanted)
    if key is not None:
        raise LimbeckError(
            f"{folder}: its run has other settings than row {task.entry!r} of the grid file ({key}); "
            "remove the folder, or rename the row",
            code="E-RUN-OTHER-SETTINGS",
        )
