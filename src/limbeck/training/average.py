"""An exponential moving average (EMA) of the trained weights, which validation and the saved model use."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import nn


class WeightAverage:
    """The EMA of parameters: w̄ ← d·w̄ + (1 − d)·w after each step.

    The decay d of step t is min(decay, (1 + t) / (10 + t)), as in TensorFlow and timm, so that a short run
    forgets its first weights. Buffers and frozen weights are not averaged.

    Attributes:
        weights: the averages by the names of the parameters.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], decay: float) -> None:
        self.decay, self.parameters = decay, parameters
        self.weights = {name: p.detach().clone() for name, p in parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the weights after step number ``step``, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, p in self.parameters.items():
            self.weights[name].lerp_(p, 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model hold the averages inside this context; nothing is copied."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def swap(self) -> None:
        """Exchange the averages and the weights of the model."""
        for name, p in self.parameters.items():
            p.data, self.weights[name] = self.weights[name], p.data
