"""UCCH (Hu et al., Unsupervised Contrastive Cross-modal Hashing, TPAMI 2022): no label is read.

Unit vectors u, v of both modalities are contrasted with *binary* codes that a momentum keeps of every
training pair, m = sign(memory); memory <- momentum memory + (1 - momentum) (u + v) / |u + v|, unit length:

    L = alpha [ NCE(u, m) + NCE(v, m) ] + (1 - alpha) R(u v')          NCE at temperature T sqrt(b)

R is a ranking loss over all negatives (`cross_ranking`). Weights are those of the public code: alpha 0.9,
T 0.9, momentum 0.4, 4,096 negatives, margin 0.2, shift 1. In the first epoch a batch's own codes are its
memory.

Its own networks are left out; negatives are drawn once for the whole batch, not for each item.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch.nn import functional as F

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import cross_ranking, memory_contrast
from limbeck.methods.base import Embeddings, Losses, Method, Setup, TrainState
from limbeck.methods.monitors import code_monitors, sign


@dataclass
class UcchOutputs(Embeddings):
    """Relaxed codes (B, bits) and the positions (B,) of the pairs in the training set."""

    rows: torch.Tensor


class Ucch(Method[UcchOutputs]):
    """UCCH (TPAMI 2022): contrast with a binary memory of all pairs, and a ranking; reads no label."""

    memory: torch.Tensor

    class Config(Strict):
        """Values of the public code."""

        contrast: float = Field(default=0.9, ge=0, le=1)
        temperature: float = Field(default=0.9, gt=0)
        momentum: float = Field(default=0.4, ge=0, lt=1)
        negatives: int = Field(default=4096, ge=1)
        margin: float = Field(default=0.2, ge=0)
        shift: float = Field(default=1.0, ge=0)
        warmup_epochs: int = Field(default=1, ge=0)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        self.register_buffer("memory", F.normalize(torch.randn(setup.rows, encoder.lift.dim), dim=1))

    def encode_batch(self, batch: Batch) -> UcchOutputs:
        """Return codes and rows."""
        image, text = (self.encoder.embed(name, batch.inputs[name]) for name in ("image", "text"))
        return UcchOutputs(image, text, batch.rows)

    def loss(self, outputs: UcchOutputs, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        u, v, rows = F.normalize(outputs.image, dim=1), F.normalize(outputs.text, dim=1), outputs.rows
        heat = self.config.temperature * u.shape[1] ** 0.5
        if state.epoch < self.config.warmup_epochs:
            own = sign(u + v)
            others, drawn = own, rows
        else:
            count = min(self.config.negatives, len(self.memory))
            drawn = torch.randint(len(self.memory), (count,), generator=state.generator()).to(rows.device)
            own, others = sign(self.memory[rows]), sign(self.memory[drawn])
        itself = rows[:, None] == drawn
        contrast = sum(
            memory_contrast((x * own).sum(1) / heat, (x @ others.T / heat).masked_fill(itself, -torch.inf))
            for x in (u, v)
        )
        ranking = cross_ranking(u @ v.T, self.config.margin, self.config.shift)
        return Losses.weighted(
            monitors=code_monitors(image=outputs.image, text=outputs.text),
            contrast=(self.config.contrast, u.new_zeros(()) + contrast),
            ranking=(1 - self.config.contrast, ranking),
        )

    @torch.no_grad()
    def after_step(self, outputs: UcchOutputs, state: TrainState) -> None:
        """Move the memory of the batch's pairs towards their mean codes."""
        super().after_step(outputs, state)
        rows = outputs.rows
        mean = F.normalize(F.normalize(outputs.image, dim=1) + F.normalize(outputs.text, dim=1), dim=1)
        keep = 0.0 if state.epoch < self.config.warmup_epochs else self.config.momentum
        self.memory[rows] = F.normalize(keep * self.memory[rows] + (1 - keep) * mean.to(self.memory), dim=1)
