"""SODA's controls: no teacher, a teacher that reads the label vector, and one that reads no label as text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from pydantic import Field, model_validator

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input, PromptConfig
from limbeck.losses import bit_balance, pairwise_likelihood, quantization, shared_label
from limbeck.methods.base import Losses, Outputs, TrainState
from limbeck.methods.hashing.code_buffer import BufferedEmbeddings
from limbeck.methods.hashing.nested import NestedConfig, NestedMethod
from limbeck.methods.monitors import code_monitors, sign
from limbeck.methods.soda import PairHashing, SodaConfig, stage_one_loss, theta


class _NoPromptConfig(SodaConfig):
    """SODA's weights, for a control that shows no label prompt; an inherited template is harmless."""

    prompt: PromptConfig = PromptConfig()

    @model_validator(mode="after")
    def _shows_no_prompt(self) -> Self:
        if self.prompt != PromptConfig(template=self.prompt.template):
            raise ValueError("prompt: this method shows no label prompts; leave it out")
        return self


class _StageOneControl(PairHashing):
    """SODA's stage-1 loss on inputs other than the label prompt; S is the only other use of labels."""

    Config = _NoPromptConfig
    config: _NoPromptConfig

    def code_loss(self, outputs: BufferedEmbeddings, state: TrainState) -> Losses:
        similar = shared_label(outputs.labels, outputs.labels)
        return stage_one_loss(outputs, self.likelihood(outputs, similar, state), self.config)


class DirectHashing(_StageOneControl):
    """Without a teacher, pictures and their real *texts* are hashed together in one stage (as in DCMH)."""


class MultiHotTeacher(_StageOneControl):
    """Read the label vector, not a label prompt (as in SSAH); this needs a ``multihot`` text backbone."""

    @classmethod
    def inputs(cls, config: Any) -> dict[str, Input]:
        """Return a picture and its label vector."""
        return {"image": Input("image", "image"), "text": Input("labels", "text")}


@dataclass
class ImageCodes(Outputs):
    """Codes (B, bits) of pictures, and their labels (B, C)."""

    image: torch.Tensor
    labels: torch.Tensor


class ImageTeacher(NestedMethod[ImageCodes]):
    """Labels act only in S, over pairs of pictures; no label is read as text and no text is read.

        L = mean_ij [ log(1 + e^Theta_ij) - S_ij Theta_ij ] + quantization |sign U - U|^2 + balance |mean U|^2

    over pairs i != j, with Theta = theta / sqrt(bits) · U U'. The difference to `SodaTeacher` is what the
    prompt adds. The text tower stays as it was initialised: the next stage needs one of its own.
    """

    supervised = True

    class Config(NestedConfig):
        """Weights, as in `SodaTeacher`."""

        quantization: float = Field(default=0.05, ge=0)
        balance: float = Field(default=0.05, ge=0)

    config: Config

    def encode_batch(self, batch: Batch) -> ImageCodes:
        """Return the codes of the pictures and their labels."""
        return ImageCodes(self.encoder.embed("image", batch.inputs["image"]), batch.known_labels)

    def code_loss(self, outputs: ImageCodes, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        u = outputs.image
        others = ~torch.eye(len(u), dtype=torch.bool, device=u.device)
        similar = shared_label(outputs.labels, outputs.labels)
        logits = theta(self.encoder.lift, u, u)
        return Losses.weighted(
            monitors=code_monitors(image=u),
            likelihood=(1.0, pairwise_likelihood(logits[others], similar[others])),
            quantization=(self.config.quantization, quantization(u, sign(u))),
            balance=(self.config.balance, bit_balance(u)),
        )
