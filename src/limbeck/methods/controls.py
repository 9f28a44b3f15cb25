"""SODA's controls: no teacher, a teacher that reads the label vector, one that reads no label as text."""

from __future__ import annotations

from typing import Self

import torch
from pydantic import Field, model_validator

from limbeck.data.inputs import Input, PromptConfig
from limbeck.encoders.config import Strict
from limbeck.losses import bit_balance, pairwise_likelihood, quantization, shared_label
from limbeck.methods.base import Batch, Losses, Method, Reps, State, code_monitors, sign
from limbeck.methods.nested import Nested, NestedConfig
from limbeck.methods.soda import SodaTeacher


class _NoPrompt(SodaTeacher.Config):
    """SODA's weights, for a control that shows no label prompt; an inherited template is harmless."""

    @model_validator(mode="after")
    def _shows_no_prompt(self) -> Self:
        if self.prompt != PromptConfig(template=self.prompt.template):
            raise ValueError("prompt: this method shows no label prompts; leave it out")
        return self


class DirectHashing(SodaTeacher):
    """No teacher: SODA's stage-1 objective on image and *text*, labels only in S (as in DCMH)."""

    Config = _NoPrompt

    @classmethod
    def inputs(cls, config: Strict) -> dict[str, Input]:
        """A picture and its text."""
        return Method.inputs(config)


class MultiHotTeacher(SodaTeacher):
    """The label vector in place of the label prompt (as in SSAH); needs a ``multihot`` text backbone."""

    Config = _NoPrompt

    @classmethod
    def inputs(cls, config: Strict) -> dict[str, Input]:
        """A picture and its label vector."""
        return {"image": Input("image", "image"), "text": Input("labels", "text")}


class ImageTeacher(Nested):
    """Labels in S alone: pictures against pictures, no label is read as text and no text is read.

        L = mean_ij [ log(1 + e^theta_ij) - S_ij theta_ij ] + quantization |sign U - U|^2 + balance |mean U|^2

    with theta = logits(U, U) over pairs i != j. What SODA's prompt adds to its teacher is what lies between
    the two. The text tower stays as it was initialised: the next stage needs one of its own.
    """

    supervised = True

    class Config(NestedConfig):
        """Weights, as in `SodaTeacher`."""

        quantization: float = Field(default=0.05, ge=0)
        balance: float = Field(default=0.05, ge=0)

    def represent(self, batch: Batch) -> Reps:
        """Codes of the pictures and labels."""
        return {"image": self.encoder.embed("image", batch["image"]), "labels": batch["labels"]}

    def objective_of(self, reps: Reps, state: State) -> Losses:
        """The loss above."""
        u = reps["image"]
        others = ~torch.eye(len(u), dtype=torch.bool, device=u.device)
        similar = shared_label(reps["labels"], reps["labels"])
        return Losses.weighted(
            monitors=code_monitors(image=u),
            likelihood=(1.0, pairwise_likelihood(self.encoder.lift.logits(u, u)[others], similar[others])),
            quantization=(self.config.quantization, quantization(u, sign(u))),
            balance=(self.config.balance, bit_balance(u)),
        )
