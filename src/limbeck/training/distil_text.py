"""Distil the text tower of a dual encoder into a table of tokens; the image side stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tokenizers
import torch
from torch import nn

from limbeck.data.pairs import Pairs
from limbeck.encoders.backbone import Backbone
from limbeck.encoders.cache import BackboneCache, key_of_items
from limbeck.encoders.config import StaticConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.encode import Block, blocks_of, output_blocks
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.static import StaticBackbone
from limbeck.encoders.static_fit import (
    fit_table,
    invented,
    token_counts,
    train_wordpiece,
    whole_words,
)
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.evaluation.onnx_parity import Items
from limbeck.preprocess.words import words
from limbeck.tables import read_list, warn_notes

HELD_OUT = 20
"""One text in so many is kept from the fit and tells the cosine."""
WORDS = 5000
"""Phrases are made of so many words, the first in the teacher's vocabulary, which are its most frequent."""


@dataclass(frozen=True)
class StaticSettings:
    """How a static tower is fitted; the defaults were chosen on validation captions (docs/text-towers.md).

    Attributes:
        tokens: the size of the vocabulary.
        rank: the width of the table's rows; None keeps that of the outputs.
        invented: the number of phrases that are made up of the teacher's vocabulary.
        penalty: the weight of the ridge.
        seed: draws the phrases.
    """

    tokens: int = 7000
    rank: int | None = None
    invented: int = 30_000
    penalty: float = 0.1
    seed: int = 0


@dataclass(frozen=True)
class Distilled:
    """A model with a static text tower.

    Attributes:
        model: the model.
        texts: the number of texts that it was fitted to, with the phrases that were made up.
        unknown: the number of texts of which the teacher knows no word.
        cosine: the mean cosine of its outputs with their targets over held-out texts.
        bytes: the size of the table with weights, scales and map.
    """

    model: DualEncoder
    texts: int
    unknown: int
    cosine: float
    bytes: int


def distil_text(teacher: DualEncoder, texts: Sequence[str], settings: StaticSettings) -> Distilled:
    """Fit a static tower to the teacher's text tower.

    The table learns the output of the teacher's backbone, and trunk and head stay; where the trunk's output
    is narrower, the table learns that output.

    Raises:
        LimbeckError: the teacher reads no texts, or knows no word of them.
    """
    known, unknown = _known(teacher, texts)
    tower = copy.deepcopy(teacher.towers["text"])
    inner = innermost(tower)
    keeps_trunk = inner.backbone.dim <= inner.dim
    words = _words(inner.backbone, known)
    phrases = invented(words, settings.invented, settings.seed)
    parts = [teacher_outputs(inner, part, with_trunk=not keeps_trunk) for part in (known, phrases) if part]
    fitted_on = known + phrases
    backbone, cosine = _fit(fitted_on, np.concatenate(parts), len(known), settings)
    _put(inner, backbone, keeps_trunk)
    model = DualEncoder(teacher.towers["image"], tower, teacher.lift)
    return Distilled(model, len(fitted_on), unknown, cosine, backbone.bytes)


def distil_to_images(
    teacher: DualEncoder, pairs: Pairs, rows: np.ndarray, settings: StaticSettings
) -> Distilled:
    """Fit a static tower that maps the captions of some rows to the embeddings of their pictures.

    Raises:
        LimbeckError: the rows have no captions, or a linear map cannot reach the teacher's points.
    """
    lift = teacher.lift
    if not isinstance(lift.head("text"), nn.Linear):
        raise LimbeckError(
            f"--to image: a linear map cannot reach the points of lift {lift.describe()['config']['kind']}; "
            "use --to text",
            code="E-MODEL-LACKS",
        )
    own = build_lift(lift.config, {**lift.dims, "text": lift.dim})
    own.load_state_dict({n: x for n, x in lift.state_dict().items() if "heads.text" not in n}, strict=False)
    head = own.head("text")
    assert isinstance(head, nn.Linear)
    nn.init.eye_(head.weight)
    if head.bias is not None:
        nn.init.zeros_(head.bias)
    items = Items.of_pairs(teacher, pairs, rows)
    pictures = teacher.encode("image", items.images, "embeddings")[0]
    targets = pictures[np.searchsorted(items.image_rows, items.text_rows)]
    backbone, cosine = _fit(items.texts, targets, len(items.texts), settings)
    tower = copy.deepcopy(innermost(teacher.towers["text"]))
    _put(tower, backbone, keeps_trunk=False)
    model = DualEncoder(teacher.towers["image"], tower, own)
    return Distilled(model, len(items.texts), 0, cosine, backbone.bytes)


def read_texts(path: Path, split: str | None) -> list[str]:
    """Read the lines of a text file, or captions, tags and label names of a pairs directory.

    Args:
        path: a file or a pairs directory.
        split: of a pairs directory; None takes ``train`` where there is one, else all rows.

    Raises:
        LimbeckError: no such file, one without text, an unknown split, rows without texts.
    """
    if not path.is_dir():
        listed = read_list(path)
        warn_notes(listed.notes)
        if not listed.entries:
            raise LimbeckError(f"{path}: contains no text; write one per line", code="E-FILE-EMPTY")
        return listed.entries
    pairs = Pairs.open(path)
    rows = split_or_all(pairs, split)
    found = [caption for own in pairs.texts("captions", rows) for caption in own]
    found += [" ".join(own) for own in pairs.texts("tags", rows)]
    found += [name for own in pairs.texts("labels", rows) for name in own]
    if not any(text.strip() for text in found):
        raise LimbeckError(f"{path}: has no captions, tags or labels; give a text file", code="E-DATA-TEXT")
    return found


