"""CMIMH (Hoang et al., Multi-modal Mutual Information Maximization, TNNLS 2021): no label is read.

Bits are Bernoulli, b ~ p = sigmoid(f(x)). A lower bound of three mutual informations is raised, and the gap
between the modalities is closed only a little, since codes that are forced to be equal lose what one modality
alone knows:

    L = -I(b_v; b_t) - intra [ I(b_v; x_v) + I(b_t; x_t) ] + gap (KL(p_v || p_t) + KL(p_t || p_v))

Only the abstract is public to us: the bound (InfoNCE, with a linear critic from inputs x to the code's space)
and all weights are ours. Codes are sampled in training with a straight-through gradient, rounded afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import nn

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import info_nce, symmetric_bernoulli_kl
from limbeck.methods.base import Embeddings, Losses, Method, Setup, TrainState
from limbeck.methods.monitors import code_monitors

SIDES = ("image", "text")


@dataclass
class CmimhOutputs(Embeddings):
    """Relaxed codes (B, bits), and the critics' unit vectors (B, bits) for both inputs."""

    image_critic: torch.Tensor
    text_critic: torch.Tensor


class Cmimh(Method[CmimhOutputs]):
    """CMIMH (TNNLS 2021): mutual information of Bernoulli codes and modalities; reads no label."""

    class Config(Strict):
        """Weights and temperature (ours)."""

        intra: float = Field(default=0.5, ge=0)
        gap: float = Field(default=0.01, ge=0)
        temperature: float = Field(default=0.3, gt=0)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        bits = encoder.lift.dim
        self.critics = nn.ModuleDict(
            {m: nn.Linear(tower.backbone.dim, bits) for m, tower in encoder.towers.items()}
        )

    def encode_batch(self, batch: Batch) -> CmimhOutputs:
        """Return relaxed codes (B, bits) and the critics' outputs, unit vectors (B, bits)."""
        codes, critics = [], []
        for m in SIDES:
            tower = self.encoder.towers[m]
            inputs = tower.backbone_output(batch.inputs[m])
            codes.append(self.encoder.lift(tower.trunk(inputs), m))
            critics.append(nn.functional.normalize(self.critics[m](inputs.detach()), dim=1))
        return CmimhOutputs(*codes, *critics)

    def loss(self, outputs: CmimhOutputs, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        draw, heat = state.generator(), self.config.temperature
        p_image, p_text = (1 + outputs.image) / 2, (1 + outputs.text) / 2
        b_image, b_text = sample_bits(p_image, draw), sample_bits(p_text, draw)
        intra = info_nce(b_image @ outputs.image_critic.T / heat) + info_nce(
            b_text @ outputs.text_critic.T / heat
        )
        return Losses.weighted(
            monitors=code_monitors(image=outputs.image, text=outputs.text),
            cross=(1.0, info_nce(b_image @ b_text.T / heat)),
            intra=(self.config.intra, torch.as_tensor(intra)),
            gap=(self.config.gap, symmetric_bernoulli_kl(p_image, p_text)),
        )


def sample_bits(p: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw bits of -1 and +1 with probabilities p (B, b) of +1; rows have unit length.

    The gradient is straight-through: that of 2p - 1, in the same scale.
    """
    drawn = torch.rand(p.shape, generator=generator).to(p) < p
    relaxed = 2 * p - 1
    bits = torch.where(drawn, 1.0, -1.0) + relaxed - relaxed.detach()
    return bits / p.shape[1] ** 0.5
