"""CMIMH (Hoang et al., Multi-modal Mutual Information Maximization, TNNLS 2021): no label is read.

Bits are Bernoulli, b ~ p = sigmoid(f(x)). A lower bound of three mutual informations is raised, and the gap
between the modalities is closed only a little, since codes that are forced to be equal lose what one modality
alone knows:

    L = -I(b_v; b_t) - intra [ I(b_v; x_v) + I(b_t; x_t) ] + gap (KL(p_v || p_t) + KL(p_t || p_v))

Only the abstract is public to us: the bound (InfoNCE, with a linear critic from inputs x to the code's space)
and all weights are ours. Codes are sampled in training with a straight-through gradient, rounded afterwards.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from limbeck.encoders.config import Strict
from limbeck.losses import bernoulli_gap, info_nce
from limbeck.methods.base import Batch, Losses, Method, Reps, State, code_monitors

SIDES = ("image", "text")


class Cmimh(Method):
    """CMIMH (TNNLS 2021): mutual information of Bernoulli codes and modalities; reads no label."""

    class Config(Strict):
        """Weights and temperature (ours)."""

        intra: float = Field(default=0.5, ge=0)
        gap: float = Field(default=0.01, ge=0)
        temperature: float = Field(default=0.3, gt=0)

    def enrol(self, rows: int, classes: int) -> None:
        """Critics from the inputs of the trunks to the code's space."""
        bits = self.encoder.lift.dim
        self.critics = nn.ModuleDict(
            {m: nn.Linear(tower.backbone.dim, bits) for m, tower in self.encoder.towers.items()}
        )

    def represent(self, batch: Batch) -> Reps:
        """Relaxed codes (B, b) and what the critics make of the inputs, unit vectors (B, b)."""
        reps = {}
        for m in SIDES:
            tower = self.encoder.towers[m]
            inputs = tower.backbone_output(batch[m])
            reps[m] = self.encoder.lift(tower.trunk(inputs), m)
            reps[f"{m}_critic"] = nn.functional.normalize(self.critics[m](inputs.detach()), dim=1)
        return reps

    def objective(self, reps: Reps, state: State) -> Losses:
        """The loss above."""
        draw = state.generator()
        p = {m: (1 + reps[m]) / 2 for m in SIDES}
        b = {m: _sample(p[m], draw) for m in SIDES}
        heat = self.config.temperature
        intra = sum(info_nce(b[m] @ reps[f"{m}_critic"].T / heat) for m in SIDES)
        return Losses.weighted(
            monitors=code_monitors(image=reps["image"], text=reps["text"]),
            cross=(1.0, info_nce(b["image"] @ b["text"].T / heat)),
            intra=(self.config.intra, torch.as_tensor(intra)),
            gap=(self.config.gap, bernoulli_gap(p["image"], p["text"])),
        )


def _sample(p: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Bits of -1 and +1 with probabilities p of +1, of unit length as a row; gradient as if they were p."""
    drawn = torch.rand(p.shape, generator=generator).to(p) < p
    relaxed = 2 * p - 1
    bits = torch.where(drawn, 1.0, -1.0) + relaxed - relaxed.detach()
    return bits / p.shape[1] ** 0.5
