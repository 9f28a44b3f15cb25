"""Unit vectors and their cosine: CLIP's space."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from limbeck.encoders.lift_config import LOGIT_SCALE, SphereConfig
from limbeck.encoders.lifts.base import Lift, LogitScale, linear_heads
from limbeck.spaces import Sphere


class SphereLift(LogitScale, Lift):
    """Linear projection without bias, unit length, learnable temperature (CLIP)."""

    has_tangent = True
    is_unit_linear = True

    def __init__(self, config: SphereConfig, dims: dict[str, int]) -> None:
        scale = LOGIT_SCALE if config.logit_scale is None else config.logit_scale
        super().__init__(config.model_copy(update={"logit_scale": scale}), dims)
        self.dim, self.space = config.dim, Sphere(config.dim)
        self.heads = linear_heads(dims, config.dim, bias=False)
        for m, head in self.heads.items():
            nn.init.normal_(head.weight, std=dims[m] ** -0.5)
        self.set_temperature(scale, config.max_logit_scale)

    def matrix(self, modality: str) -> nn.Linear | None:
        """Return the whole head."""
        return self.heads[modality]

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return unit vectors."""
        return F.normalize(self.heads[modality](features).float(), dim=-1)

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the scaled cosine."""
        return (self.logit_scale if logit_scale is None else logit_scale) * (a @ b.T)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return 1 - cosine."""
        return 1 - (a * b).sum(-1)

    def to_tangent(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the unit vectors unchanged."""
        return embeddings

    def from_tangent(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the directions of the vectors; a radius has no meaning here."""
        return F.normalize(vectors.float(), dim=-1)

    def monitors(self, **embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logit scale."""
        return {"logit_scale": self.logit_scale.detach()}
