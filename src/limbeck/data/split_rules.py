"""Splits by rule, where no id lists are available: which rows count, and a seeded draw among them."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError

_T = TypeVar("_T")
NAMES = ("query", "database", "train")


class Draw(BaseModel):
    """The rule of `mirflickr15k/dcmh`, for any table.

    The ids of the rows that count are sorted by their numbers. ``random.Random(seed)`` samples the queries,
    and the rest is the database, of which a second sample is train. With ``fold: [i, k]`` the ids are
    shuffled by the seed and cut into k parts; part i (from 1) is the queries.

    Attributes:
        seed: the seed of both samples.
        query: the number of queries; null with ``fold``.
        train: the number of training rows, null for the whole database.
        fold: the fold [i, k] that is the queries, or null.
        need: what a row must have to count.
        rows: the number of rows that count in the complete data set; another number is refused. null where
            the number is not known for sure.
        database: false where the queries search among themselves; train is then the rest, or drawn from it.
        sha256: the SHA-256 of the drawn ids, one per line, where they are known.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    seed: int
    query: int | None = Field(default=None, ge=1)
    train: int | None = Field(default=None, ge=1)
    fold: Annotated[list[int], Field(min_length=2, max_length=2)] | None = None
    need: list[Literal["labels", "text"]] = ["labels", "text"]
    rows: int | None = Field(default=None, ge=2)
    database: bool = True
    sha256: dict[Literal["query", "database", "train"], Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = {}

    @model_validator(mode="after")
    def _query_or_fold(self) -> Draw:
        if (self.query is None) == (self.fold is None):
            raise ValueError("give either query or fold")
        if self.fold is not None and not 1 <= self.fold[0] <= self.fold[1] >= 2:
            raise ValueError(f"fold: {self.fold} is not [i, k] with 1 <= i <= k, k at least 2")
        return self

    @property
    def in_words(self) -> str:
        """The rule as one line."""
        has = " and ".join({"labels": "a label", "text": "a text"}[n] for n in self.need) or "an id"
        asked = f"{self.query:,}" if self.query else f"part {self._part_of[0]} of {self._part_of[1]}"
        train = "the rest" if self.train is None else f"{self.train:,} of the rest"
        return f"of the rows with {has}, {asked} drawn by seed {self.seed} are the queries, {train} is train"

    @property
    def _part_of(self) -> tuple[int, int]:
        part, of = self.fold or (1, 1)
        return part, of

    def ids(
        self, pairs: Pairs, column: str, protocol: str, pool: np.ndarray | None = None
    ) -> dict[str, list[str]]:
        """Draw the ids of each split.

        ``column`` is that of the texts; ``pool`` are the row numbers int64 (n,) to draw from, by default all.

        Raises:
            LimbeckError: the rows that count are not those that the protocol expects, or are too few.
        """
        counts = np.full(len(pairs), pool is None)
        having: dict[str, int] = {}
        if pool is not None:
            counts[pool] = True
        if "labels" in self.need:
            labelled = pairs.labels().any(axis=1)
            having["labels"] = int((counts & labelled).sum())
            counts &= labelled
        if "text" in self.need:
            told = np.array([any(map(str.strip, own)) for own in pairs.texts(column)], dtype=bool)
            having[column] = int(told.sum() if pool is None else told[pool].sum())
            counts &= told
        found = int(counts.sum())
        has = " and ".join({"labels": "a label", "text": column}[n] for n in self.need)
        what = f"have {has}" if has else "count"
        if self.rows is not None and found != self.rows:
            raise LimbeckError(
                f"protocol {protocol}: {found:,} rows of {pairs.path} {what}, but its data set has "
                f"{self.rows:,}; import the complete data set or choose another protocol",
                code="E-PROTOCOL-DATA",
            )
        asked = self.query or len(_part(range(found), *self._part_of))
        if not 0 < asked < found or (self.train or 0) > found - asked:
            raise LimbeckError(
                f"protocol {protocol}: {self._too_few(str(pairs.path), what, found, asked, having)}",
                code="E-PROTOCOL-DATA",
            )
        ids = sorted((pairs.ids[row] for row in np.flatnonzero(counts).tolist()), key=_by_number)
        rng = random.Random(self.seed)
        query = rng.sample(ids, asked) if self.query else _part(rng.sample(ids, found), *self._part_of)
        held = set(query)
        database = [item for item in ids if item not in held]
        train = database if self.train is None else rng.sample(database, self.train)
        drawn = {"query": list(query), "database": database, "train": train}
        for name, expected in self.sha256.items():
            if ids_sha256(drawn[name]) != expected:
                raise LimbeckError(
                    f"protocol {protocol}: the ids drawn for {name} are not those of its data set; import "
                    f"the complete data set or choose another protocol",
                    code="E-PROTOCOL-DATA",
                )
        return drawn

    def _too_few(self, path: str, what: str, found: int, asked: int, having: dict[str, int]) -> str:
        """Return what is missing and the fix; ``having`` counts the rows with each required thing."""
        each = ", ".join(f"{count:,} have {'a label' if n == 'labels' else n}" for n, count in having.items())
        each = f" ({each})" if len(having) > 1 else ""
        if not asked:
            of = self._part_of[1]
            wanted = f"cut into {of:,} parts, one of which is the queries: at least {of:,} are needed"
        else:
            train = self.train or 1
            wanted = (
                f"give {asked:,} queries and {train:,} to train on: at least {asked + train:,} are needed"
            )
        missing = " and ".join(n for n, count in having.items() if not count) or "more rows"
        fix = f"add {missing} or choose another protocol"
        return f"{found:,} rows of {path} {what}{each}, too few to {wanted}; {fix}"


def _part(values: Sequence[_T], part: int, of: int) -> Sequence[_T]:
    """Return one of ``of`` parts; their sizes differ by at most one."""
    return values[len(values) * (part - 1) // of : len(values) * part // of]


def ids_sha256(ids: list[str]) -> str:
    """Return the SHA-256 of an id list as a file, one id per line, sorted by number."""
    return hashlib.sha256("".join(f"{item}\n" for item in sorted(ids, key=_by_number)).encode()).hexdigest()


def _by_number(item: str) -> tuple[tuple[int, ...], str]:
    return tuple(int(n) for n in re.findall(r"\d+", item)), item
