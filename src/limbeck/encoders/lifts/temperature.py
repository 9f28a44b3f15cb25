"""A learnable, capped temperature, as CLIP and MERU have it."""

from __future__ import annotations

import math

import torch
from torch import nn


class LogitScale(nn.Module):
    """Something with a `logit_scale`: exp of a parameter, never above its cap (100 in CLIP and MERU)."""

    max_logit_scale: float

    def set_temperature(self, initial: float, maximum: float) -> None:
        """Create the parameter; ``initial`` and ``maximum`` are inverse temperatures."""
        self.max_logit_scale = maximum
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(initial)))

    @property
    def logit_scale(self) -> torch.Tensor:
        """The temperature's inverse, capped, with gradient."""
        return self.log_logit_scale.exp().clamp(max=self.max_logit_scale)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Cap the parameter, so that it does not run away unseen above its cap."""
        self.log_logit_scale.clamp_(max=math.log(self.max_logit_scale))
