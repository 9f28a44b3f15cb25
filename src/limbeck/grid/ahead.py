"""Runs that read other runs, checked before anything is trained: built on untrained models of the others."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.text_memory import remembered
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.grid.state import DONE
from limbeck.grid.tasks import Task
from limbeck.training.identity import weights_tree
from limbeck.training.recipe import Recipe, method_config

if TYPE_CHECKING:
    from limbeck.training.data import Data

SECONDS = 120.0
"""So long is looked ahead; what is left then is checked when it begins."""


def check_ahead(
    left: Sequence[Task], state: Mapping[Task, str], out: Path, seconds: float = SECONDS
) -> dict[Task, str]:
    """Build every task that waits for another run, and the runs that it waits for.

    Tasks that differ only in seed, draw, rate or length are built once. What has no data is not looked at.

    Args:
        left: tasks to look at.
        state: how far every task is; those that are not in it count as done.
        out: folder of the runs.
        seconds: no further task is built after so long.

    Returns:
        The tasks that cannot work, with the reason.
    """
    end = time.monotonic() + seconds
    known: dict[str, str | None] = {}
    failed: dict[Task, str] = {}
    with tempfile.TemporaryDirectory() as scratch, remembered(BackboneCache().folder):
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
    """Untrained models in the place of runs that are not done."""

    def __init__(self, state: Mapping[Task, str], out: Path, scratch: Path) -> None:
        self.state, self.out, self.scratch = state, out, scratch
        self.places: dict[Task, Path | None] = {}
        self.data: dict[str, Data] = {}  # the last one opened

    def is_done(self, task: Task) -> bool:
        return self.state.get(task, DONE) == DONE

    def place(self, task: Task) -> Path | None:
        """A folder that reads like the run of a task; None where it cannot be built."""
        if self.is_done(task):
            return self.out / task.name
        if task not in self.places:
            folder = self.scratch / f"run-{len(self.places)}"
            self.places[task] = folder
            if self.build(task, folder) is not None:
                self.places[task] = None
        return self.places[task]

    def build(self, task: Task, folder: Path) -> str | None:
        """Why a task cannot be built; None when it can, or when a run that it reads cannot."""
        from limbeck.training.early import build_stages, look

        found = {name: self.place(other) for name, other in task.refers.items()}
        ready = {name: str(place) for name, place in found.items() if place is not None}
        if len(ready) < len(found):
            return None
        try:
            recipe = task.resolved_in(ready)
            for built in build_stages(recipe, self._data(recipe), folder):
                look(built, recipe.seed)
        except LimbeckError as error:
            return str(error)
        return None

    def _data(self, recipe: Recipe) -> Data:
        """`open_data`, once for neighbours that see the same."""
        from limbeck.training.data import open_data, reads_text

        sees = [[method_config(stage)[0].supervised, reads_text(stage)] for stage in recipe.stages]
        key = sha256_json([recipe.data.model_dump(mode="json"), recipe.seed, sees])
        if key not in self.data:
            self.data = {key: open_data(recipe)}
        return self.data[key]


def _alike(recipe: Recipe, task: Task) -> str:
    """Hash that tasks share whose stages are built alike."""
    tree = weights_tree(recipe)
    for key in ("seed", "data"):
        tree.pop(key)
    for stage in tree["stages"]:
        stage.pop("optim")
        stage.pop("schedule")
    for name, other in task.refers.items():
        tree = _named(tree, other.name, name)
    return sha256_json([tree, {name: other.entry for name, other in task.refers.items()}])


def _named(value: Any, place: str, name: str) -> Any:
    """Folders of runs, one for each seed, by the name that the file gives them."""
    if isinstance(value, dict):
        return {key: _named(inner, place, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner, place, name) for inner in value]
    return f"${name}" if isinstance(value, str) and Path(value).name == place else value
