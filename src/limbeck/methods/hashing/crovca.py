"""CroVCA (Moummad et al., Cross-View Code Alignment, CVPR Workshops 2026), with and without labels.

With z the numbers of a code before its signs (after a batch normalization, `lift.norm`), u of the picture and
v of the text, and 1[.] a target without gradient:

    L = 1/2 [ BCE(u, 1[v > 0]) + BCE(v, 1[u > 0]) ] + rate 1/2 [ R(u) + R(v) ],    R: `coding_rate`, eps 0.05

With labels another item of the class is the second view: u and v predict bits of an item that shares a label,
drawn from the batch, or of their own pair where there is none. The public code has another form (``view:
mean``): one target for u and v, the mean over the labels of an item of the mean of u and v over the batch's
items with that label, cut at 0; without a label the target stays that of the form without labels.

Values are those of the public code (ilyassmoummad/cross-view-code-alignment).

The paper's views are two crops of one picture, which share one network; here they are picture and text with
a tower each. This omits LoRA tuning of the encoders, the 5 epochs (the recipe's steps), truncated starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch.nn.functional import binary_cross_entropy_with_logits

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.losses import coding_rate, shared_label
from limbeck.methods.base import Embeddings, Losses, Method, TrainState
from limbeck.methods.monitors import code_monitors


@dataclass
class BitLogits(Embeddings):
    """Numbers (B, bits) before tanh of both modalities, and labels (B, C) where they are read."""

    labels: torch.Tensor | None = None


class CroVca(Method[BitLogits]):
    """CroVCA (CVPRW 2026): each modality predicts the other's bits; a coding rate spreads them; no labels."""

    class Config(Strict):
        """Weight of the coding rate, and its eps (the public code: 0.1, 0.05)."""

        rate: float = Field(default=0.1, ge=0)
        eps: float = Field(default=0.05, gt=0)

    config: Config

    def encode_batch(self, batch: Batch) -> BitLogits:
        """Return the numbers before tanh, and labels if the method reads them."""
        towers, lift = self.encoder.towers, self.encoder.lift
        image, text = (lift.bit_logits(towers[m](batch.inputs[m]), m) for m in ("image", "text"))
        return BitLogits(image, text, batch.known_labels if self.supervised else None)

    def targets(self, outputs: BitLogits, state: TrainState) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers (B, bits) whose signs picture and text predict."""
        return outputs.text.detach(), outputs.image.detach()

    def loss(self, outputs: BitLogits, state: TrainState) -> Losses:
        """Return the loss that the docstring of the module defines."""
        u, v = outputs.image, outputs.text
        align = sum(
            binary_cross_entropy_with_logits(z, (target > 0).to(z)) / 2
            for z, target in zip((u, v), self.targets(outputs, state), strict=True)
        )
        spread = (coding_rate(u, self.config.eps) + coding_rate(v, self.config.eps)) / 2
        return Losses.weighted(
            monitors=code_monitors(image=u.tanh(), text=v.tanh()),
            align=(1.0, torch.as_tensor(align)),
            rate=(self.config.rate, spread),
        )


class CroVcaLabels(CroVca):
    """CroVCA (CVPRW 2026) with labels: items of one class predict each other's bits."""

    supervised = True

    class Config(CroVca.Config):
        """``view``: another ``item`` of the class (the paper), or the ``mean`` of its labels (the code)."""

        view: Literal["item", "mean"] = "item"

    config: Config

    def targets(self, outputs: BitLogits, state: TrainState) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers (B, bits) whose signs picture and text predict."""
        for_image, for_text = super().targets(outputs, state)
        assert outputs.labels is not None
        if self.config.view == "item":
            rows = partners(outputs.labels, state.generator())
            return for_image[rows], for_text[rows]
        means, labelled = label_means(for_text, for_image, outputs.labels.to(for_text))
        return torch.where(labelled, means, for_image), torch.where(labelled, means, for_text)


def partners(labels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return for each item the row of another that shares a label (B, C), or its own without one: (B,)."""
    shared = shared_label(labels, labels).cpu().fill_diagonal_(0)
    # The largest of equal draws is uniform among those allowed.
    drawn = ((1 - torch.rand(shared.shape, generator=generator)) * shared).argmax(1)
    rows = torch.where(shared.any(1), drawn, torch.arange(len(shared)))
    return rows.to(labels.device)


def label_means(u: torch.Tensor, v: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each item the mean (B, b) of its labels' means over u and v, and whether it has any (B, 1).

    u and v are (B, b), ``labels`` (B, C) of 0 and 1.
    """
    of_label = labels.T @ (u + v) / (2 * labels.sum(0)[:, None]).clamp(min=1)
    counts = labels.sum(1, keepdim=True)
    return labels @ of_label / counts.clamp(min=1), counts > 0
