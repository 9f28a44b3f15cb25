"""Hyper3-CLIP (arXiv 2608.29313): a phrase entails its caption, and the part of the picture that it names.

The phrases come from the captions by rule (`limbeck.data.caption_chains`), so that no boxes are needed. The
visual node of a phrase exists in training only. docs/papers/hyperbolic.md says what we left out.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.inputs import raw
from limbeck.errors import LimbeckError
from limbeck.losses import entailment, info_nce, linear_warmup
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Losses, Method, Setup, TrainState
from limbeck.methods.monitors import cone_share
from limbeck.methods.parts import PartOutputs


class Pooling(nn.Module):
    """The patch tokens that a phrase attends to, as one vector: cross-attention with the phrase as query."""

    def __init__(self, text_dim: int, dim: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Linear(text_dim, dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, phrase: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Map phrases (B, text_dim) and patch tokens (B, K, dim) to (B, dim)."""
        query = self.query(phrase).unsqueeze(1)
        seen, _ = self.attention(query, patches, patches, need_weights=False)
        pooled: torch.Tensor = self.norm(seen.squeeze(1))
        return pooled


class Hyper3(Method[PartOutputs]):
    """E(a, b) = max(0, ext(b, a) - s aper(b)) puts a into the cone of b.

        L = InfoNCE(-tau d(I, T)) + entailment * [E(I, T) + phrase * (E(P, Q) + E(I, P) + E(T, Q))]

    I is a picture, T its text, Q a phrase of T, and P what Q shows: pooled patch tokens of the picture. The
    scale s is ``across`` for a picture in the cone of a text, and ``within`` for two points of one modality.
    """

    class Config(Strict):
        """The weights and scales of the paper, and the warm-up of the entailment (ours)."""

        entailment: float = Field(default=0.2, ge=0)
        entailment_warmup: float = Field(default=0.0, ge=0, le=1)
        phrase: float = Field(default=0.5, ge=0)
        across: float = Field(default=0.7, gt=0)
        within: float = Field(default=1.2, gt=0)
        heads: int = Field(default=4, ge=1)

    @classmethod
    def inputs(cls, config: Config) -> dict[str, Input]:
        """Return a picture, its text, and a phrase of that text."""
        return super().inputs(config) | {"phrase": Input("phrase", "text")}

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        image, text = encoder.towers["image"], encoder.towers["text"]
        if not image.backbone.patches or image.backbone.frozen:
            raise LimbeckError(
                f"method 'hyper3': the image tower reads {image.backbone.reads} and trains no patches; "
                "use a tower on pixels (clip_image) that is not frozen",
                code="E-CONFIG-VALUE",
            )
        self.pooling = Pooling(text.dim, image.dim, config.heads)

    def encode_batch(self, batch: Batch) -> PartOutputs:
        """Return the embeddings (B, dim) of picture, text, phrase and part."""
        tower, lift = self.encoder.towers["image"], self.encoder.lift
        tokens = tower.tokens(raw(batch.inputs["image"]))
        phrase = self.encoder.towers["text"](batch.inputs["phrase"])
        return PartOutputs(
            image=lift(tokens[:, 0], "image"),
            text=self.encoder.embed("text", batch.inputs["text"]),
            phrase=lift(phrase, "text"),
            part=lift(self.pooling(phrase, tokens[:, 1:]), "image"),
        )

    def loss(self, outputs: PartOutputs, state: TrainState) -> Losses:
        """Return the loss of the class docstring."""
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        phrase, part = outputs.phrase, outputs.part
        across, within = self.config.across, self.config.within
        logits = lift.logits(image, text)
        order = (
            entailment(lift.cone_excess(phrase, part, across))
            + entailment(lift.cone_excess(part, image, within))
            + entailment(lift.cone_excess(phrase, text, within))
        )
        warmup = linear_warmup(state.step, state.total_steps, self.config.entailment_warmup)
        weight = self.config.entailment * warmup
        return Losses.weighted(
            monitors=batch_accuracy(logits)
            | lift.monitors(image=image, text=text, phrase=phrase, part=part)
            | cone_share(lift.cone_excess(text, image)),
            contrastive=(1.0, info_nce(logits)),
            entailment=(weight, entailment(lift.cone_excess(text, image, across))),
            phrases=(weight * self.config.phrase, order),
        )
