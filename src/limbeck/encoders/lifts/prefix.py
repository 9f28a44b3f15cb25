"""A model whose codes are the first bits of another model's codes."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from limbeck.encoders.lifts.base import Lift
from limbeck.errors import LimbeckError
from limbeck.typed import Json


class PrefixLift(Lift):
    """The first ``bits`` bits of another lift's codes, equal to the stored ones bit for bit.

    Raises:
        LimbeckError: the lift has no codes, or fewer bits.
    """

    def __init__(self, inner: Lift, bits: int) -> None:
        super().__init__(inner.config, inner.dims)
        if inner.space.storage != "codes":
            raise LimbeckError(
                f"bits: a model in {inner.space.to_json()} has no codes to shorten; remove this option",
                code="E-OPTION-UNUSED",
            )
        self.made_of, self.asymmetric = inner.made_of, inner.asymmetric
        self.inner, self.space, self.dim = inner, cast(Any, inner.space).prefix(bits), bits

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return the first ``bits`` components of the inner embeddings."""
        whole: torch.Tensor = self.inner(features, modality)
        return whole[..., : self.dim]

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the logits of the inner lift at this length."""
        return self.inner.logits(a, b, logit_scale)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the relaxed Hamming distance in bits."""
        return self.inner.distance(a, b) - (self.inner.dim - self.dim) / 2

    def to_storage(self, embeddings: torch.Tensor) -> np.ndarray:
        """Return packed signs, uint8."""
        return self.inner.to_storage(embeddings)

    def head(self, modality: str) -> nn.Module:
        """Return the head of the inner lift."""
        return self.inner.head(modality)

    def describe(self) -> dict[str, Json]:
        """Return the JSON that `lift_from_json` reads."""
        return self.inner.describe() | {"prefix": self.dim}
