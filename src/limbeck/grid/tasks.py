"""Expand a grid file to tasks: one run each, with its settings, its dependencies, and a hash of both."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from limbeck.data.protocols import load_protocol
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.grid.plan import Between, Grid, Row, Search, Settings
from limbeck.training.identity import identity_by_path, recipe_identity
from limbeck.training.recipe import Recipe, load_recipe
from limbeck.typed import Json, leaves, map_leaves


@dataclass(eq=False)
class Task:
    """One run of a grid.

    Attributes:
        name: name of its folder in the grid's folder.
        kind: ``prepare`` is trained, ``trial`` is also scored on validation rows, ``row`` is also evaluated.
        entry: name of its row or prepared run in the grid file.
        label: name in tables.
        seed: seed of the run.
        recipe: name, file or mapping of its recipe.
        settings: overrides; ``$NAME`` in them is replaced by the folder of another run.
        product: its values of the ``product`` keys.
        searched: the settings that a trial tries.
        bits: also evaluate the first N bits, for each N, as separate rows.
        exact_words: also evaluate the exact-words control as a separate row.
        refers: NAME → task of that run.
        trials: the trials that choose its settings.
        folder: directory of the grid file, the second place for relative paths.
    """

    name: str
    kind: Literal["prepare", "trial", "row"]
    entry: str
    label: str
    seed: int
    recipe: str | dict[str, Json]
    settings: Settings
    product: Settings = field(default_factory=dict)
    searched: Settings = field(default_factory=dict)
    bits: tuple[int, ...] = ()
    exact_words: bool = False
    refers: dict[str, Task] = field(default_factory=dict)
    trials: list[Task] = field(default_factory=list)
    folder: Path | None = None

    @property
    def needs(self) -> list[Task]:
        """The tasks that must be done before this one."""
        return [*self.refers.values(), *self.trials]

    def resolved(self, out: Path, chosen: Settings | None = None) -> Recipe:
        """Return the recipe to train, with the folders of other runs in ``out``."""
        return self._load({name: str(out / task.name) for name, task in self.refers.items()}, chosen)

    def written(self) -> Recipe:
        """Return the recipe with stand-ins for the folders of other runs."""
        # "/" keeps a stand-in apart from the names of stages.
        return self._load({name: f"prepared/{name}" for name in self.refers}, None)

    def resolved_in(self, places: dict[str, str]) -> Recipe:
        """Return the recipe with the given folders of other runs (name in the grid file → folder)."""
        return self._load(places, None)

    def hash(self, chosen: Settings | None = None) -> str:
        """Return a hash of everything that changes the run's weights, independent of its paths."""
        return self.hashes(chosen)[0]

    def hashes(self, chosen: Settings | None = None) -> tuple[str, str]:
        """Return `hash`, and the hash of older versions, which included the path of a protocol file."""
        # The "/" makes the placeholder different from the names of stages.
        recipe = self._load({name: f"prepared/{name}" for name in self.refers}, chosen)
        needed = [{name: task.own_hashes[age] for name, task in self.refers.items()} for age in (0, 1)]
        return (
            sha256_json([recipe_identity(recipe), needed[0]]),
            sha256_json([identity_by_path(recipe), needed[1]]),
        )

    @cached_property
    def own_hashes(self) -> tuple[str, str]:
        """The `hashes` of a run without chosen settings."""
        return self.hashes()

    def _load(self, places: dict[str, str], chosen: Settings | None) -> Recipe:
        fill = functools.partial(_fill, places)
        settings = map_leaves({**self.settings, **(chosen or {}), "seed": self.seed}, fill)
        try:
            return load_recipe(map_leaves(self.recipe, fill), settings, folder=self.folder)
        except LimbeckError as error:
            raise LimbeckError(f"{self.entry}: {error}", code=error.code) from None


def expand(grid: Grid, pairs: str | None = None) -> list[Task]:
    """Return the runs of a grid in a valid order: every run follows the runs that it needs.

    Args:
        grid: the grid file.
        pairs: pairs directory instead of the one in the file.

    Raises:
        LimbeckError: two runs have one name; ``$NAME`` refers to no run or to several; a recipe is invalid;
            a protocol is missing.
    """
    data = grid.data | ({"pairs": pairs} if pairs is not None else {})
    shared = {f"data.{key}": value for key, value in data.items()} | grid.shared
    tasks: list[Task] = []
    for name, entry in grid.prepare.items():
        each = entry.seeds == "each"
        for seed in grid.seeds if each else [entry.seed]:
            folder = f"{name}-s{seed}" if each else name
            settings = shared | grid.protocol_of(seed) | entry.set if each else shared | entry.set
            _add(tasks, Task(folder, "prepare", name, name, seed, entry.recipe, settings))
    for name, row in grid.rows.items():
        product = grid.product if row.product is None else row.product
        trials = list(_trials(grid, name, row, product, shared))
        for task in trials:
            _add(tasks, task)
        for place in _combinations(product):
            tail = "".join(f"-{_word(value)}" for value in place.values())
            # Tables show the code length in any case; other values become part of the label.
            values = "".join(f" {value}" for key, value in place.items() if key != "lift.bits")
            for seed in row.seeds or grid.seeds:
                settings = shared | grid.protocol_of(seed) | row.set | place
                task = Task(
                    f"{name}{tail}-s{seed}",
                    "row",
                    name,
                    (row.label or name) + values,
                    seed,
                    row.recipe,
                    settings,
                    place,
                )
                task.trials, task.bits, task.exact_words = trials, tuple(row.bits), row.exact_words
                _add(tasks, task)
    protocols: set[str] = set()
    for name in grid.extra_protocols:
        _check_protocol("extra_protocols", name, protocols)
    for task in tasks:
        task.folder = grid._folder
        _check_protocol(task.entry, task.written().data.protocol, protocols)
    for task in tasks:
        task.own_hashes  # noqa: B018 - this resolves every recipe before any training
    return tasks


