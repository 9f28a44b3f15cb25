"""Define and read the grid file; unknown keys and invalid values are errors that name the key."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, ValidationError, model_validator

from limbeck.data.config_errors import describe
from limbeck.data.yaml_files import read_yaml
from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError, proposal
from limbeck.training.recipe import FOLDER
from limbeck.training.relative import beside
from limbeck.typed import Json

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED = {"rows", "tune", "logs"}

Settings = dict[str, Json]
"""Overrides by dotted key, as on the command line of ``limbeck train``."""


class Between(Strict):
    """A range of numbers from ``low`` to ``high``; with ``log`` the logarithm is sampled uniformly."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("needs low < high, and low > 0 with log")
        return self

    def at(self, share: float) -> float:
        """Return the value at a share in [0, 1) of the range, rounded to 4 digits."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + share * (high - low)
        return float(f"{math.exp(value) if self.log else value:.4g}")


Search = dict[str, Between | list[Json]]


class Tune(Strict):
    """Settings of tuning: every row gets the same number of trials, scored on validation rows.

    Attributes:
        trials: number of trials per row; trial 0 is the unchanged recipe.
        seed: seed of the trials and of the sampled settings.
        at: values of ``product`` keys during tuning; by default the first value of each key.
        search: key → list of choices, or ``{low, high, log}``.
    """

    trials: int = Field(ge=2)
    seed: int = Field(default=0, ge=0)
    at: Settings = Field(default_factory=dict)
    search: Search = Field(default_factory=dict)


class Entry(Strict):
    """A recipe (name, file or mapping) and its overrides."""

    recipe: str | dict[str, Json]
    set: Settings = Field(default_factory=dict)


class Prepared(Entry):
    """A run that rows refer to as ``$NAME``; it is trained first, ``once`` (with ``seed``) or per seed."""

    seeds: Literal["once", "each"] = "once"
    seed: int = Field(default=0, ge=0)


class Row(Entry):
    """A row of the table.

    Attributes:
        label: name in the table; by default the name of the row.
        seeds: seeds of this row instead of the grid's.
        product: ``product`` of this row instead of the grid's.
        tune: keys to search in addition to the grid's; ``false`` disables tuning of the row.
        bits: also evaluate the first N bits of its codes, for each N in the list, as separate rows.
        exact_words: also evaluate the exact-words control, as a separate row "…, exact words".
    """

    renamed: ClassVar[dict[str, str]] = {"over": "product"}
    label: str | None = None
    seeds: list[int] | None = Field(default=None, min_length=1)
    product: dict[str, list[Json]] | None = None
    tune: Search | bool = True
    bits: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    exact_words: bool = False


def _not_none(value: object) -> object:
    return {} if value is None else value


class Grid(Strict):
    """A grid file.

    Attributes:
        name: name of the grid.
        note: free text.
        data: keys of a recipe's ``data`` for all runs.
        shared: overrides for all runs.
        seeds: seeds of every row.
        protocols: one protocol per seed instead of ``data.protocol``: draws of one protocol, or its folds.
        product: key → values; every row is run with every combination of the values.
        prepare: name → run that rows refer to as ``$NAME``.
        rows: name → row of the table.
        tune: settings of tuning; None disables it.
        rows_to: folder or pack of the rows' JSON records; by default ``OUT/rows``.
        extra_protocols: additional protocols that evaluate every row.
        ceiling: for hash codes, also learn codes from the labels as an upper reference.
        probe: also fit a linear probe to the image features.
        by_label: also compute the mAP of each label; a list names the unseen labels.
        base: label of the row that the others are compared with at the end.
    """

    renamed: ClassVar[dict[str, str]] = {"over": "product", "also": "extra_protocols"}
    name: str
    note: str = ""
    data: Settings = Field(default_factory=dict)
    shared: Settings = Field(default_factory=dict)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    protocols: list[str] | None = None
    product: dict[str, Annotated[list[Json], Field(min_length=1)]] = Field(default_factory=dict)
    prepare: Annotated[dict[str, Prepared], BeforeValidator(_not_none)] = Field(default_factory=dict)
    rows: dict[str, Row] = Field(min_length=1)
    tune: Tune | None = None
    rows_to: str | None = None
    extra_protocols: list[str] = Field(default_factory=list)
    ceiling: bool = True
    probe: bool = False
    by_label: bool | list[str] = False
    base: str | None = None
    _folder: Path | None = PrivateAttr(default=None)
    """Directory of the file: the second place for its relative paths, after the working directory."""

    @model_validator(mode="after")
    def _names(self) -> Grid:
        for name in [*self.prepare, *self.rows]:
            if not NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(
                    f"{name!r} is not a valid name; use letters, digits, '.', '_', '-', and none of "
                    f"{', '.join(sorted(RESERVED))}"
                )
        for name in self.prepare.keys() & self.rows.keys():
            raise ValueError(f"{name!r} is both a row and a prepared run; rename one")
        for seeds in [self.seeds, *(row.seeds for row in self.rows.values())]:
            if seeds is not None and len(set(seeds)) < len(seeds):
                raise ValueError(f"seeds {seeds}: one appears twice; name each once")
        self._check_protocols()
        product = set(self.product).union(*(row.product or {} for row in self.rows.values()))
        for key in self.tune.at if self.tune else {}:
            if key not in product:
                raise ValueError(f"tune.at: product has no key {key!r}; choose from {_list(sorted(product))}")
        labels = {row.label or name for name, row in self.rows.items()}
        if self.base is not None and self.base not in labels:
            raise ValueError(f"base: there is no row {self.base!r}; choose from {', '.join(sorted(labels))}")
        return self

    def _check_protocols(self) -> None:
        """Check that no run reads a run of another draw, whose training rows may be its query rows."""
        if self.protocols is None:
            return
        if len(self.protocols) != len(self.seeds):
            raise ValueError(
                f"protocols: names {len(self.protocols)} for {len(self.seeds)} seeds; name one per seed"
            )
        if "protocol" in self.data:
            raise ValueError("protocols: replaces data.protocol; remove one of them")
        once = [name for name, entry in self.prepare.items() if entry.seeds == "once"]
        if once and len(set(self.protocols)) > 1:
            raise ValueError(
                f"prepare.{once[0]}: a run for all seeds would train on query rows of other protocols; "
                "set seeds: each"
            )
        used = [("tune.seed", [self.tune.seed] if self.tune else [])]
        used += [(f"rows.{name}.seeds", row.seeds or []) for name, row in self.rows.items()]
        for where, seeds in used:
            unknown = [seed for seed in seeds if seed not in self.seeds]
            if unknown:
                raise ValueError(
                    f"{where}: there is no protocol for seed {unknown[0]}; choose from {self.seeds}"
                )

    def protocol_of(self, seed: int) -> Settings:
        """Return the protocol of a seed as an override; it is empty if all runs have the same protocol."""
        at = self.seeds.index(seed) if self.protocols is not None else 0
        return {} if self.protocols is None else {"data.protocol": self.protocols[at]}


def list_grids() -> list[str]:
    """List the names of the grid files that are part of limbeck, sorted."""
    names = [file.relative_to(FOLDER).with_suffix("") for file in FOLDER.rglob("grid*.yaml")]
    return sorted(name.as_posix() for name in names)


def find_grid(name: str) -> Path:
    """Return the path of a grid file, given as a path or as a packaged name such as ``hmid_net/grid``.

    Raises:
        LimbeckError: there is no such file and no such name.
    """
    if Path(name).is_file():
        return Path(name)
    if name.removesuffix(".yaml") in list_grids():
        return FOLDER / f"{name.removesuffix('.yaml')}.yaml"
    raise LimbeckError(
        f"{name}: there is no such grid file or packaged grid; "
        f"{proposal(name, list_grids(), 'limbeck list grids')}",
        code="E-GRID-UNKNOWN",
    )


def read_grid(file: Path) -> Grid:
    """Read and check a grid file; recipe paths are resolved relative to its folder where they exist there.

    Raises:
        LimbeckError: the file is not YAML; a key is repeated or unknown (the message suggests a similar key);
            two names collide; a value is invalid.
    """
    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise LimbeckError(
            f"{file}: a grid is a mapping of keys, found {type(tree).__name__}", code="E-CONFIG-FORM"
        )
    for part in ("prepare", "rows"):
        entries = tree.get(part)
        for entry in entries.values() if isinstance(entries, dict) else []:
            recipe = entry.get("recipe") if isinstance(entry, dict) else None
            if isinstance(recipe, str) and (file.parent / recipe).is_file():
                entry["recipe"] = str(file.parent / recipe)
    for key in ("protocols", "extra_protocols"):
        if key in tree:
            tree[key] = beside(tree[key], file.parent, key=key)
    try:
        grid = Grid.model_validate(tree)
    except ValidationError as error:
        raise describe(error, Grid, str(file)) from None
    grid._folder = file.parent
    return grid


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
