"""What HyCoCLIP and UNCHA read: a picture, its text, a phrase of the text, and a part of the picture.

Their boxes and box texts are a random part of the picture and a phrase of the caption by rule here
(docs/papers/hyperbolic.md): no data set in use has boxes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field, model_validator

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.methods.base import Embeddings, Method, Setup

Share = Annotated[float, Field(gt=0, le=1)]


@dataclass
class PartOutputs(Embeddings):
    """Embeddings (B, dim) of pictures and texts, of a phrase of each text, and of a part of each picture."""

    phrase: torch.Tensor
    part: torch.Tensor


class PartConfig(Strict):
    """The weight of the entailment (both papers: 0.2) and its warm-up (ours); factors of the aperture across
    modalities and within one; the smallest and the largest part, as shares of the picture's area (ours)."""

    entailment: float = Field(default=0.2, ge=0)
    entailment_warmup: float = Field(default=0.0, ge=0, le=1)
    across: float = Field(default=0.7, gt=0)
    within: float = Field(default=1.2, gt=0)
    part: list[Share] = Field(default=[0.2, 0.5], min_length=2, max_length=2)

    @model_validator(mode="after")
    def _ordered(self) -> PartConfig:
        if self.part[0] > self.part[1]:
            raise ValueError("part: needs two shares of the area, min <= max")
        return self


class PartMethod(Method[PartOutputs]):
    """A method that reads a picture, its text, a phrase and a part, and no labels."""

    @classmethod
    def inputs(cls, config: Any) -> dict[str, Input]:
        """Return a picture, its text, a phrase of that text, and a part of the picture."""
        low, high = config.part
        parts = {"phrase": Input("phrase", "text"), "part": Input("image", "image", part=(low, high))}
        return super().inputs(config) | parts

    def __init__(self, encoder: DualEncoder, config: Strict, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        backbone = encoder.towers["image"].backbone
        if backbone.reads != "pixels" or backbone.frozen:
            raise LimbeckError(
                f"{type(self).__name__}: shows parts of pictures, and the image tower reads {backbone.reads} "
                "or is frozen; use a tower on pixels (clip_image) that is not frozen",
                code="E-CONFIG-VALUE",
            )

    def encode_batch(self, batch: Batch) -> PartOutputs:
        """Return the embeddings (B, dim) of picture, text, phrase and part."""
        embed, inputs = self.encoder.embed, batch.inputs
        return PartOutputs(
            image=embed("image", inputs["image"]),
            text=embed("text", inputs["text"]),
            phrase=embed("text", inputs["phrase"]),
            part=embed("image", inputs["part"]),
        )
