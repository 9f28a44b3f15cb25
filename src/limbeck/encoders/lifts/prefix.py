"""The first bits of a model's codes, as a model of its own."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import nn

from limbeck.encoders.lifts.base import Lift
from limbeck.errors import LimbeckError


class PrefixLift(Lift):
    """The first ``bits`` bits of another lift's codes, bit for bit those that it stores.

    Raises:
        LimbeckError: a lift without codes, or of fewer bits.
    """

    def __init__(self, inner: Lift, bits: int) -> None:
        super().__init__(inner.config, inner.dims)
        if inner.space.storage != "codes":
            raise LimbeckError(f"bits: a model in {inner.space.to_json()} has no codes to cut; leave it out")
        self.made_of = inner.made_of
        self.inner, self.space, self.dim = inner, cast(Any, inner.space).prefix(bits), bits

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Its embeddings, cut."""
        whole: torch.Tensor = self.inner(features, modality)
        return whole[..., : self.dim]

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """As the whole lift's, at this length."""
        return self.inner.logits(a, b, logit_scale)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Relaxed Hamming distance, bits."""
        return self.inner.distance(a, b) - (self.inner.dim - self.dim) / 2

    def to_storage(self, embeddings: torch.Tensor) -> np.ndarray:
        """Packed signs, uint8."""
        return self.inner.to_storage(embeddings)

    def head(self, modality: str) -> nn.Module:
        """The whole lift's."""
        return self.inner.head(modality)

    def describe(self) -> dict[str, Any]:
        """JSON that `lift_from_json` reads."""
        return self.inner.describe() | {"prefix": self.dim}
