"""LCDH (Li et al., Lightweight Contrastive Distilled Hashing, AAAI 2025), in its style.

A teacher sees picture and text together: both features become two tokens X = ReLU(linear), and its codes are
Z = tanh(linear(norm(mean of X + attention(X)))). The student's towers see one modality each, and match the
teacher's matrix of similarities, which gets no gradient from them:

    L_teacher = NLL(Z, Z) + quantization |sign Z - Z|^2
    L_student = distil sum over (u,v), (u,u), (v,v) of mean (cos(a, b) - cos(Z, Z))^2
                + contrast InfoNCE(cos(u, v) / temperature) + quantization (|sign Z - U|^2 + |sign Z - V|^2)

What is public to us (abstract, introduction) names fusion, attention, layer to codes and the matching of
similarity matrices; which losses train the teacher, the contrast's place and all weights are ours. The
teacher leads for a while: the student's weight rises over ``lead`` of the steps.

This omits the online setting (data in rounds) and the lighter backbones of the student.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import nn

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import (
    cosine,
    info_nce,
    linear_warmup,
    pairwise_likelihood,
    quantization,
    shared_label,
    similarity_mse,
)
from limbeck.methods.base import LabeledEmbeddings, Losses, Method, Setup, TrainState
from limbeck.methods.monitors import code_monitors, sign
from limbeck.methods.soda import theta

SIDES = ("image", "text")
HEADS = 4


@dataclass
class LcdhOutputs(LabeledEmbeddings):
    """Codes of both students, labels, and the fused teacher's codes (B, bits)."""

    teacher: torch.Tensor


class Lcdh(Method[LcdhOutputs]):
    """LCDH (AAAI 2025) in style: the similarity matrix of a fused teacher is matched."""

    supervised = True

    class Config(Strict):
        """Weights (ours); ``width`` is that of the teacher's tokens."""

        width: int = Field(default=256, ge=4, multiple_of=4)
        distil: float = Field(default=4.0, ge=0)
        contrast: float = Field(default=0.1, ge=0)
        temperature: float = Field(default=0.2, gt=0)
        quantization: float = Field(default=0.05, ge=0)
        lead: float = Field(default=0.2, ge=0, le=1)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        width = config.width
        self.tokens = nn.ModuleDict(
            {m: nn.Linear(tower.backbone.dim, width) for m, tower in encoder.towers.items()}
        )
        self.attention = nn.MultiheadAttention(width, HEADS, batch_first=True)
        self.fused = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, encoder.lift.dim), nn.Tanh())

    def encode_batch(self, batch: Batch) -> LcdhOutputs:
        """Return the codes of both students (B, bits) and of the teacher."""
        codes, tokens = {}, []
        for m in SIDES:
            tower = self.encoder.towers[m]
            inputs = tower.backbone_output(batch.inputs[m])
            codes[m] = self.encoder.lift(tower.trunk(inputs), m)
            tokens.append(torch.relu(self.tokens[m](inputs.detach())))
        pair = torch.stack(tokens, 1)
        attended, _ = self.attention(pair, pair, pair, need_weights=False)
        teacher = self.fused((pair + attended).mean(1))
        return LcdhOutputs(codes["image"], codes["text"], batch.known_labels, teacher)

    def loss(self, outputs: LcdhOutputs, state: TrainState) -> Losses:
        """Return the losses that the docstring of the class defines."""
        u, v, z = outputs.image, outputs.text, outputs.teacher
        similar = shared_label(outputs.labels, outputs.labels)
        codes, matrix, config = sign(z), cosine(z, z), self.config
        rising = linear_warmup(state.step, state.total_steps, config.lead)
        gaps = sum(similarity_mse(cosine(a, b), matrix) for a, b in ((u, v), (u, u), (v, v)))
        spread = quantization(z, codes) + rising * (quantization(u, codes) + quantization(v, codes))
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v, teacher=z),
            teacher=(1.0, pairwise_likelihood(theta(self.encoder.lift, z, z), similar)),
            distil=(config.distil * rising, u.new_zeros(()) + gaps),
            contrast=(config.contrast * rising, info_nce(cosine(u, v) / config.temperature)),
            quantization=(config.quantization, spread),
        )
