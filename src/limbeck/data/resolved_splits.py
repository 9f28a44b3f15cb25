"""Resolve a protocol on one data set: the rows of every split, with their texts and labels, found once."""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from limbeck.data.classes import Classes, read_classes
from limbeck.data.pairs import Pairs
from limbeck.data.prompts import clean_class_name
from limbeck.data.protocol import Protocol, Text
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.pictures import normalize_text

SplitName = Literal["query", "database", "train"]


@dataclass(frozen=True, eq=False)
class ResolvedSplit:
    """The rows of one split of a data set.

    Attributes:
        pairs: the data set.
        text: which texts are shown.
        rows: row numbers, int64 (n,).
    """

    pairs: Pairs
    text: Text
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the rows."""
        return [self.pairs.ids[row] for row in self.rows.tolist()]

    @cached_property
    def texts(self) -> list[list[str]]:
        """The texts that are shown of each row: several, or one joined text; blanks are normalised."""
        column = self.pairs.texts(self.text.column, self.rows)
        if self.text.column == "labels":
            column = [[clean_class_name(name) for name in names] for names in column]
        shown = [[t for t in (normalize_text(text) for text in texts) if t] for texts in column]
        if self.text.which == "first":
            shown = [texts[:1] for texts in shown]
        return shown if self.text.join is None else [[self.text.join.join(texts)] for texts in shown]

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels, bool (n, C)."""
        return self.pairs.labels(self.rows)

    def take(self, chosen: ArrayLike) -> ResolvedSplit:
        """Return the split with some of its rows: positions, or bool (n,)."""
        return dataclasses.replace(self, rows=self.rows[np.asarray(chosen)])