def split_or_all(pairs: Pairs, split: str | None) -> np.ndarray:
    """Return the rows of a split; without a name those of ``train``, or all rows where there is none."""
    if split is None and "train" not in pairs.split_names:
        return np.arange(len(pairs))
    return pairs.split_rows(split or "train")


def innermost(tower: Tower) -> Tower:
    """Return the tower of the first model, where a tower reads the tower of an earlier one."""
    while isinstance(tower.backbone, RunBackbone):
        tower = tower.backbone.tower
    return tower


def _known(teacher: DualEncoder, texts: Sequence[str]) -> tuple[list[str], int]:
    """Return the distinct texts of which the teacher knows a word, and the number of others."""
    if teacher.text_input != "text":
        raise LimbeckError(
            f"distil-text: the teacher's text tower reads {teacher.text_input}, not texts; use another model",
            code="E-MODEL-INPUT",
        )
    distinct = list(dict.fromkeys(text.strip() for text in texts if text.strip()))
    known = [text for text in distinct if _knows(teacher, text)]
    if not known:
        what = f"knows no word of the {len(distinct):,} texts" if distinct else "got no text"
        raise LimbeckError(
            f"distil-text: the teacher {what}; give texts in its language, one per line", code="E-DATA-TEXT"
        )
    return known, len(distinct) - len(known)


def _knows(teacher: DualEncoder, text: str) -> bool:
    try:
        teacher.check_query(text)
    except LimbeckError:
        return False
    return True


def _words(backbone: Backbone, texts: Sequence[str]) -> list[str]:
    """Return the words of invented phrases: the first of the teacher's tokenizers, else those of the texts.

    Only words in the letters of the texts count.
    """
    own = [getattr(module, "tokenizer", None) for module in backbone.modules()]
    known = [one.get_vocab() for one in own if isinstance(one, tokenizers.Tokenizer)]
    letters = set("".join(texts).lower())
    found = [word for vocabulary in known for word in whole_words(vocabulary) if letters.issuperset(word)]
    return found[:WORDS] or sorted({word for text in texts for word in words(text)})


@torch.no_grad()
def teacher_outputs(tower: Tower, texts: Sequence[str], *, with_trunk: bool) -> np.ndarray:
    """Return the outputs (N, dim) of a tower's backbone, or of its trunk; those of a network are cached."""
    backbone, key = tower.backbone, key_of_items(texts)
    if backbone.worth_caching and key is not None:
        stored = BackboneCache().outputs(backbone, key, len(texts), lambda: output_blocks(backbone, texts))
        blocks: Iterable[Block] = [(rows, stored[rows]) for rows in blocks_of(len(texts), 4096)]
    else:
        blocks = output_blocks(backbone, texts)
    outputs = np.empty((len(texts), tower.dim if with_trunk else backbone.dim), np.float32)
    for rows, block in blocks:
        outputs[rows] = tower.trunk(torch.tensor(block)).numpy() if with_trunk else block
    return outputs


def _fit(
    texts: Sequence[str], targets: np.ndarray, given: int, settings: StaticSettings
) -> tuple[StaticBackbone, float]:
    """Fit to the texts; return the mean cosine over a part of the first ``given``, which is not fitted to."""
    held = np.arange(0, given, HELD_OUT)
    kept = np.setdiff1d(np.arange(len(texts)), held)
    if not len(kept):
        raise LimbeckError("distil-text: needs at least two different texts", code="E-DATA-TEXT")
    fitted = [texts[row] for row in kept.tolist()]
    tokenizer = train_wordpiece(fitted, settings.tokens)
    table = fit_table(
        token_counts(tokenizer, fitted), targets[kept], penalty=settings.penalty, rank=settings.rank
    )
    config = StaticConfig(dim=targets.shape[1], rank=settings.rank, storage="int8")
    backbone = StaticBackbone(config)
    backbone.use(tokenizer)
    backbone.set_table(table)
    backbone.eval().requires_grad_(False)
    found = np.empty((len(held), backbone.dim), np.float32)
    for rows, block in output_blocks(backbone, [texts[row] for row in held.tolist()]):
        found[rows] = block
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(targets[held], axis=1)
    return backbone, float(((found * targets[held]).sum(1) / np.maximum(lengths, 1e-12)).mean())


def _put(tower: Tower, backbone: StaticBackbone, keeps_trunk: bool) -> None:
    """Replace the backbone of a tower, and its trunk where that is not kept."""
    changes: dict[str, object] = {"backbone": backbone.config, "freeze_backbone": True}
    if not keeps_trunk:
        changes |= {"hidden": [], "norm": False}
        tower.trunk = nn.Identity()
    tower.config = tower.config.model_copy(update=changes)
    tower.backbone = backbone
