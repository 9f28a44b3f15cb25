"""What a run trains on, and what of it each stage sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from limbeck.data.batches import Subset
from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.data.protocols import check_fits, load_protocol
from limbeck.errors import LimbeckError
from limbeck.evaluation.metric_presets import as_in
from limbeck.training.recipe import Recipe, StageConfig, method_config

_SALT = 20015  # the draw of rows has nothing to do with that of batches


@dataclass(frozen=True)
class Data:
    """What every stage of a run trains on: training rows, held-out rows, and the protocol they come from.

    ``shown`` has the rows of ``train`` with none but the texts that the protocol shows. ``database``: with
    ``data.like`` what the held-out rows, then the test queries, are validated against; else None, train.
    """

    pairs: Pairs
    protocol: Protocol
    train: Subset
    shown: Subset
    held_out: Subset
    skipped: int
    database: Subset | None = None

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
        """Cut validation from train; check texts and labels when a method needs them.

        Args:
            pairs, protocol: where the rows come from.
            supervised: some stage reads labels.
            all_captions, permute_labels, limit, like: see `DataConfig`.
            seed: of the rows that ``limit`` draws.
            reads_text: of each stage. Rows without a text are left out at once when every stage reads it, by
                the stages that do when only some read it, and not at all when none does.
        """
        check_fits(protocol, pairs, "data.protocol")  # also refuses queries in train before time is spent
        protocol = protocol.on(pairs)
        rows = protocol.split(pairs, "train")
        if limit is not None:
            rows = _limited(pairs, rows, limit, seed)
        database: Subset | None = None
        if like is None:
            train_rows, held_out = protocol.validation_rows(pairs, rows)
        else:
            protocol, _ = as_in(protocol, like, selected=True, where="data.like")
            train_rows, held_out = rows, protocol.split(pairs, "query")
            items = protocol.split(pairs, "database")
            said = [own or [""] for own in protocol.texts(pairs, items)]
            database = Subset(pairs, items, said, pairs.labels(items))
        if supervised:
            _require_contrast(pairs, train_rows)
        if protocol.task == "hashing" and len(held_out):
            pairs.require_labels(held_out)  # validation is scored by them, whether training reads any or not
        if any(reads_text):
            pairs.require_texts(protocol.text.column, train_rows)
        labelled = supervised or protocol.task == "hashing"
        views: list[Subset] = []
        shown: list[Subset] = []
        skipped = 0
        for part, own_rows in (("train", train_rows), ("held out", held_out)):
            # Validation sees the first text: the protocol's choice comes first, then the rest of the column.
            texts = few = protocol.texts(pairs, own_rows)
            if all_captions:
                whole = protocol.model_copy(
                    update={"text": protocol.text.model_copy(update={"which": "all"})}
                )
                texts = [
                    list(dict.fromkeys([*own, *every]))
                    for own, every in zip(texts, whole.texts(pairs, own_rows), strict=True)
                ]
            has_text = np.array([_says(own) for own in texts], dtype=bool)
            skipped += int((~has_text).sum()) if any(reads_text) else 0
            keep = has_text if all(reads_text) else np.ones(len(own_rows), dtype=bool)
            kept = own_rows[keep]
            owners = kept
            if permute_labels is not None and part == "train":
                owners = np.random.default_rng(permute_labels).permutation(kept)
            labels = pairs.labels(owners) if labelled else None
            # A row of which the protocol shows no text keeps the others.
            few = [own if _says(own) else every for own, every in zip(few, texts, strict=True)]
            for found, source in ((views, texts), (shown, few)):
                chosen = [own for own, kept_row in zip(source, keep.tolist(), strict=True) if kept_row]
                found.append(Subset(pairs, kept, chosen, labels, owners))
        return cls(pairs, protocol, views[0], shown[0], views[1], skipped, database)

    def drawn(self, texts: str) -> Subset:
        """The training rows with the texts that a stage draws, see `StageConfig`."""
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
        """What a stage sees: rows with a text if it reads one, its ``pairs``, without what it must not know.

        Raises:
            LimbeckError: more pairs asked for than there are, unknown labels, nothing left.
        """
        found, where = self, f"stages.{stage.name}"
        if reads_text(stage):
            found = found._cut(
                *(np.flatnonzero([_says(own) for own in v.texts]) for v in (found.train, found.held_out))
            )
        if self.database is not None and (stage.pairs is not None or stage.hide is not None):
            raise LimbeckError(
                f"{where}: pairs and hide change what validation sees; leave them or data.like out"
            )
        if stage.pairs is not None:
            if stage.pairs > len(found.train):
                raise LimbeckError(
                    f"{where}.pairs: {stage.pairs:,} asked for, train has {len(found.train):,} beside "
                    "validation; ask for fewer"
                )
            # None but these texts are read, so validation comes out of them.
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
    """The pairs under the recipe's protocol, checked for what its methods need."""
    assert recipe.data.pairs is not None
    return Data.open(
        Pairs.open(recipe.data.pairs),
        load_protocol(recipe.data.protocol),
        supervised=any(method_config(stage)[0].supervised for stage in recipe.stages),
        all_captions=recipe.data.captions == "all",
        permute_labels=recipe.data.permute_labels,
        limit=recipe.data.limit,
        like=recipe.data.like,
        seed=recipe.seed,
        reads_text=[reads_text(stage) for stage in recipe.stages],
    )


def reads_text(stage: StageConfig) -> bool:
    """Whether a stage's method reads the pairs' texts; label prompts are none."""
    method, config = method_config(stage)
    return any(spec.column == "text" for spec in method.inputs(config).values())


def _says(texts: Sequence[str]) -> bool:
    return any(text.strip() for text in texts)


def _drawn(ids: Sequence[str], seed: int) -> np.ndarray:
    """Positions in an order drawn by seed from the sorted ids; its beginnings are nested samples."""
    by_id = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
    return by_id[np.random.default_rng([seed, _SALT]).permutation(len(by_id))]


def _limited(pairs: Pairs, rows: np.ndarray, limit: int, seed: int) -> np.ndarray:
    if limit > len(rows):
        raise LimbeckError(
            f"data.limit: {limit:,} training rows asked for, the protocol has {len(rows):,}; ask for fewer"
        )
    return rows[np.sort(_drawn([pairs.ids[row] for row in rows.tolist()], seed)[:limit])]


def _require_contrast(pairs: Pairs, rows: np.ndarray) -> None:
    """Labels that tell rows apart: with one that all share, every pair counts as similar."""
    labels = pairs.require_labels(rows)
    shared = np.flatnonzero(labels.all(axis=0))
    if len(shared) and len(rows) > 1:
        raise LimbeckError(
            f"{pairs.path}: all {len(rows)} training rows have the label {pairs.label_names[shared[0]]!r}: "
            "every pair counts as similar; import the data without that label"
        )
