"""Distil the text tower of a dual encoder into a small one; the image side stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
import torch
from torch import nn

from limbeck.data.pairs import Pairs
from limbeck.encoders.backbone import Backbone
from limbeck.encoders.cache import BackboneCache, key_of_items
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.encode import Block, blocks_of, device_of, output_blocks
from limbeck.encoders.lifts import Lift, build_lift
from limbeck.encoders.static import StaticBackbone
from limbeck.encoders.static_fit import invented, invented_tags, whole_words
from limbeck.encoders.static_refine import Loss, squared
from limbeck.encoders.text import ClipTextBackbone
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.evaluation.onnx_parity import Items
from limbeck.preprocess.words import words
from limbeck.tables import read_list, warn_notes
from limbeck.training.distil_layers import fit_layers
from limbeck.training.distil_static import fit_static
from limbeck.training.distil_transformer import fit_transformer
from limbeck.training.precision import half_where_fast

HELD_OUT = 20
"""One text in this many is kept out of the fit; the cosine is measured on these."""
UNITS = 64
"""The hidden units that correct a table (`StaticBackbone`)."""
HEAD = 3.0
"""The weight of the relative error of the embeddings on the given texts; that of the outputs has weight 1."""
TAGS = 3
"""The number of lists of tags among 11 made-up texts."""
Kind = Literal["static", "transformer"]
EPOCHS: dict[Kind, int] = {"static": 4, "transformer": 10}
PICTURE_EPOCHS: dict[Kind, int] = {"static": 1, "transformer": 10}
"""For embeddings of pictures, which few captions tell: more passes lose R@10 on validation captions."""


@dataclass(frozen=True)
class TextSettings:
    """How a text tower is fitted; the defaults were chosen on validation captions (docs/text-towers.md).

    Attributes:
        kind: ``static`` is a table of tokens, ``transformer`` a small transformer.
        size: the largest size of a table, with its weights, in megabytes.
        width: the width of a transformer.
        layers: the number of layers of a transformer.
        invented: the number of texts that are made up of the teacher's vocabulary and the given texts.
        epochs: the number of passes over the texts by gradient steps; None takes it from `EPOCHS`.
        fits_layers: whether the layers after the backbone are fitted, too; else they are the teacher's. They
            stay where the backbone is that of an earlier model.
        seed: draws and shuffles the texts, and draws the weights of a transformer.
    """

    kind: Kind = "static"
    size: float = 3.0
    width: int = 128
    layers: int = 2
    invented: int = 220_000
    epochs: int | None = None
    fits_layers: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Lesson:
    """What a small tower learns.

    Attributes:
        texts: the given texts, then those that are made up.
        targets: their outputs (N, dim).
        given: the number of given texts.
        unknown: the number of texts that were left out, because the teacher knows no word of them.
        pieces: the teacher's WordPiece tokenizer, if it has one.
    """

    texts: list[str]
    targets: np.ndarray
    given: int
    unknown: int
    pieces: tokenizers.Tokenizer | None


@dataclass(frozen=True)
class Distilled:
    """A model with a small text tower.

    Attributes:
        model: the model.
        cosine: the mean cosine of the new backbone's outputs with their targets over held-out texts.
        bytes: the size of the backbone's weights.
    """

    model: DualEncoder
    cosine: float
    bytes: int


def lesson_of_texts(teacher: DualEncoder, texts: Sequence[str], settings: TextSettings) -> Lesson:
    """Compute the teacher's outputs for the texts and for texts that are made up.

    The outputs are those of its backbone, or of its trunk where that is narrower.

    Raises:
        LimbeckError: the teacher reads no texts, or knows no word of them.
    """
    known, unknown = _known(teacher, texts)
    inner = innermost(teacher.towers["text"])
    found = _tokenizers(inner.backbone)
    words, pieces = _words(found, known), _word_pieces(found)
    lists = settings.invented * TAGS // 11
    made_up = invented(words, known, settings.invented - lists, settings.seed)
    tags = invented_tags(pieces.get_vocab() if pieces else {}, words, lists, settings.seed)
    parts = [
        teacher_outputs(inner, part, with_trunk=not _keeps_trunk(inner), exact=part is known)
        for part in (known, made_up, tags)
        if part
    ]
    return Lesson(known + made_up + tags, np.concatenate(parts), len(known), unknown, pieces)


def distil_text(teacher: DualEncoder, lesson: Lesson, settings: TextSettings) -> Distilled:
    """Fit a small tower to the teacher's text tower, first its backbone, then the layers after it.

    Raises:
        LimbeckError: there are fewer than two texts.
    """
    tower, lift = copy.deepcopy(teacher.towers["text"]), copy.deepcopy(teacher.lift)
    inner = innermost(tower)
    teaching = inner.trunk if _keeps_trunk(inner) else nn.Identity()
    loss = _as_embedded(teaching, teacher.lift, lesson) if inner is tower else squared
    backbone, cosine = _fit(lesson, settings, units=UNITS, loss=loss)
    _put(inner, backbone, _keeps_trunk(inner))
    if settings.fits_layers and inner is tower:
        rows = _rows_of_layers(lesson)
        features = np.empty((len(rows), backbone.dim), np.float32)
        for places, block in output_blocks(backbone, [lesson.texts[row] for row in rows.tolist()]):
            features[places] = block
        with torch.no_grad():
            wanted = teacher.lift(teaching(torch.from_numpy(lesson.targets[rows])), "text").numpy()
        fit_layers(tower, lift, features, wanted, settings.seed)
    return Distilled(DualEncoder(teacher.towers["image"], tower, lift), cosine, _bytes(backbone))


def _as_embedded(trunk: nn.Module, lift: Lift, lesson: Lesson) -> Loss:
    """Return the squared error of outputs plus that of the embeddings that they give, on the given texts."""
    weight = HEAD * float(lesson.targets.var(0).sum())
    given = len(_fitted_rows(lesson)) - (len(lesson.texts) - lesson.given)

    def loss(output: torch.Tensor, target: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        own = torch.from_numpy(rows < given)
        with torch.no_grad():
            wanted = lift(trunk(target[own]), "text")
        apart = (lift(trunk(output[own]), "text") - wanted).square().sum()
        return squared(output, target, rows) + weight * apart / len(rows)

    return loss


def _fitted_rows(lesson: Lesson) -> np.ndarray:
    """Return the rows that a backbone is fitted to: all but one in `HELD_OUT` of the given texts."""
    return np.setdiff1d(np.arange(len(lesson.texts)), np.arange(0, lesson.given, HELD_OUT))


def _rows_of_layers(lesson: Lesson) -> np.ndarray:
    """Return the given texts that the backbone was fitted to, and as many of the others, evenly spread."""
    rows = _fitted_rows(lesson)
    given, others = np.split(rows, [np.searchsorted(rows, lesson.given)])
    return np.concatenate([given, others[:: max(1, len(others) // len(given))]])


def distil_to_images(
    teacher: DualEncoder, pairs: Pairs, rows: np.ndarray, settings: TextSettings
) -> Distilled:
    """Fit a small tower that maps the captions of some rows to the embeddings of their pictures.

    Raises:
        LimbeckError: the rows have no captions, or a linear map cannot reach the teacher's points.
    """
    lift = teacher.lift
    if not isinstance(lift.head("text"), nn.Linear):
        raise LimbeckError(
            f"--to image: a linear map cannot reach the points of lift {lift.kind}; use --to text",
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
    tower = copy.deepcopy(innermost(teacher.towers["text"]))
    pieces = _word_pieces(_tokenizers(tower.backbone))
    settings = replace(settings, epochs=settings.epochs or PICTURE_EPOCHS[settings.kind])
    backbone, cosine = _fit(Lesson(items.texts, targets, len(items.texts), 0, pieces), settings)
    _put(tower, backbone, keeps_trunk=False)
    return Distilled(DualEncoder(teacher.towers["image"], tower, own), cosine, _bytes(backbone))


def read_texts(path: Path, split: str | None) -> list[str]:
    """Read the lines of a text file, or captions, tags and label names of a pairs directory.

    Args:
        path: a file or a pairs directory.
        split: of a pairs directory; None takes ``train`` where there is one, else all rows.

    Raises:
        LimbeckError: there is no such file, it has no text, the split is unknown, or its rows have no texts.
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


