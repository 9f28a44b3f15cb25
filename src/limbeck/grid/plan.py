"""The grid file: what it may say, strict, read with every mistake named."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from limbeck.data.config_errors import describe
from limbeck.data.yaml_files import read_yaml
from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError
from limbeck.training.recipe import FOLDER

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RESERVED = {"rows", "tune", "logs"}

Settings = dict[str, Any]
"""Overrides by dotted key, as on the command line of ``limbeck train``."""


class Between(Strict):
    """Numbers from ``low`` to ``high``; with ``log`` drawn evenly in their logarithm."""

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Between:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("wants low < high, and low > 0 with log")
        return self

    def at(self, share: float) -> float:
        """The value at a share in [0, 1) of the way, to 4 digits."""
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + share * (high - low)
        return float(f"{math.exp(value) if self.log else value:.4g}")


Search = dict[str, Between | list[Any]]


class Tune(Strict):
    """The same number of trials for every row, on validation. Trial 0 is the recipe as it stands.

    Attributes:
        at: where a row stands in its ``over`` while it is tuned; its first place when not given.
        search: key → list of choices, or ``{low, high, log}``.
    """

    trials: int = Field(ge=2)
    seed: int = Field(default=0, ge=0)
    at: Settings = Field(default_factory=dict)
    search: Search = Field(default_factory=dict)


class Entry(Strict):
    """A recipe (name, file or the mapping itself) and its overrides."""

    recipe: str | dict[str, Any]
    set: Settings = Field(default_factory=dict)


class Prepared(Entry):
    """A run that rows read as ``$NAME``: trained first, ``once`` (with ``seed``) or for ``each`` seed."""

    seeds: Literal["once", "each"] = "once"
    seed: int = Field(default=0, ge=0)


class Row(Entry):
    """A row of the table.

    Attributes:
        label: name in the table; the row's own when not given.
        over, seeds: in place of the grid's.
        tune: keys searched beside the grid's; ``false`` leaves the row as it stands.
        bits: also evaluate the first so many bits of its codes, each a row of the table with the same label.
        exact_words: also evaluate it by that control, a row "…, exact words".
    """

    label: str | None = None
    seeds: list[int] | None = Field(default=None, min_length=1)
    over: dict[str, list[Any]] | None = None
    tune: Search | bool = True
    bits: list[Annotated[int, Field(ge=1)]] = Field(default_factory=list)
    exact_words: bool = False


def _not_none(value: Any) -> Any:
    return {} if value is None else value


class Grid(Strict):
    """A whole grid file.

    Attributes:
        data: keys of a recipe's ``data`` for all runs.
        shared: overrides for all runs.
        protocols: one for each of ``seeds``, in place of ``data.protocol``: draws of one, or its folds.
        over: key → values; every row is run at each of their combinations.
        rows_to: folder for the rows' small JSON files; ``OUT/rows`` when not given.
        also: further protocols that every row is evaluated by.
        ceiling: of codes, also learn codes from labels.
        probe: also fit a linear probe to the image features.
        by_label: also the mAP of each label; a list names those that count as unseen.
        base: label of the row that the others are compared with at the end.
    """

    name: str
    note: str = ""
    data: Settings = Field(default_factory=dict)
    shared: Settings = Field(default_factory=dict)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    protocols: list[str] | None = None
    over: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    prepare: Annotated[dict[str, Prepared], BeforeValidator(_not_none)] = Field(default_factory=dict)
    rows: dict[str, Row] = Field(min_length=1)
    tune: Tune | None = None
    rows_to: str | None = None
    also: list[str] = Field(default_factory=list)
    ceiling: bool = True
    probe: bool = False
    by_label: bool | list[str] = False
    base: str | None = None

    @model_validator(mode="after")
    def _names(self) -> Grid:
        for name in [*self.prepare, *self.rows]:
            if not NAME.fullmatch(name) or name in RESERVED:
                raise ValueError(f"{name!r} names no run: letters, digits, '.', '_', '-'; not {RESERVED}")
        for name in self.prepare.keys() & self.rows.keys():
            raise ValueError(f"{name!r} is both a row and a prepared run; rename one")
        for own in [self.seeds, *(row.seeds for row in self.rows.values())]:
            if own is not None and len(set(own)) < len(own):
                raise ValueError(f"seeds {own}: one stands twice; name each once")
        self._check_protocols()
        places = set(self.over).union(*(row.over or {} for row in self.rows.values()))
        for key in self.tune.at if self.tune else {}:
            if key not in places:
                raise ValueError(f"tune.at: {key!r} is in no over; name one of {', '.join(sorted(places))}")
        labels = {row.label or name for name, row in self.rows.items()}
        if self.base is not None and self.base not in labels:
            raise ValueError(f"base: no row {self.base!r}; there are {', '.join(sorted(labels))}")
        return self

    def _check_protocols(self) -> None:
        """A run of one draw must meet no other: what one trains on, another asks for."""
        if self.protocols is None:
            return
        if len(self.protocols) != len(self.seeds):
            raise ValueError(
                f"protocols: {len(self.protocols)} for {len(self.seeds)} seeds; name one for each seed"
            )
        if "protocol" in self.data:
            raise ValueError("protocols: stand in place of data.protocol; remove one of them")
        once = [name for name, entry in self.prepare.items() if entry.seeds == "once"]
        if once and len(set(self.protocols)) > 1:
            raise ValueError(
                f"prepare.{once[0]}: a run for all seeds trains on what other protocols ask for; "
                "set seeds: each"
            )
        asked = [("tune.seed", [self.tune.seed] if self.tune else [])]
        asked += [(f"rows.{name}.seeds", row.seeds or []) for name, row in self.rows.items()]
        for where, own in asked:
            unknown = [seed for seed in own if seed not in self.seeds]
            if unknown:
                raise ValueError(f"{where}: no protocol for seed {unknown[0]}; seeds are {self.seeds}")

    def drawn(self, seed: int) -> Settings:
        """The protocol of a seed, as an override; none where all runs have the same."""
        at = self.seeds.index(seed) if self.protocols is not None else 0
        return {} if self.protocols is None else {"data.protocol": self.protocols[at]}


def list_grids() -> list[str]:
    """Names of the grid files that ship with limbeck, sorted."""
    found = [f.relative_to(FOLDER).with_suffix("") for f in FOLDER.rglob("grid*.yaml")]
    return sorted(path.as_posix() for path in found)


def find_grid(name: str) -> Path:
    """A file, or a packaged grid by name such as ``hmid_net/grid``.

    Raises:
        LimbeckError: neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name.removesuffix(".yaml") in list_grids():
        return FOLDER / f"{name.removesuffix('.yaml')}.yaml"
    raise LimbeckError(f"{name}: no such grid file, nor a grid by that name; there are {_list(list_grids())}")


def read_grid(file: Path) -> Grid:
    """Read and check a grid file, and make its recipes' paths relative to it where they lie beside it.

    Raises:
        LimbeckError: not YAML, a key twice, an unknown key (with the nearest known), names that collide.
    """
    tree = read_yaml(file)
    if not isinstance(tree, dict):
        raise LimbeckError(f"{file}: a grid is a mapping of keys, found {type(tree).__name__}")
    for part in ("prepare", "rows"):
        entries = tree.get(part)
        for entry in entries.values() if isinstance(entries, dict) else []:
            recipe = entry.get("recipe") if isinstance(entry, dict) else None
            if isinstance(recipe, str) and (file.parent / recipe).is_file():
                entry["recipe"] = str(file.parent / recipe)
    try:
        return Grid.model_validate(tree)
    except ValidationError as error:
        raise describe(error, Grid, str(file)) from None


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
