"""The sources of one batch entry: a column, the tower that reads it, and perhaps a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from limbeck.data.prompts import label_prompt
from limbeck.encoders.masking import MaskConfig
from limbeck.errors import LimbeckError

Column = Literal["image", "text", "phrase", "label_prompt", "labels"]
"""``phrase`` is the coarsest level of each text's chain (`limbeck.data.caption_chains.coarsest`)."""
# A text, or the texts whose features are averaged.

Item = str | tuple[str, ...]


class PromptConfig(BaseModel):
    """How labels become text.

    Attributes:
        template: ``names``, ``sentence`` or any text with ``{labels}``; the features of several are averaged.
        words: words for some class names, instead of the cleaned name.
        classes: ``together``: one sentence names all classes of a picture. ``averaged``: each class has its
            own sentence, and their features are averaged. ``listed``: the text tower reads the list of class
            names itself (`multihot`, `label_features`), without a sentence.
        context: learn a vector that is added to the prompts' features, as CoOp learns the words around a
            class name; real texts do not get it.
        permute: the seed of a permutation of the class words among the classes, or None. This control breaks
            the meaning of the words and changes nothing else.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    template: str | Annotated[list[str], Field(min_length=1)] = "sentence"
    words: dict[str, str] = {}
    classes: Literal["together", "averaged", "listed"] = "together"
    context: bool = False
    permute: int | None = None

    @model_validator(mode="after")
    def _sentences_or_none(self) -> PromptConfig:
        if self.classes == "listed" and (self.words or self.template != "sentence"):
            raise ValueError("classes: listed makes no sentence; remove template and words")
        return self

    @property
    def templates(self) -> list[str]:
        """The templates as a list."""
        return [self.template] if isinstance(self.template, str) else self.template

    @property
    def column(self) -> Column:
        """The column that a tower reads: prompts, or lists of class names."""
        return "labels" if self.classes == "listed" else "label_prompt"


class TeacherSpec(NamedTuple):
    """A frozen teacher model that reads an input.

    Attributes:
        model: an earlier stage, a run or model directory, or a hub id.
        output: ``tangent``: its embeddings in coordinates that every space can read. ``patches``: the same
            for every patch of the picture. ``embeddings``: its embeddings unchanged (relaxed codes).
        optional: leave the input out when the model has no such output.
    """

    model: str
    output: Literal["tangent", "patches", "embeddings"] = "tangent"
    optional: bool = False


class Input(NamedTuple):
    """A named input of a method.

    Attributes:
        column: its source.
        tower: the tower that reads it: the method's, or that of ``teacher``.
        prompt: how labels become text.
        mask: the patches of the picture that the tower sees in training; None shows all.
        teacher: the frozen model that reads it instead of the method's tower.
        part: shares of the area (min, max): the tower sees a random part of the picture in training, cut out
            before its own augmentation; None shows the whole.
    """

    column: Column
    tower: Literal["image", "text"]
    prompt: PromptConfig | None = None
    mask: MaskConfig | None = None
    teacher: TeacherSpec | None = None
    part: tuple[float, float] | None = None


def label_prompts(
    labels: Sequence[Sequence[str]], label_names: Sequence[str], config: PromptConfig
) -> list[Item]:
    """Return one item per row of class names: its prompt, or the prompts whose features are averaged.

    Raises:
        LimbeckError: ``words`` names an unknown class, or a template has no field.
    """
    unknown = sorted(set(config.words) - set(label_names))
    if unknown:
        raise LimbeckError(
            f"prompt.words: there is no label {unknown[0]!r}; there are {', '.join(label_names)}",
            code="E-LABEL-UNKNOWN",
        )
    word_of = permuted_names(label_names, config.permute)
    return [_item([word_of[name] for name in names], config) for names in labels]


def permuted_names(label_names: Sequence[str], seed: int | None) -> dict[str, str]:
    """Map each class name to itself, or with a seed to another class name."""
    words = list(label_names)
    if seed is not None:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(words))
        while len(words) > 1 and (order == np.arange(len(words))).all():
            order = rng.permutation(len(words))  # few classes may keep their words by chance: no control then
        words = [words[i] for i in order]
    return dict(zip(label_names, words, strict=True))


def _item(names: list[str], config: PromptConfig) -> Item:
    """Return the prompts of one row; one prompt where all are equal, as for a picture without labels."""
    groups = [[name] for name in names] if config.classes == "averaged" and names else [names]
    found = [label_prompt(own, text, config.words) for own in groups for text in config.templates]
    return found[0] if len(set(found)) == 1 else tuple(found)
