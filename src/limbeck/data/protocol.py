"""The protocol: which pairs are query, database and train, which text is shown, and how results are scored.

Its hash covers all of it, so that two results are comparable exactly when their hashes agree. docs/design.md
§3.4 describes the layout.
"""

from __future__ import annotations

import hashlib
import random
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from limbeck.data.classes import FROM_PATHS, Classes, Classification, read_classes
from limbeck.data.hierarchy import Tree
from limbeck.data.pairs import Pairs
from limbeck.data.prompts import clean_class_name
from limbeck.data.splits import Splits, Strict
from limbeck.errors import LimbeckError
from limbeck.files import sha256_json
from limbeck.pictures import normalize_text

SplitName = Literal["query", "database", "train"]


class Text(Strict):
    """The text that a protocol shows: one list column, all of it or its first entry, joined or separate.

    ``labels`` gives the class names in plain words (`clean_class_name`), for data sets without texts.
    """

    column: Literal["captions", "tags", "labels"]
    which: Literal["all", "first"] = "all"
    join: str | None = None
    unique: bool = False  # the texts of the query split must be distinct


class Metric(Strict):
    """The scoring. ``hashing``: mAP@k (null: all) with its tie rule; ``retrieval``: recall at ks, median
    rank."""

    k: int | None = None
    ties: Literal["expected", "optimistic", "pessimistic", "id"] = "expected"
    normalizer: Literal["relevant", "min", "hits", "first_k"] = "relevant"
    empty: Literal["skip", "zero", "error"] = "skip"
    ks: list[int] | None = None
    median_rank: bool = False


class Validation(Strict):
    """Rows kept from training to choose the best epoch.

    ``size`` draws rows of train by ``seed`` (at most a fifth of train). Otherwise the rows have a value of
    the split column, or are those of an id list; train loses them where they are part of it.
    """

    size: int | None = Field(default=None, ge=1)
    seed: int = 0
    column_value: str | None = None
    file: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.size, self.column_value, self.file)) != 1:
            raise ValueError("give either size (with seed), column_value, or file (with sha256)")
        if (self.file is None) != (self.sha256 is None):
            raise ValueError("file and sha256 belong together")
        return self


