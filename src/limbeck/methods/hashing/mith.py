"""MITH (Liu et al., Multi-granularity Interactive Transformer Hashing, ACM MM 2023), its global branch.

With F, G (n, b) the codes of the whole training set, B = sign(U + V) and f, g the unit features before the
hash layer:

    L = inter [ NLL(U, G) + NLL(V, F) ] + quantization [ mean |U - B|^2 + mean |V - B|^2 ]
        + contrast InfoNCE(f, g; 0.07),        NLL over Theta = clamp(u v', -64, 64) / 2

Weights 10, 8 and 50 are those of the public code. The first two epochs compare with the batch alone
(`code_buffer`).

This omits the branch of localised tokens (cached features have none) and with it the likelihood within a
modality, the contrast of concepts and the distillation from global to token codes; the residual layers and
the hash layer that both modalities share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch.nn import functional as F

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.losses import info_nce, pairwise_likelihood, quantization, shared_label
from limbeck.methods.base import Losses, Method, Setup, TrainState
from limbeck.methods.hashing.code_buffer import BufferedEmbeddings, CodeBuffer
from limbeck.methods.monitors import code_monitors, sign


@dataclass(kw_only=True)
class MithOutputs(BufferedEmbeddings):
    """Codes, labels and rows, and the unit features (B, width) before the hash layer."""

    rows: torch.Tensor
    image_features: torch.Tensor
    text_features: torch.Tensor


class Mith(Method[MithOutputs]):
    """MITH (MM 2023), its global branch: likelihood against the whole set, contrast of features."""

    supervised = True

    class Config(Strict):
        """Weights and temperature of the public code."""

        inter: float = Field(default=10.0, ge=0)
        quantization: float = Field(default=8.0, ge=0)
        contrast: float = Field(default=50.0, ge=0)
        temperature: float = Field(default=0.07, gt=0)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        widths = {m: tower.dim for m, tower in encoder.towers.items()}
        if widths["image"] != widths["text"]:
            raise LimbeckError(
                f"towers: method 'mith' contrasts features of one width, not {widths['image']} and "
                f"{widths['text']}; end towers.image.hidden and towers.text.hidden alike",
                code="E-CONFIG-VALUE",
            )
        self.buffer = CodeBuffer(setup.rows, encoder.lift.dim, setup.classes)  # F and G

    def encode_batch(self, batch: Batch) -> MithOutputs:
        """Return codes, unit features before the hash layer, labels and rows."""
        image, text = (self.encoder.towers[m](batch.inputs[m]) for m in ("image", "text"))
        return MithOutputs(
            image=self.encoder.lift(image, "image"),
            text=self.encoder.lift(text, "text"),
            labels=batch.known_labels,
            rows=batch.rows,
            image_features=F.normalize(image.float(), dim=1),
            text_features=F.normalize(text.float(), dim=1),
        )

    @torch.no_grad()
    def update_buffers(self, outputs: MithOutputs, state: TrainState) -> None:
        """Write the batch's rows of F and G."""
        self.buffer.write(outputs.rows, outputs.labels, image=outputs.image, text=outputs.text)

    def loss(self, outputs: MithOutputs, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        u, v = outputs.image, outputs.text
        similar = shared_label(outputs.labels, self.buffer.known_labels(outputs.labels, state))
        codes = sign(u + v)
        inter = sum(
            pairwise_likelihood((a @ self.buffer.codes(side, b, state).T).clamp(-64, 64) / 2, similar)
            for a, side, b in ((u, "text", v), (v, "image", u))
        )
        contrast = info_nce(outputs.image_features @ outputs.text_features.T / self.config.temperature)
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v),
            inter=(self.config.inter, u.new_zeros(()) + inter),
            quantization=(self.config.quantization, quantization(u, codes) + quantization(v, codes)),
            contrast=(self.config.contrast, contrast),
        )
