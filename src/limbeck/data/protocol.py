"""The protocol: which pairs are query, database and train, which text is shown, and how results are scored.

Its hash covers all of it, so that two results are comparable exactly when their hashes agree. docs/design.md
§3.4 describes the layout.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from limbeck.data.caption_chains import RULE, ChainSource
from limbeck.data.classes import Classification
from limbeck.data.hierarchy import Tree
from limbeck.data.pairs import Pairs
from limbeck.data.splits import Splits, Strict
from limbeck.files import sha256_json

if TYPE_CHECKING:
    from limbeck.metrics import MapRules


Direction = Literal["i2t", "t2i"]
"""Picture queries against texts, or text queries against pictures."""


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

    @property
    def map_rules(self) -> MapRules:
        """The rules of the mAP."""
        return {"k": self.k, "ties": self.ties, "normalizer": self.normalizer, "empty": self.empty}


Measure = Literal["trained", "whole", "unseen"]
"""Which mAP selects the model. The database holds trained rows alone, or also unseen rows in the protocol's
own proportion (``whole``); ``unseen`` counts only the unseen rows of the latter."""


class Validation(Strict):
    """Rows kept from training to choose the best epoch, and the measure that chooses.

    ``size`` draws rows of train by ``seed`` (at most a fifth of train). Otherwise the rows have a value of
    the split column, or are those of an id list; train loses them where they are part of it.

    With ``measure: whole`` or ``unseen`` the held-out rows are cut into ``draws`` parts. Each part is used
    once as the queries; the others are then unseen rows of the database, beside trained rows (hashing only).
    """

    size: int | None = Field(default=None, ge=1)
    seed: int = 0
    column_value: str | None = None
    file: str | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    measure: Measure = "trained"
    draws: int = Field(default=4, ge=2)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.size, self.column_value, self.file)) != 1:
            raise ValueError("give either size (with seed), column_value, or file (with sha256)")
        if (self.file is None) != (self.sha256 is None):
            raise ValueError("give file and sha256 together, or neither")
        return self


@dataclass(frozen=True)
class Context:
    """What belongs to a protocol and is not among its keys.

    Attributes:
        lists: the id lists by split; ``validation`` is that of the validation rows, and ``pool`` holds the
            ids that a rule draws from.
        tree: the class tree, where ``classification.hierarchy`` is a file.
        family: see `Protocol.family`.
        general: see `Protocol.general_hash`.
        joined: train is the whole database, because the data set has no part for it.
    """

    lists: Mapping[str, Sequence[str]] = field(default_factory=dict)
    tree: Tree | None = None
    family: str | None = None
    general: str | None = None
    joined: bool = False


class Protocol(Strict):
    """A strict, hashed description of an experiment on a pairs table."""

    name: str
    task: Literal["hashing", "retrieval"]
    text: Text
    splits: Splits
    directions: list[Direction] = Field(default=["i2t", "t2i"], min_length=1)
    relevance: Literal["shared_label", "paired"]
    metric: Metric
    validation: Validation
    classification: Classification | None = None
    # The labels that the data set must have, in any order: relevance depends on them.
    label_names: list[str] | None = None
    # What makes a text more detailed: its length, or an earlier position in its row.
    detail: Literal["words", "order"] = "words"
    # How the chains of texts are made that should entail a picture; by default in the order of the captions
    # where that is the detail, else by rule.
    chains: ChainSource | None = None
    note: str = ""  # for readers; the only key that the hash leaves out

    _context: Context = PrivateAttr(default_factory=Context)

    @model_validator(mode="after")
    def _fits_task(self) -> Self:
        if self.task == "retrieval" and not self.metric.ks:
            raise ValueError("a retrieval protocol needs metric.ks, e.g. [1, 5, 10]")
        if self.task == "hashing" and (not self.splits.has_database or self.relevance != "shared_label"):
            raise ValueError("a hashing protocol needs splits.database and relevance shared_label")
        if self.task != "hashing" and self.validation.measure != "trained":
            raise ValueError("validation.measure: only a hashing protocol has one; remove it")
        return self

    @property
    def hash(self) -> str:
        """The SHA-256 of the resolved protocol: every key except ``note``, and the contents of files, not
        their names.

        Newer keys (classification, detail, chains, measure) are omitted where unused, so that older hashes
        stay valid.
        """
        resolved = self.model_dump(exclude={"note": True, "validation": {"file", "sha256"}})
        if self.validation.measure == "trained":
            del resolved["validation"]["measure"], resolved["validation"]["draws"]
        if self.classification is None:
            del resolved["classification"]
        elif self._context.tree is not None:
            resolved["classification"]["hierarchy"] = {"edges": self._context.tree.edges_hash}
        if self.detail == "words":
            del resolved["detail"]
        if self.chains is None:
            del resolved["chains"]
        elif self.chains == "rule":
            resolved["chains"] = {"rule": RULE}
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
        for name, ids in self._context.lists.items():
            part = resolved if name == "validation" else resolved["splits"]
            part[name] = {"ids": hashlib.sha256("\n".join(ids).encode()).hexdigest()}
        return sha256_json(resolved)

    @property
    def chain_source(self) -> ChainSource:
        """How the chains of texts are made (`limbeck.data.caption_chains`)."""
        return self.chains or ("order" if self.detail == "order" else "rule")

    @property
    def context(self) -> Context:
        """The id lists and the other facts that are not keys."""
        return self._context

    def within(self, context: Context) -> Protocol:
        """Return the protocol with another context."""
        changed = self.model_copy()
        changed._context = context
        return changed

    @property
    def general_hash(self) -> str:
        """The `hash` before `on`: equal for every data set."""
        return self._context.general or self.hash

    @property
    def family(self) -> str:
        """The hash that a fixed protocol shares with its draws ``NAME@n``, or that the folds of one number
        share."""
        return self._context.family or self.hash

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
        return self._with(*self.splits.on(pairs.split_names))

    def scored_by(self, metric: Metric, name: str) -> Protocol:
        """Return the protocol ``PROTOCOL@NAME`` with another metric; it has its own hash and family."""
        changed = self.model_copy(update={"name": f"{self.name}@{name}", "metric": metric})
        return changed.within(dataclasses.replace(self._context, family=sha256_json([self.family, name])))

    def _with(self, splits: Splits, joined: bool = False) -> Protocol:
        changed = self.model_copy(update={"splits": splits})
        return changed.within(dataclasses.replace(self._context, general=self.general_hash, joined=joined))
