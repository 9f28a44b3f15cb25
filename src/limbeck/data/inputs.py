"""What one entry of a batch is made from: a column, the tower that reads it, perhaps a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from limbeck.data.prompts import label_prompt
from limbeck.encoders.masking import MaskConfig

Column = Literal["image", "text", "label_prompt", "labels"]


class PromptConfig(BaseModel):
    """How labels become text.

    Attributes:
        template: ``names``, ``sentence`` or any text with ``{labels}``.
        permute: seed of a permutation of the class words among the classes (a control: it breaks the meaning
            of the words and leaves everything else), or None.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    template: str = "sentence"
    permute: int | None = None


class Reader(NamedTuple):
    """Another model, frozen, that reads an input: a teacher.

    Attributes:
        model: an earlier stage, a run or model directory, or a hub id.
        output: ``tangent``, its embeddings in coordinates that every space can take over, or ``patches``, the
            same for every patch of the picture.
        optional: leave the input out when the model has no such output.
    """

    model: str
    output: Literal["tangent", "patches"] = "tangent"
    optional: bool = False


class Input(NamedTuple):
    """A named input of a method.

    Attributes:
        column: what it is made from.
        tower: the tower that reads it: the method's own, or that of ``reader``.
        prompt: how labels become text.
        mask: which patches of the picture the tower is shown in training; None shows all.
        reader: the frozen model that reads it in place of the method's own tower.
    """

    column: Column
    tower: Literal["image", "text"]
    prompt: PromptConfig | None = None
    mask: MaskConfig | None = None
    reader: Reader | None = None


def label_prompts(
    labels: Sequence[Sequence[str]], label_names: Sequence[str], config: PromptConfig
) -> list[str]:
    """One prompt a row: the words of its classes in the template.

    Args:
        labels: per row the names of its classes.
        label_names: all class names.
        config: template, and the permutation of class words if that control is wanted.
    """
    words = list(label_names)
    if config.permute is not None:
        rng = np.random.default_rng(config.permute)
        order = rng.permutation(len(words))
        while len(words) > 1 and (order == np.arange(len(words))).all():
            order = rng.permutation(len(words))  # few classes may keep their words by chance: no control then
        words = [words[i] for i in order]
    word_of = dict(zip(label_names, words, strict=True))
    return [label_prompt([word_of[name] for name in names], config.template) for names in labels]
