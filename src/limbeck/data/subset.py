"""Some rows of a pairs table, with the texts and labels that training may show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from limbeck.data.caption_chains import coarsest
from limbeck.data.inputs import Input, Item, label_prompts, permuted_names
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.preprocess import Reads


@dataclass(frozen=True, eq=False)
class Subset:
    """Some rows of a pairs table, as methods read them.

    Attributes:
        pairs: the table.
        rows: (n,) row numbers.
        texts: per row the texts that training may draw; validation reads the first.
        shown: per row those of ``texts`` that the protocol shows; None: all of them.
        labelled: whether batches hold labels.
        label_rows: (n,) rows whose labels are shown; None: ``rows``.
        hidden: label names that are neither shown nor in ``labels``.
    """

    pairs: Pairs
    rows: np.ndarray
    texts: list[list[str]]
    shown: list[list[str]] | None = None
    labelled: bool = False
    label_rows: np.ndarray | None = None
    hidden: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def ids(self) -> list[str]:
        """The ids of the rows."""
        return [self.pairs.ids[row] for row in self.rows.tolist()]

    @cached_property
    def labels(self) -> torch.Tensor | None:
        """The labels (n, C) of 0 and 1; None if batches hold none."""
        if not self.labelled:
            return None
        labels = self.pairs.labels(self._owners)
        labels[:, [name in self.hidden for name in self.pairs.label_names]] = False
        return torch.from_numpy(labels.astype(np.float32))

    @property
    def label_names(self) -> list[list[str]]:
        """The names of the labels per row, without the hidden ones."""
        names = [self.pairs.labels_text[row] for row in self._owners.tolist()]
        return [[name for name in own if name not in self.hidden] for own in names]

    @property
    def _owners(self) -> np.ndarray:
        return self.rows if self.label_rows is None else self.label_rows

    @property
    def has_text(self) -> np.ndarray:
        """Whether each row has a text, bool (n,)."""
        return np.array([has_text(texts) for texts in self.texts], dtype=bool)

    def take(self, chosen: np.ndarray) -> Subset:
        """Return some of the rows: positions, or bool (n,)."""
        positions = np.arange(len(self))[chosen]
        if len(positions) == len(self) and (positions == np.arange(len(self))).all():
            return self
        return replace(
            self,
            rows=self.rows[positions],
            texts=[self.texts[p] for p in positions.tolist()],
            shown=None if self.shown is None else [self.shown[p] for p in positions.tolist()],
            label_rows=None if self.label_rows is None else self.label_rows[positions],
        )

    def without(self, hidden: frozenset[str], *, pictures: bool) -> Subset:
        """Return the rows as they appear when some labels are unknown.

        Args:
            hidden: the names of the unknown labels; they are neither shown nor in ``labels``.
            pictures: True drops every row with one of them; False drops rows that have no other label.
        """
        rest = [[name for name in own if name not in hidden] for own in self.label_names]
        keep = [
            len(left) == len(own) or (bool(left) and not pictures)
            for own, left in zip(self.label_names, rest, strict=True)
        ]
        return replace(self.take(np.array(keep, dtype=bool)), hidden=self.hidden | hidden)

    def permuted(self, seed: int) -> Subset:
        """Return the rows with their labels permuted among them, a control."""
        return replace(self, label_rows=np.random.default_rng(seed).permutation(self.rows))

    def drawing(self, which: str) -> Subset:
        """Return the rows with the texts that a stage draws (``StageConfig.texts``)."""
        if self.shown is None or which == "all":
            return self
        if which == "shown":
            return replace(self, texts=self.shown)
        mixed = []
        for own, every in zip(self.shown, self.texts, strict=True):
            rest = [text for text in every if text not in own]
            mixed.append(own * len(rest) + rest * len(own) or own)
        return replace(self, texts=mixed)

    def candidates(self, spec: Input) -> list[list[Any]]:
        """Return per row the items that an input may show: texts, a label prompt (or a set), a label list."""
        if spec.column == "text":
            return [list(texts) for texts in self.texts]
        if spec.column == "phrase":  # one per text, so that a draw chooses the phrase of the text it chooses
            return [[coarsest(text) for text in texts] for texts in self.texts]
        names = self.label_names
        if spec.column == "labels":
            word_of = permuted_names(self.pairs.label_names, spec.prompt.permute if spec.prompt else None)
            return [[[word_of[name] for name in own]] for own in names]
        assert spec.prompt is not None
        return [[item] for item in label_prompts(names, self.pairs.label_names, spec.prompt)]

    def require_phrases(self) -> None:
        """Raise a `LimbeckError` if no text has a phrase by rule that is more general than the text."""
        if not any(coarsest(text) != text for texts in self.texts for text in texts):
            raise LimbeckError(
                f"{self.pairs.path}: no text has a shorter phrase by rule (docs/evaluation.md); import "
                "longer captions, or train a method without phrases, such as meru",
                code="E-DATA-TEXT",
            )

    def fit_items(self, spec: Input, reads: str) -> Any:
        """Return the items to which a backbone is fitted: feature rows (n, D), or texts; none for pixels."""
        kind, name = Reads.of(reads)
        if kind == "features":
            return self.pairs.features(name, self.rows)
        if kind == "pixels":
            return []
        return [text for items in self.candidates(spec) for item in items for text in members(item)]


def has_text(texts: Sequence[str]) -> bool:
    """Return whether one of the texts is more than blanks."""
    return any(text.strip() for text in texts)


def members(item: Item | list[str]) -> tuple[Any, ...]:
    """Return the texts of an item, which is one text or a set."""
    return item if isinstance(item, tuple) else (item,)