@dataclass(frozen=True, eq=False)
class ResolvedSplits:
    """The splits that a protocol makes of one data set.

    Attributes:
        protocol: the protocol as it applies to the data set; its hash covers which alternative was used.
        pairs: the data set.
        query: the queries.
        database: the items that are searched; without a database, these are the queries.
        train: all training rows, including validation rows that are drawn from them.
        note: how the rows were chosen, where the data set does not say; else None.
    """

    protocol: Protocol
    pairs: Pairs
    query: ResolvedSplit
    database: ResolvedSplit
    train: ResolvedSplit
    note: str | None = None

    @property
    def parts(self) -> dict[SplitName, ResolvedSplit]:
        """The splits by name."""
        return {"query": self.query, "database": self.database, "train": self.train}

    @cached_property
    def held_out(self) -> tuple[ResolvedSplit, ResolvedSplit]:
        """The training rows without validation, and the validation rows, drawn by ids and seed only.

        Raises:
            LimbeckError: validation rows are missing, or some of them are queries.
        """
        rule, train = self.protocol.validation, self.train
        if rule.size is None:
            if rule.column_value is not None:
                rows = self.pairs.split_rows(rule.column_value)
            else:
                rows = _listed(self.protocol, self.pairs, "validation")
            if np.isin(rows, self.query.rows).any():
                raise LimbeckError(
                    f"protocol {self.protocol.name}: validation has query rows; make them disjoint",
                    code="E-PROTOCOL-SPLIT",
                )
            return train.take(~np.isin(train.rows, rows)), dataclasses.replace(train, rows=rows)
        size = min(rule.size, len(train) // 5)
        drawn = self.pairs.rows(random.Random(rule.seed).sample(sorted(train.ids), size))
        inside = np.isin(train.rows, drawn)
        return train.take(~inside), train.take(inside)

    @property
    def trained_per_unseen(self) -> float:
        """The number of training rows in the database per row of it that is not trained on.

        Raises:
            LimbeckError: the database has training rows alone.
        """
        trained = int(np.isin(self.database.rows, self.train.rows).sum())
        if trained == len(self.database):
            raise LimbeckError(
                f"protocol {self.protocol.name}: validation.measure {self.protocol.validation.measure}: the "
                "database has no row that is not trained on; set validation.measure: trained",
                code="E-PROTOCOL-SPLIT",
            )
        return trained / (len(self.database) - trained)

    @cached_property
    def classes(self) -> Classes | None:
        """Classes, prompts and tree of the queries (see `read_classes`); None without classification."""
        section, tree = self.protocol.classification, self.protocol.context.tree
        if section is None:
            return None
        return read_classes(self.pairs, self.query.rows, section, tree, self.protocol.name)

    @property
    def items_hash(self) -> str:
        """The SHA-256 over the ids of query and database (and over the classes, if any)."""
        ids = [self.query.ids, self.database.ids]
        return sha256_json(ids if self.classes is None else [*ids, self.classes.names])

    @property
    def relevance_hash(self) -> str | None:
        """The SHA-256 over the labels of query and database; None for paired relevance."""
        if self.protocol.relevance != "shared_label":
            return None
        order = np.argsort(self.pairs.label_names)  # the order of the columns does not matter
        labels = [
            np.packbits(part.labels[:, order], axis=1).tobytes().hex() for part in (self.query, self.database)
        ]
        return sha256_json([sorted(self.pairs.label_names), *labels])


def resolve_splits(protocol: Protocol, pairs: Pairs) -> ResolvedSplits:
    """Find the rows of every split of a protocol in a data set.

    Raises:
        LimbeckError: labels are missing or unknown, ids are missing, a split is empty, query rows are in
            database or train, or texts repeat that must be unique.
    """
    protocol = protocol.on(pairs)
    _check_labels(protocol, pairs)
    draw, drawn = protocol.splits.draw, None
    if draw is not None:
        pool = _listed(protocol, pairs, "pool") if "pool" in protocol.context.lists else None
        drawn = draw.ids(pairs, protocol.text.column, protocol.name, pool)
    names: tuple[SplitName, ...] = ("query", "database", "train")
    parts: dict[SplitName, ResolvedSplit] = {}
    for name in names:
        if name == "database" and not protocol.splits.has_database:
            parts[name] = parts["query"]
            continue
        rows = _rows(protocol, pairs, name) if drawn is None else pairs.rows(drawn[name])
        if not len(rows):
            raise LimbeckError(
                f"protocol {protocol.name}: split {name!r} is empty in {pairs.path}; use another split",
                code="E-PROTOCOL-SPLIT",
            )
        parts[name] = ResolvedSplit(pairs, protocol.text, rows)
        shared = np.intersect1d(parts["query"].rows, rows) if name != "query" else ()
        if len(shared):
            first = ", ".join(pairs.ids[row] for row in shared[:3])
            raise LimbeckError(
                f"protocol {protocol.name}: {len(shared)} ids are in both query and {name} "
                f"(first: {first}); make the splits disjoint",
                code="E-PROTOCOL-SPLIT",
            )
    if protocol.text.unique:
        _check_unique(protocol, parts["query"])
    return ResolvedSplits(protocol, pairs, **parts, note=_note(protocol, pairs))


def _note(protocol: Protocol, pairs: Pairs) -> str | None:
    """Return how the rows were chosen where the data set does not say."""
    if protocol.context.joined:
        return f"{pairs.path}: its split column has no part for train; train is the whole database"
    if protocol.splits.draw is None or protocol.context.general is None:
        return None
    return f"{pairs.path}: has no split column; {protocol.splits.draw.in_words}"


def _rows(protocol: Protocol, pairs: Pairs, name: SplitName) -> np.ndarray:
    """Return the rows of a split that is an id list or values of the split column."""
    if name in protocol.context.lists:
        return _listed(protocol, pairs, name)
    values: list[str] = getattr(protocol.splits, name).values
    # Some of several values may be absent (no val part); if all are, the error names the last one.
    there = [value for value in values if value in pairs.split_names] or values[-1:]
    return np.concatenate([pairs.split_rows(value) for value in there])


def _listed(protocol: Protocol, pairs: Pairs, name: str) -> np.ndarray:
    ids = protocol.context.lists[name]
    rows = pairs.find(ids)
    if (rows < 0).any():
        missing = [ids[at] for at in np.flatnonzero(rows < 0).tolist()]
        first = ", ".join(missing[:3])
        raise LimbeckError(
            f"protocol {protocol.name}: {len(missing)} of {len(ids)} {name} ids are not in {pairs.path} "
            f"(first: {first}); import the complete data set or choose another protocol",
            code="E-PROTOCOL-DATA",
        )
    return rows


def _check_labels(protocol: Protocol, pairs: Pairs) -> None:
    wanted = set(protocol.label_names or pairs.label_names)
    missing, foreign = sorted(wanted - set(pairs.label_names)), sorted(set(pairs.label_names) - wanted)
    if missing or foreign:
        which = f"lacks {', '.join(missing[:3])}" if missing else f"has also {', '.join(foreign[:3])}"
        raise LimbeckError(
            f"protocol {protocol.name}: its relevance uses {len(wanted)} labels, but {pairs.path} {which}; "
            "import it with the protocol's labels",
            code="E-PROTOCOL-DATA",
        )


def _check_unique(protocol: Protocol, query: ResolvedSplit) -> None:
    seen: dict[str, str] = {}
    for own, texts in zip(query.ids, query.texts, strict=True):
        for text in texts:
            if seen.setdefault(text, own) != own:
                raise LimbeckError(
                    f"protocol {protocol.name}: {seen[text]} and {own} of the query split share the text "
                    f"{text!r}; make it unique",
                    code="E-PROTOCOL-DATA",
                )
