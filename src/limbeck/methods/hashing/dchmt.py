"""DCHMT (Tu et al., Differentiable Cross-modal Hashing via Multimodal Transformers, ACM MM 2022).

Each bit is a softmax over a pair of logits, and codes are compared by Euclidean distance: with similar pairs
at 0 and others held at sqrt(2 b vartheta) or more, between and within the modalities,

    L = D(U, V) + D(U, U) + D(V, V) + alpha (1 - mean U^2 + 1 - mean V^2) / 2        (`distance_margin`)

The softmax pair (p, 1 - p) is our relaxed bit: 2p - 1 = tanh of half the difference of its logits. Weights
and form are those of the public code (kalenforn/clip-based-cross-modal-hash, class DCMHT).

This omits the transformer head over CLIP's tokens; CLIP towers are a matter of the recipe.
"""

from __future__ import annotations

from pydantic import Field

from limbeck.encoders.config import Strict
from limbeck.losses import distance_margin, shared_label, softness
from limbeck.methods.base import LabeledEmbeddings, Losses, SupervisedMethod, TrainState
from limbeck.methods.monitors import code_monitors


class Dchmt(SupervisedMethod):
    """DCHMT (MM 2022): Euclidean distances of codes with a margin, between and within modalities."""

    class Config(Strict):
        """vartheta and alpha (the public code: 0.75 and 0.001)."""

        share: float = Field(default=0.75, gt=0, le=1)
        quantization: float = Field(default=0.001, ge=0)

    def loss(self, outputs: LabeledEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        u, v, share = outputs.image, outputs.text, self.config.share
        similar = shared_label(outputs.labels, outputs.labels)
        within = distance_margin(u, u, similar, share) + distance_margin(v, v, similar, share)
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v),
            between=(1.0, distance_margin(u, v, similar, share)),
            within=(1.0, within),
            quantization=(self.config.quantization, (softness(u) + softness(v)) / 2),
        )
