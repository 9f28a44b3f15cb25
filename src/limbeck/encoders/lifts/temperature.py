"""A learnable, capped logit scale, as in CLIP and MERU."""

from __future__ import annotations

import math

import torch
from torch import nn


class LogitScale(nn.Module):
    """A module with a `logit_scale`: the exponential of a parameter, capped (at 100 in CLIP and MERU)."""

    max_logit_scale: float
    has_logit_scale = True

    def set_temperature(self, initial: float, maximum: float) -> None:
        """Create the parameter; ``initial`` and ``maximum`` are logit scales (inverse temperatures)."""
        self.max_logit_scale = maximum
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(initial)))

    @property
    def logit_scale(self) -> torch.Tensor:
        """The inverse temperature, capped, with gradient."""
        return self.log_logit_scale.exp().clamp(max=self.max_logit_scale)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Cap the parameter, so that it does not grow without effect above its cap."""
        self.log_logit_scale.clamp_(max=math.log(self.max_logit_scale))
