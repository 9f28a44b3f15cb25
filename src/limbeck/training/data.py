"""Select the rows that a run trains on, and the part that each stage sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.data.batches import Subset
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import load_protocol, open_splits
from limbeck.data.resolved_splits import ResolvedSplits
from limbeck.errors import LimbeckError
from limbeck.evaluation.metric_presets import as_in
from limbeck.training.recipe import Recipe, StageConfig, method_config

_SALT = 20015  # keeps the draw of rows independent of the draw of batches


@dataclass(frozen=True)
class Data:
    """The data of a run: training rows, held-out rows, and the protocol that they come from.

    Attributes:
        splits: the protocol, resolved on the pairs directory.
        train: the training rows with all texts that training may draw.
        shown: the rows of ``train`` with only the texts that the protocol shows.
        held_out: the validation queries; with ``data.like`` these are the test queries.
        skipped: the number of rows without a text, if some stage reads texts; else 0.
        database: with ``data.like`` the database split, which validation searches; else None, and
            validation searches ``train``.
    """

    splits: ResolvedSplits
    train: Subset
    shown: Subset
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

    @classmethod
    def open(
        cls,
        pairs: Pairs,
        protocol: Protocol,
        *,
        supervised: bool,
        all_captions: bool = False,
        permute_labels: int | None = None,
        limit: int | None = None,
        like: str | None = None,
        seed: int = 0,
        reads_text: Sequence[bool] = (True,),
    ) -> Data:
        """Split validation from train; check texts and labels if a method needs them.

        Args:
            pairs, protocol: the source of the rows.
            supervised: whether some stage reads labels.
            all_captions, permute_labels, limit, like: see `DataConfig`.
            seed: seed of the draw of ``limit``.
            reads_text: for each stage, whether it reads texts. If all stages do, rows without a text are
                left out here. If only some do, those stages leave them out later.

        Raises:
            LimbeckError: the protocol does not fit the pairs, there are fewer rows than ``limit``, texts or
                labels that a method needs are missing, or all training rows share a label.
        """
        splits = open_splits(protocol, pairs, "data.protocol")
        if limit is not None:
            drawn = _limited(splits.train.ids, limit, seed)
            splits = dataclasses.replace(splits, train=splits.train.take(drawn))
        database: Subset | None = None
        if like is None:
            train, held_out = splits.held_out
        else:
            liked, _ = as_in(splits.protocol, like, selected=True, where="data.like")
            splits = dataclasses.replace(splits, protocol=liked)
            train, held_out, items = splits.train, splits.query, splits.database
            item_texts = [texts_of_row or [""] for texts_of_row in items.texts]
            database = Subset(pairs, items.rows, item_texts, items.labels)
        protocol = splits.protocol
        if supervised:
            _require_contrast(pairs, train.rows)
        if protocol.task == "hashing" and len(held_out):
            # The validation score needs labels, even if training reads none.
            pairs.require_labels(held_out.rows)
        if any(reads_text):
            pairs.require_texts(protocol.text.column, train.rows)
        labelled = supervised or protocol.task == "hashing"
        views: list[Subset] = []
        shown: list[Subset] = []
        skipped = 0
        for part in (train, held_out):
            # Validation reads the first text, so the protocol's choice precedes the rest of the column.
            texts = few = part.texts
            if all_captions:
                whole = dataclasses.replace(part, text=part.text.model_copy(update={"which": "all"}))
                texts = [
                    list(dict.fromkeys([*own, *every])) for own, every in zip(few, whole.texts, strict=True)
                ]
            has_text = np.array([_says(own) for own in texts], dtype=bool)
            skipped += int((~has_text).sum()) if any(reads_text) else 0
            keep = has_text if all(reads_text) else np.ones(len(part), dtype=bool)
            kept = part.rows[keep]
            owners = kept
            if permute_labels is not None and part is train:
                owners = np.random.default_rng(permute_labels).permutation(kept)
            labels = pairs.labels(owners) if labelled else None
            # If the protocol shows no text of a row, the row keeps its other texts.
            few = [own if _says(own) else every for own, every in zip(few, texts, strict=True)]
            for found, source in ((views, texts), (shown, few)):
                chosen = [own for own, kept_row in zip(source, keep.tolist(), strict=True) if kept_row]
                found.append(Subset(pairs, kept, chosen, labels, owners))
        return cls(splits, views[0], shown[0], views[1], skipped, database)

    def drawn(self, texts: str) -> Subset:
        """Return the training rows with the texts that a stage draws (``StageConfig.texts``)."""
        if texts != "mixed":
            return self.shown if texts == "shown" else self.train
        mixed = []
        for own, every in zip(self.shown.texts, self.train.texts, strict=True):
            rest = [text for text in every if text not in own]
            mixed.append(own * len(rest) + rest * len(own) or own)
        train = self.train
        known = None if train.labels is None else train.labels.numpy()
        return Subset(self.pairs, train.rows, mixed, known, train.label_rows, train.hidden)

    def of_stage(self, stage: StageConfig, seed: int) -> Data:
        """Return the part of the data that a stage sees.

        If the stage reads texts, rows without one are left out. Then its ``pairs`` are drawn by ``seed``, and
        its ``hide`` is applied.

        Raises:
            LimbeckError: ``pairs`` exceeds the training rows, a hidden label is unknown, or no row is left.
        """
        found, where = self, f"stages.{stage.name}"
        if reads_text(stage):
            found = found._cut(
                *(np.flatnonzero([_says(own) for own in v.texts]) for v in (found.train, found.held_out))
            )
        if self.database is not None and (stage.pairs is not None or stage.hide is not None):
            raise LimbeckError(
                f"{where}: pairs and hide change what validation sees; remove them or data.like"
            )
        if stage.pairs is not None:
            if stage.pairs > len(found.train):
                raise LimbeckError(
                    f"{where}.pairs: {stage.pairs:,} requested, but train has {len(found.train):,} without "
                    "validation; request fewer"
                )
            # The stage may read only these pairs, so validation is taken from them.
            drawn = _drawn(found.train.ids, seed)[: stage.pairs]
            few, most = stage.pairs // 5, self.protocol.validation.size or stage.pairs
            held = drawn[: min(few, most)]
            rest = np.sort(drawn[len(held) :])
            found = dataclasses.replace(
                found,
                train=found.train.take(rest),
                shown=found.shown.take(rest),
                held_out=found.train.take(np.sort(held)),
            )
        if stage.hide is not None:
            unknown = sorted(set(stage.hide.labels) - set(self.pairs.label_names))
            if unknown:
                raise LimbeckError(
                    f"{where}.hide.labels: no label {unknown[0]!r} in {self.pairs.path}; there are "
                    f"{', '.join(self.pairs.label_names)}"
                )
            whole, hidden = stage.hide.how == "pictures", frozenset(stage.hide.labels)
            views = [
                view.without(hidden, pictures=whole) for view in (found.train, found.shown, found.held_out)
            ]
            found = dataclasses.replace(found, train=views[0], shown=views[1], held_out=views[2])
        if not len(found.train):
            raise LimbeckError(
                f"{where}: no pairs are left to train on; check pairs, hide and the text column"
            )
        return found

    def _cut(self, train: np.ndarray, held_out: np.ndarray) -> Data:
        if len(train) == len(self.train) and len(held_out) == len(self.held_out):
            return self
        return dataclasses.replace(
            self,
            train=self.train.take(train),
            shown=self.shown.take(train),
            held_out=self.held_out.take(held_out),
        )


def open_data(recipe: Recipe) -> Data:
    """Open the pairs of a recipe under its protocol, and check that they have what its methods need."""
    assert recipe.data.pairs is not None
    return Data.open(
        Pairs.open(recipe.data.pairs),
        load_protocol(recipe.data.protocol),
        supervised=any(method_config(stage)[0].supervised for stage in recipe.stages.values()),
        all_captions=recipe.data.captions == "all",
        permute_labels=recipe.data.permute_labels,
        limit=recipe.data.limit,
        like=recipe.data.like,
        seed=recipe.seed,
        reads_text=[reads_text(stage) for stage in recipe.stages.values()],
    )


def reads_text(stage: StageConfig) -> bool:
    """Return whether a stage's method reads the pairs' texts; label prompts do not count."""
    method, config = method_config(stage)
    return any(spec.column == "text" for spec in method.inputs(config).values())


def _says(texts: Sequence[str]) -> bool:
    return any(text.strip() for text in texts)


def _drawn(ids: Sequence[str], seed: int) -> np.ndarray:
    """Return positions in random order, drawn from the sorted ids; any prefix is a nested sample."""
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    return by_id[np.random.default_rng([seed, _SALT]).permutation(len(by_id))]


def _limited(ids: Sequence[str], limit: int, seed: int) -> np.ndarray:
    """Return the positions of ``limit`` drawn rows, ascending."""
    if limit > len(ids):
        raise LimbeckError(
            f"data.limit: {limit:,} training rows requested, but the protocol has {len(ids):,}; request fewer"
        )
    return np.sort(_drawn(ids, seed)[:limit])


def _require_contrast(pairs: Pairs, rows: np.ndarray) -> None:
    """Refuse a label that all rows share: with it every pair would count as similar."""
    labels = pairs.require_labels(rows)
    shared = np.flatnonzero(labels.all(axis=0))
    if len(shared) and len(rows) > 1:
        raise LimbeckError(
            f"{pairs.path}: all {len(rows)} training rows have the label {pairs.label_names[shared[0]]!r}: "
            "every pair counts as similar; import the data without that label"
        )