def _tokenizers(backbone: Backbone) -> list[tokenizers.Tokenizer]:
    own = [getattr(module, "tokenizer", None) for module in backbone.modules()]
    return [one for one in own if isinstance(one, tokenizers.Tokenizer)]


def _word_pieces(found: Sequence[tokenizers.Tokenizer]) -> tokenizers.Tokenizer | None:
    """Return the first WordPiece tokenizer, whose tokens the table then shares."""
    return next((one for one in found if isinstance(one.model, tokenizers.models.WordPiece)), None)


def _words(found: Sequence[tokenizers.Tokenizer], texts: Sequence[str]) -> list[str]:
    """Return the words of invented texts: those of the teacher's tokenizers, else those of the texts.

    Only words in the letters of the texts count.
    """
    letters = set("".join(texts).lower())
    known = [word for one in found for word in whole_words(one.get_vocab()) if letters.issuperset(word)]
    return known or sorted({word for text in texts for word in words(text)})


@torch.no_grad()
def teacher_outputs(
    tower: Tower, texts: Sequence[str], *, with_trunk: bool, exact: bool = True
) -> np.ndarray:
    """Return the outputs (N, dim) of a tower's backbone, or of its trunk; those of a network are cached.

    Without ``exact`` the network computes in bf16 where the hardware has it, and nothing is cached. The
    cosine of a sentence encoder's outputs to those in float32 is then .9999.
    """
    backbone, key = tower.backbone, key_of_items(texts)
    blocks: Iterable[Block]
    if backbone.worth_caching and not exact and (half := half_where_fast(device_of(backbone))) is not None:
        with half:
            blocks = list(output_blocks(backbone, texts))
    elif backbone.worth_caching and key is not None:
        stored = BackboneCache().outputs(backbone, key, len(texts), lambda: output_blocks(backbone, texts))
        blocks = [(rows, stored[rows]) for rows in blocks_of(len(texts), 4096)]
    else:
        blocks = output_blocks(backbone, texts)
    outputs = np.empty((len(texts), tower.dim if with_trunk else backbone.dim), np.float32)
    for rows, block in blocks:
        outputs[rows] = tower.trunk(torch.tensor(block)).numpy() if with_trunk else block
    return outputs