class Protocol(Strict):
    """A strict, hashed description of an experiment on a pairs table."""

    name: str
    task: Literal["hashing", "retrieval"]
    text: Text
    splits: Splits
    directions: list[Literal["i2t", "t2i"]] = Field(default=["i2t", "t2i"], min_length=1)
    relevance: Literal["shared_label", "paired"]
    metric: Metric
    validation: Validation
    classification: Classification | None = None
    # The labels that the data set must have, in any order: relevance depends on them.
    label_names: list[str] | None = None
    # What makes a text more detailed: its length, or an earlier position in its row.
    detail: Literal["words", "order"] = "words"
    note: str = ""  # for readers; the only key that the hash leaves out

    _lists: dict[str, list[str]] = PrivateAttr(default_factory=dict)
    _tree: Tree | None = PrivateAttr(default=None)
    _drawn: dict[str, dict[str, list[str]]] = PrivateAttr(default_factory=dict)
    _family: str | None = PrivateAttr(default=None)
    _general: str | None = PrivateAttr(default=None)
    _joined: bool = PrivateAttr(default=False)

    @model_validator(mode="after")
    def _fits_task(self) -> Self:
        if self.task == "retrieval" and not self.metric.ks:
            raise ValueError("a retrieval protocol needs metric.ks, e.g. [1, 5, 10]")
        if self.task == "hashing" and (not self.splits.has_database or self.relevance != "shared_label"):
            raise ValueError("a hashing protocol needs splits.database and relevance shared_label")
        return self

    @cached_property
    def hash(self) -> str:
        """The SHA-256 of the resolved protocol: every key except ``note``, and the contents of files, not
        their names.

        Newer keys (classification, detail) are omitted where unused, so that older hashes stay valid.
        """
        resolved = self.model_dump(exclude={"note": True, "validation": {"file", "sha256"}})
        if self.classification is None:
            del resolved["classification"]
        elif self._tree is not None:
            resolved["classification"]["hierarchy"] = {"edges": self._tree.edges_hash}
        if self.detail == "words":
            del resolved["detail"]
        splits = resolved["splits"]
        del splits["otherwise"]  # unused after `on`
        for own in (splits["query"], splits["train"], splits["database"]):
            if own is not None:
                del own["or_value"]
        if self.splits.draw is None:
            del splits["draw"]
        else:
            if self.splits.draw.fold is None:
                del splits["draw"]["fold"]
            if self.splits.draw.database:
                del splits["draw"]["database"]
        if self.label_names is None:
            del resolved["label_names"]
        for name, ids in self._lists.items():
            part = resolved if name == "validation" else resolved["splits"]
            part[name] = {"ids": hashlib.sha256("\n".join(ids).encode()).hexdigest()}
        return sha256_json(resolved)

    @property
    def general_hash(self) -> str:
        """The `hash` before `on`: equal for every data set."""
        return self._general or self.hash

    def by_rule(self) -> Protocol:
        """Return the protocol with the splits of its rule ``otherwise``."""
        assert self.splits.otherwise is not None
        return self._with(Splits(draw=self.splits.otherwise))

    def on(self, pairs: Pairs) -> Protocol:
        """Return the protocol for one data set, with one source for each split, which the hash then covers.

        If the data set has the split values named first, the hash is that of the protocol without
        alternatives.
        """
        if not self.splits.depends:
            return self
        if self.splits.otherwise is not None and not pairs.split_names:
            return self.by_rule()
        given = {name: getattr(self.splits, name) for name in ("query", "train", "database")}
        there = pairs.split_names
        own = {name: None if split is None else split.on(there) for name, split in given.items()}
        if self.splits.model_copy(update=own).train_joins(there):
            found = self._with(Splits.model_validate(own | {"train": own["database"]}))
            found._joined = True
            return found
        return self._with(Splits.model_validate({name: split for name, split in own.items() if split}))

    def _with(self, splits: Splits) -> Protocol:
        changed = self.model_copy(update={"splits": splits})
        changed.__dict__.pop("hash", None)  # the copy would keep the cached hash
        changed._general, changed._drawn = self.general_hash, {}
        return changed

    def said(self, pairs: Pairs) -> str | None:
        """How the rows were chosen where the data set does not say; None where it does."""
        if self.splits.depends:
            return self.on(pairs).said(pairs)
        if self._joined:
            return f"{pairs.path}: its split column has no part for train; train is the whole database"
        if self.splits.draw is None or self._general is None:
            return None
        return f"{pairs.path}: no split column; {self.splits.draw.in_words}"

    @property
    def family(self) -> str:
        """The hash that a fixed protocol shares with its draws ``NAME@n``, or that the folds of one number
        share."""
        return self._family or self.hash

    def split(self, pairs: Pairs, name: SplitName) -> np.ndarray:
        """Return the row numbers int64 (n,) of a split; without a database, ``database`` is the query split.

        Raises:
            LimbeckError: missing ids, an empty split, query rows in database or train, texts that must be
                unique.
        """
        rows = self._rows(pairs, name)
        others: list[SplitName] = ["database", "train"] if name == "query" else ["query"]
        for other in others:
            if (not self.splits.has_database and "database" in (name, other)) or other == name:
                continue
            shared = np.intersect1d(rows, self._rows(pairs, other))
            if len(shared):
                first = ", ".join(pairs.ids[row] for row in shared[:3].tolist())
                raise LimbeckError(
                    f"protocol {self.name}: {len(shared)} ids are in both {name} and {other} "
                    f"(first: {first}); make the splits disjoint"
                )
        if name == "query" and self.text.unique:
            self._check_unique(pairs, rows)
        return rows

    def items_hash(self, pairs: Pairs) -> str:
        """Return the SHA-256 over the ids of query and database (and over the classes, if any)."""
        rows = [self.split(pairs, name) for name in ("query", "database")]
        ids = [[pairs.ids[row] for row in part.tolist()] for part in rows]
        classes = self.classes(pairs, rows[0])
        return sha256_json(ids if classes is None else [*ids, classes.names])

    def relevance_hash(self, pairs: Pairs) -> str | None:
        """Return the SHA-256 over the labels of query and database; None for paired relevance."""
        if self.relevance != "shared_label":
            return None
        rows = [self.split(pairs, name) for name in ("query", "database")]
        order = np.argsort(pairs.label_names)  # the order of the columns does not matter
        labels = [np.packbits(pairs.labels(part)[:, order], axis=1).tobytes().hex() for part in rows]
        return sha256_json([sorted(pairs.label_names), *labels])

    def classes(self, pairs: Pairs, rows: np.ndarray) -> Classes | None:
        """Return classes, prompts and tree of some rows (see `read_classes`); None without classification."""
        section = self.classification
        if section is None:
            return None
        if self._tree is None and section.hierarchy not in (None, FROM_PATHS):
            raise LimbeckError(
                f"protocol {self.name}: classification.hierarchy is a file; use load_protocol to read it"
            )
        return read_classes(pairs, rows, section, self._tree, self.name)

    def texts(self, pairs: Pairs, rows: np.ndarray) -> list[list[str]]:
        """Return per row the texts that the protocol shows: captions or one joined text, with normalised
        blanks."""
        column = pairs.texts(self.text.column, rows)
        if self.text.column == "labels":
            column = [[clean_class_name(name) for name in names] for names in column]
        shown = [[t for t in (normalize_text(text) for text in texts) if t] for texts in column]
        if self.text.which == "first":
            shown = [texts[:1] for texts in shown]
        if self.text.join is not None:
            shown = [[self.text.join.join(texts)] for texts in shown]
        return shown

    def validation_rows(self, pairs: Pairs, train_rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split off validation: (remaining train rows, validation rows); drawn by ids and seed only."""
        if self.validation.size is None:
            value = self.validation.column_value
            chosen = self._listed(pairs, "validation") if value is None else pairs.split_rows(value)
            if np.isin(chosen, self._rows(pairs, "query")).any():
                raise LimbeckError(f"protocol {self.name}: validation has query rows; make them disjoint")
            return train_rows[~np.isin(train_rows, chosen)], chosen
        size = min(self.validation.size, len(train_rows) // 5)
        ids = sorted(pairs.ids[row] for row in train_rows.tolist())
        drawn = pairs.rows(random.Random(self.validation.seed).sample(ids, size))
        inside = np.isin(train_rows, drawn)
        return train_rows[~inside], train_rows[inside]

    def _rows(self, pairs: Pairs, name: SplitName) -> np.ndarray:
        if self.splits.depends:
            return self.on(pairs)._rows(pairs, name)
        self._check_labels(pairs)
        split = getattr(self.splits, name)
        if name == "database" and not self.splits.has_database:
            return self._rows(pairs, "query")
        if self.splits.draw is not None:
            if pairs.fingerprint not in self._drawn:
                pool = self._listed(pairs, "pool") if "pool" in self._lists else None
                drawn = self.splits.draw.ids(pairs, self.text.column, self.name, pool)
                self._drawn[pairs.fingerprint] = drawn
            rows = pairs.rows(self._drawn[pairs.fingerprint][name])
        elif name in self._lists:
            rows = self._listed(pairs, name)
        else:
            # Some of several values may be absent (no val part); if all are, the error names the last one.
            there = [value for value in split.values if value in pairs.split_names] or split.values[-1:]
            rows = np.concatenate([pairs.split_rows(value) for value in there])
        if not len(rows):
            raise LimbeckError(
                f"protocol {self.name}: split {name!r} is empty in {pairs.path}; use another split"
            )
        return rows

    def _check_labels(self, pairs: Pairs) -> None:
        wanted = set(self.label_names or pairs.label_names)
        missing, foreign = sorted(wanted - set(pairs.label_names)), sorted(set(pairs.label_names) - wanted)
        if missing or foreign:
            which = f"lacks {', '.join(missing[:3])}" if missing else f"has also {', '.join(foreign[:3])}"
            raise LimbeckError(
                f"protocol {self.name}: its relevance uses {len(wanted)} labels, but {pairs.path} {which}; "
                "import it with the protocol's labels"
            )

    def _listed(self, pairs: Pairs, name: str) -> np.ndarray:
        ids = self._lists[name]
        rows = pairs.find(ids)
        if (rows < 0).any():
            missing = [ids[at] for at in np.flatnonzero(rows < 0).tolist()]
            first = ", ".join(missing[:3])
            raise LimbeckError(
                f"protocol {self.name}: {len(missing)} of {len(ids)} {name} ids are not in {pairs.path} "
                f"(first: {first}); import the complete data set or choose another protocol"
            )
        return rows

    def _check_unique(self, pairs: Pairs, rows: np.ndarray) -> None:
        seen: dict[str, int] = {}
        for row, texts in zip(rows.tolist(), self.texts(pairs, rows), strict=True):
            for text in texts:
                if seen.setdefault(text, row) != row:
                    both = f"{pairs.ids[seen[text]]} and {pairs.ids[row]}"
                    raise LimbeckError(
                        f"protocol {self.name}: {both} of the query split share the text "
                        f"{text!r}; make it unique"
                    )
