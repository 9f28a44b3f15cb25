"""The exponential moving average (EMA) of a module's weights."""

from __future__ import annotations

import copy
import math

import torch
from torch import nn


class MovingAverage(nn.Module):
    """The EMA of a module's trainable weights; buffers and frozen weights are copied.

    The momentum rises from ``start`` to 1 along a cosine, as in BYOL and A-CLIP.
    """

    def __init__(self, module: nn.Module, start: float = 0.996) -> None:
        super().__init__()
        self.start = start
        self.module = copy.deepcopy(module).requires_grad_(False)

    def train(self, mode: bool = True) -> MovingAverage:
        """Stay in evaluation mode: a target has no dropout."""
        return super().train(False)

    def momentum(self, share: float) -> float:
        """Return the momentum after a ``share`` of the steps."""
        return 1 - (1 - self.start) * (math.cos(math.pi * share) + 1) / 2

    @torch.no_grad()
    def update(self, module: nn.Module, share: float) -> None:
        """Move the average by one step towards the module."""
        momentum = self.momentum(share)
        for own, new in zip(self.module.parameters(), module.parameters(), strict=True):
            if new.requires_grad:
                own.lerp_(new.detach(), 1 - momentum)
        for kept, now in zip(self.module.buffers(), module.buffers(), strict=True):
            kept.copy_(now)
