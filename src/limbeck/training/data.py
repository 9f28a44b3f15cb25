"""Select the rows that a run trains on, and the part that each stage sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import open_splits
from limbeck.data.resolved_splits import ResolvedSplit, ResolvedSplits
from limbeck.data.subset import Subset, has_text
from limbeck.errors import LimbeckError
from limbeck.evaluation.metric_presets import as_in
from limbeck.training.recipe import Recipe, StageConfig, method_config

_SALT = 20015  # keeps the draw of rows independent of the draw of batches


@dataclass(frozen=True)
class Data:
    """The data of a run: training rows, held-out rows, and the protocol that they come from.

    Attributes:
        splits: the protocol, resolved on the pairs directory.
        train: the training rows.
        held_out: the validation queries; with ``data.like`` these are the test queries.
        skipped: the number of rows without a text, if some stage reads texts; else 0.
        database: with ``data.like`` the database split, which validation searches; else None, and
            validation searches ``train``.
    """

    splits: ResolvedSplits
    train: Subset
    held_out: Subset
    skipped: int
    database: Subset | None = None

    @property
    def pairs(self) -> Pairs:
        """The pairs directory."""
        return self.splits.pairs

    @property
    def protocol(self) -> Protocol:
        """The protocol, resolved on `pairs`."""
        return self.splits.protocol

    def of_stage(self, stage: StageConfig, seed: int) -> Data:
        """Return the part of the data that a stage sees.

        If the stage reads texts, rows without one are left out. Then its ``pairs`` are drawn by ``seed``, and
        its ``hide`` is applied.

        Raises:
            LimbeckError: ``pairs`` exceeds the training rows, a hidden label is unknown, or no row is left.
        """
        where, train, held_out = f"stages.{stage.name}", self.train, self.held_out
        if self.database is not None and (stage.pairs is not None or stage.hide is not None):
            raise LimbeckError(
                f"{where}: pairs and hide change what validation sees; remove them or data.like",
                code="E-CONFIG-VALUE",
            )
        if reads_text(stage):
            train, held_out = train.take(train.has_text), held_out.take(held_out.has_text)
        if stage.pairs is not None:
            if stage.pairs > len(train):
                raise LimbeckError(
                    f"{where}.pairs: {stage.pairs:,} are requested, but train has {len(train):,} without "
                    "validation; request fewer",
                    code="E-CONFIG-VALUE",
                )
            # The stage may read only these pairs, so validation is taken from them.
            drawn = _drawn(train.ids, seed)[: stage.pairs]
            held = min(stage.pairs // 5, self.protocol.validation.size or stage.pairs)
            train, held_out = train.take(np.sort(drawn[held:])), train.take(np.sort(drawn[:held]))
        if stage.hide is not None:
            unknown = sorted(set(stage.hide.labels) - set(self.pairs.label_names))
            if unknown:
                raise LimbeckError(
                    f"{where}.hide.labels: there is no label {unknown[0]!r} in {self.pairs.path}; there are "
                    f"{', '.join(self.pairs.label_names)}",
                    code="E-LABEL-UNKNOWN",
                )
            hidden, whole = frozenset(stage.hide.labels), stage.hide.how == "pictures"
            train, held_out = (part.without(hidden, pictures=whole) for part in (train, held_out))
        if not len(train):
            raise LimbeckError(
                f"{where}: no pairs are left to train on; check pairs, hide and the text column",
                code="E-TRAIN-EMPTY",
            )
        return dataclasses.replace(self, train=train, held_out=held_out)


def open_data(recipe: Recipe) -> Data:
    """Open the rows of a recipe, and check that they have the texts and labels that its stages read.

    If all stages read texts, rows without one are left out here; else the stages that do leave them out.

    Raises:
        LimbeckError: the protocol does not fit the pairs, there are fewer rows than ``data.limit``, texts or
            labels are missing, or all training rows share a label.
    """
    config = recipe.data
    assert config.pairs is not None
    pairs = Pairs.open(config.pairs)
    splits = open_splits(config.protocol, pairs, "data.protocol")
    if config.limit is not None:
        drawn = _limited(splits.train.ids, config.limit, recipe.seed)
        splits = dataclasses.replace(splits, train=splits.train.take(drawn))
    if config.like is None:
        own, others = splits.held_out
    else:
        liked, _ = as_in(splits.protocol, config.like, selected=True, where="data.like")
        splits = dataclasses.replace(splits, protocol=liked)
        own, others = splits.train, splits.query
    supervised = any(method_config(stage)[0].supervised for stage in recipe.stages.values())
    reads = [reads_text(stage) for stage in recipe.stages.values()]
    hashing = splits.protocol.task == "hashing"
    if supervised:
        _require_contrast(pairs, own.rows)
    if hashing and len(others):
        pairs.require_labels(others.rows)  # the validation score needs labels, even if training reads none
    if any(reads):
        pairs.require_texts(splits.protocol.text.column, own.rows)
    labelled, whole = supervised or hashing, config.captions == "all"
    train, held_out = (_subset(part, labelled=labelled, whole=whole) for part in (own, others))
    skipped = sum(int((~part.has_text).sum()) for part in (train, held_out)) if any(reads) else 0
    if all(reads):
        train, held_out = train.take(train.has_text), held_out.take(held_out.has_text)
    if config.permute_labels is not None:
        train = train.permuted(config.permute_labels)
    database = None
    if config.like is not None:
        items = splits.database
        database = Subset(pairs, items.rows, [texts or [""] for texts in items.texts], labelled=True)
    return Data(splits, train, held_out, skipped, database)


def _subset(part: ResolvedSplit, *, labelled: bool, whole: bool) -> Subset:
    """Return a split with the texts that the protocol shows, or with the ``whole`` column after them."""
    texts = part.texts
    if whole:
        # Validation reads the first text, so the protocol's choice precedes the rest of the column.
        every = dataclasses.replace(part, text=part.text.model_copy(update={"which": "all"})).texts
        texts = [list(dict.fromkeys([*own, *more])) for own, more in zip(texts, every, strict=True)]
    # If the protocol shows no text of a row, the row keeps its other texts.
    shown = [own if has_text(own) else more for own, more in zip(part.texts, texts, strict=True)]
    return Subset(part.pairs, part.rows, texts, shown, labelled)


def reads_text(stage: StageConfig) -> bool:
    """Return whether a stage's method reads the pairs' texts; label prompts do not count."""
    method, config = method_config(stage)
    return any(spec.column == "text" for spec in method.inputs(config).values())


def _drawn(ids: Sequence[str], seed: int) -> np.ndarray:
    """Return positions in random order, drawn from the sorted ids; any prefix is a nested sample."""
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    return by_id[np.random.default_rng([seed, _SALT]).permutation(len(by_id))]


def _limited(ids: Sequence[str], limit: int, seed: int) -> np.ndarray:
    """Return the positions of ``limit`` drawn rows, ascending."""
    if limit > len(ids):
        raise LimbeckError(
            f"data.limit: {limit:,} rows requested, but the protocol has {len(ids):,} to train on; lower it",
            code="E-CONFIG-VALUE",
        )
    return np.sort(_drawn(ids, seed)[:limit])


def _require_contrast(pairs: Pairs, rows: np.ndarray) -> None:
    """Refuse a label that all rows share: with it every pair would count as similar."""
    labels = pairs.require_labels(rows)
    shared = np.flatnonzero(labels.all(axis=0))
    if len(shared) and len(rows) > 1:
        raise LimbeckError(
            f"{pairs.path}: all {len(rows)} training rows have the label {pairs.label_names[shared[0]]!r}: "
            "every pair counts as similar; import the data without that label",
            code="E-DATA-LABELS",
        )