def matches(only: str | None, *names: str) -> bool:
    """Say whether one of the names fits a pattern of ``only`` (comma-separated; None fits every name)."""
    patterns = [] if only is None else only.split(",")
    return only is None or any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def _check_protocol(where: str, name: str, known: set[str]) -> None:
    """Refuse a missing protocol before any settings are compared: without it they seem to differ."""
    try:
        if name not in known:
            load_protocol(name)
    except LimbeckError as error:
        raise LimbeckError(f"{where}: {error}", code=error.code) from None
    known.add(name)


def _add(tasks: list[Task], task: Task) -> None:
    if any(task.name == other.name for other in tasks):
        raise LimbeckError(
            f"{task.entry}: two runs would have the name {task.name!r}; rename a row", code="E-GRID-ROW"
        )
    for name in dict.fromkeys(_references([task.recipe, task.settings])):
        task.refers[name] = _referred(tasks, task, name)
    tasks.append(task)


def _referred(tasks: Sequence[Task], task: Task, name: str) -> Task:
    """Return the run that ``$name`` refers to; of several runs, the one with the same values and seed."""
    runs = [other for other in tasks if other.entry == name and other.kind != "trial"]
    if not runs:
        known = (
            ", ".join(dict.fromkeys(other.entry for other in tasks if other.entry != task.entry)) or "none"
        )
        raise LimbeckError(
            f"{task.entry}: ${name}: no run above it in the file has this name; choose from {known}",
            code="E-GRID-REFERENCE",
        )
    for test in (_same_place, _same_seed):
        runs = [other for other in runs if len(runs) == 1 or test(task, other)]
    if len(runs) != 1:
        raise LimbeckError(
            f"{task.entry}: ${name}: has {'several runs' if runs else 'no run'} for seed {task.seed}; "
            "give it the seeds (and the product) of this row, or one run",
            code="E-GRID-REFERENCE",
        )
    if runs[0].trials:
        raise LimbeckError(
            f"{task.entry}: ${name}: is tuned, so its settings are not known; refer to another run",
            code="E-GRID-REFERENCE",
        )
    return runs[0]


def _same_place(task: Task, other: Task) -> bool:
    return all(task.product.get(key, value) == value for key, value in other.product.items())


def _same_seed(task: Task, other: Task) -> bool:
    return other.seed == task.seed


def _combinations(product: dict[str, list[Json]]) -> list[Settings]:
    return [dict(zip(product, values, strict=True)) for values in itertools.product(*product.values())]


def _trials(grid: Grid, name: str, row: Row, product: dict[str, list[Json]], shared: Settings) -> list[Task]:
    tune = grid.tune
    if tune is None or row.tune is False:
        return []
    search: Search = tune.search | (row.tune if isinstance(row.tune, dict) else {})
    if not search:
        raise LimbeckError(
            f"{name}: tune: nothing is searched; give tune.search or the row's tune, or set tune: false",
            code="E-GRID-TUNING",
        )
    place = {key: tune.at.get(key, values[0]) for key, values in product.items()}
    fixed = shared | grid.protocol_of(tune.seed) | row.set | place
    drawn = _draw(search, tune.trials - 1, [tune.seed, name])
    return [
        Task(
            f"tune/{name}-t{number}", "trial", name, name, tune.seed, row.recipe,
            fixed | settings, place, settings,
        )
        for number, settings in enumerate([{}, *drawn])
    ]  # fmt: skip


def _draw(search: Search, count: int, seed: object) -> list[Settings]:
    """Sample settings by a seed: one number per stratum of a range, and all choices equally often."""
    rng = np.random.default_rng(int(sha256_json(seed)[:12], 16))
    columns: dict[str, list[Json]] = {}
    for key, values in search.items():
        order = rng.permutation(count)
        if isinstance(values, Between):
            columns[key] = [values.at((place + rng.random()) / count) for place in order.tolist()]
        else:  # every choice equally often
            columns[key] = [values[place % len(values)] for place in order.tolist()]
    return [{key: column[trial] for key, column in columns.items()} for trial in range(count)]


def _references(value: object) -> list[str]:
    texts = [leaf for leaf in leaves(value) if isinstance(leaf, str)]
    return [text[1:].split("/")[0] for text in texts if text.startswith("$")]


def _fill(places: dict[str, str], value: object) -> object:
    """Replace the name of a run by its place."""
    if isinstance(value, str) and value.startswith("$"):
        name, slash, rest = value[1:].partition("/")
        return places[name] + slash + rest if name in places else value
    return value


def _word(value: object) -> str:
    return "".join(c if c.isalnum() or c in "._" else "-" for c in str(value))
