"""Flat space with minus the squared Euclidean distance as the logit (EuCLIP, Chou & Alam 2024)."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from limbeck.encoders.lift_config import EuclidConfig
from limbeck.encoders.lifts.base import MODALITIES, Lift, LogitScale
from limbeck.encoders.lifts.lorentz import TangentHead
from limbeck.spaces import Euclid

_SMALL = 1e-14  # the least squared distance under the root


class EuclidLift(LogitScale, Lift):
    """MERU's tangent vector alpha W f without the exponential map: `tangent` without curvature (ours)."""

    config: EuclidConfig
    has_tangent = True

    def __init__(self, config: EuclidConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim, self.space = config.dim, Euclid(config.dim)
        self.heads = nn.ModuleDict({m: TangentHead(dims[m], config.dim) for m in MODALITIES})
        self.set_temperature(config.logit_scale, config.max_logit_scale)

    def matrix(self, modality: str) -> nn.Linear | None:
        """Return the projection; its scale alpha is kept."""
        return cast("TangentHead", self.heads[modality]).projection

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return vectors of any length."""
        vectors: torch.Tensor = self.heads[modality](features)
        return vectors

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return minus the scaled squared distance."""
        squared = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
        return -(self.logit_scale if logit_scale is None else logit_scale) * squared

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the Euclidean distance; at a = b it is 1e-7 and its gradient 0."""
        return (a - b).square().sum(-1).clamp_min(_SMALL).sqrt()

    def to_tangent(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the vectors unchanged."""
        return embeddings

    def from_tangent(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return the vectors unchanged, in float32."""
        return vectors.float()

    @torch.no_grad()
    def monitors(self, **embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the logit scale and the mean length per modality."""
        lengths = {f"length/{name}": points.norm(dim=-1).mean() for name, points in embeddings.items()}
        return {"logit_scale": self.logit_scale.clone(), **lengths}

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the scales alpha too: above its bound a parameter has no gradient and would stay there."""
        super().clamp_()
        for head in self.heads.values():
            cast("TangentHead", head).log_alpha.clamp_(max=0)
