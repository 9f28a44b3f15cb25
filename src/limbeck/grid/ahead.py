"""Check runs that read other runs before any training, by building them on untrained models of those runs."""

from __future__ import annotations

import functools
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.grid.state import DONE
from limbeck.grid.tasks import Task
from limbeck.training.identity import weights_tree
from limbeck.training.recipe import Recipe, method_config
from limbeck.typed import map_leaves

if TYPE_CHECKING:
    from limbeck.training.data import Data

SECONDS = 120.0
"""Time limit of the check; tasks that it does not reach are checked when they start."""


def check_ahead(
    left: Sequence[Task], state: Mapping[Task, str], out: Path, seconds: float = SECONDS
) -> dict[Task, str]:
    """Build every task that waits for another run, and the runs that it waits for.

    Tasks that differ only in data, seed, optimiser or schedule are built once.
    Tasks without data are skipped.

    Args:
        left: tasks to check.
        state: state of every task; a task without a state counts as done.
        out: folder of the runs.
        seconds: time limit in seconds, after which no new task is built.

    Returns:
        The tasks that cannot run, with the reason.
    """
    end = time.monotonic() + seconds
    known: dict[str, str | None] = {}
    failed: dict[Task, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        ahead = _Ahead(state, out, Path(scratch))
        for task in left:
            waits = any(not ahead.is_done(other) for other in task.refers.values())
            recipe = task.resolved(out) if waits else None
            if recipe is None or recipe.data.pairs is None or not Path(recipe.data.pairs).is_dir():
                continue
            key = _alike(recipe, task)
            if key not in known and time.monotonic() < end:
                known[key] = ahead.build(task, Path(scratch) / f"task-{len(known)}")
            if (why := known.get(key)) is not None:
                failed[task] = why
    return failed


class _Ahead:
    """Builds untrained models that replace the runs that are not done."""

    def __init__(self, state: Mapping[Task, str], out: Path, scratch: Path) -> None:
        self.state, self.out, self.scratch = state, out, scratch
        self.places: dict[Task, Path | None] = {}
        self.data: dict[str, Data] = {}  # only the last data set opened

    def is_done(self, task: Task) -> bool:
        return self.state.get(task, DONE) == DONE

    def place(self, task: Task) -> Path | None:
        """Return a folder that can be read like the run of a task; None if it cannot be built."""
        if self.is_done(task):
            return self.out / task.name
        if task not in self.places:
            folder = self.scratch / f"run-{len(self.places)}"
            self.places[task] = folder
            if self.build(task, folder) is not None:
                self.places[task] = None
        return self.places[task]

    def build(self, task: Task, folder: Path) -> str | None:
        """Return why a task cannot be built; None if it can, or if a run that it reads cannot be built."""
        from limbeck.training.early import build_stages, look

        places = {name: self.place(other) for name, other in task.refers.items()}
        ready = {name: str(place) for name, place in places.items() if place is not None}
        if len(ready) < len(places):
            return None
        try:
            recipe = task.resolved_in(ready)
            for built in build_stages(recipe, self._data(recipe), folder):
                look(built, recipe.seed)
        except LimbeckError as error:
            return error.line()
        return None

    def _data(self, recipe: Recipe) -> Data:
        """Call `open_data` once for consecutive tasks with the same data."""
        from limbeck.training.data import open_data, reads_text

        sees = [[method_config(stage)[0].supervised, reads_text(stage)] for stage in recipe.stages.values()]
        key = sha256_json([recipe.data.model_dump(mode="json"), recipe.seed, sees])
        if key not in self.data:
            self.data = {key: open_data(recipe)}
        return self.data[key]


def _alike(recipe: Recipe, task: Task) -> str:
    """Return a hash that is equal for tasks whose stages are built in the same way."""
    tree = weights_tree(recipe)
    for key in ("seed", "data"):
        tree.pop(key)
    for stage in tree["stages"]:
        stage.pop("optim")
        stage.pop("schedule")
    for name, other in task.refers.items():
        tree = map_leaves(tree, functools.partial(_named, other.name, f"${name}"))
    return sha256_json([tree, {name: other.entry for name, other in task.refers.items()}])


def _named(place: str, name: str, value: object) -> object:
    """Replace the folder of a run (one per seed) by its name in the grid file."""
    return name if isinstance(value, str) and Path(value).name == place else value