def _fit(
    lesson: Lesson, settings: TextSettings, *, units: int = 0, loss: Loss = squared
) -> tuple[StaticBackbone | ClipTextBackbone, float]:
    """Fit a backbone to the texts; return it, and the mean cosine over held-out given texts.

    Units and loss are those of a table.
    """
    held, kept = np.arange(0, lesson.given, HELD_OUT), _fitted_rows(lesson)
    if not len(kept):
        raise LimbeckError("distil-text: needs at least two different texts", code="E-DATA-TEXT")
    texts, targets = [lesson.texts[row] for row in kept.tolist()], lesson.targets[kept]
    epochs = settings.epochs or EPOCHS[settings.kind]
    backbone: StaticBackbone | ClipTextBackbone
    if settings.kind == "static":
        backbone = fit_static(
            texts,
            targets,
            lesson.pieces,
            size=settings.size,
            epochs=epochs,
            seed=settings.seed,
            units=units,
            loss=loss,
        )
    else:
        backbone = fit_transformer(
            texts,
            targets,
            lesson.pieces,
            width=settings.width,
            layers=settings.layers,
            epochs=epochs,
            seed=settings.seed,
        )
    backbone.eval().requires_grad_(False)
    found, wanted = np.empty((len(held), backbone.dim), np.float32), lesson.targets[held]
    for rows, block in output_blocks(backbone, [lesson.texts[row] for row in held.tolist()]):
        found[rows] = block
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(wanted, axis=1)
    return backbone, float(((found * wanted).sum(1) / np.maximum(lengths, 1e-12)).mean())


def _bytes(backbone: Backbone) -> int:
    return sum(x.numel() * x.element_size() for x in backbone.state_dict().values())


def _keeps_trunk(tower: Tower) -> bool:
    return tower.backbone.dim <= tower.dim


def _put(tower: Tower, backbone: StaticBackbone | ClipTextBackbone, keeps_trunk: bool) -> None:
    """Replace the backbone of a tower, and its trunk where that is not kept."""
    changes: dict[str, object] = {"backbone": backbone.config, "freeze_backbone": True}
    if not keeps_trunk:
        changes |= {"hidden": [], "norm": False}
        tower.trunk = nn.Identity()
    tower.config = tower.config.model_copy(update=changes)
    tower.backbone = backbone
