"""ARGENT (arXiv 2603.23311): entailment by the exterior angle itself, with a weight that adapts to the pair.

Only the abstract is known to us: the form of the weight and of the regulariser is a reconstruction
(docs/papers/hyperbolic.md says what the paper states and what we chose).
"""

from __future__ import annotations

import math

from pydantic import Field

from limbeck.encoders.config import Strict
from limbeck.losses import adaptive_entailment, info_nce, linear_warmup, radius_floor
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Embeddings, Losses, PairMethod, TrainState
from limbeck.methods.monitors import cone_share


class Argent(PairMethod):
    """A text entails its picture, without a clipped aperture.

        L = InfoNCE(-tau d(image, text)) + entailment * mean w ext(text, image) + norm * R(text)

    with w = d / (d + mean d), without gradient, and R = mean max(0, low - radius(text))², where ``low`` is
    the radius at which MERU's cone becomes a half-space.
    """

    class Config(Strict):
        """Weights of both terms, the warm-up of the first (ours), and the radius below which R acts."""

        entailment: float = Field(default=0.2, ge=0)
        entailment_warmup: float = Field(default=0.0, ge=0, le=1)
        norm: float = Field(default=0.1, ge=0)
        low: float = Field(default=math.asinh(0.2), gt=0)

    def loss(self, outputs: Embeddings, state: TrainState) -> Losses:
        """Return the loss of the class docstring."""
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        logits = lift.logits(image, text)
        angle, distance = lift.exterior_angle(text, image), lift.distance(text, image)
        warmup = linear_warmup(state.step, state.total_steps, self.config.entailment_warmup)
        return Losses.weighted(
            monitors=batch_accuracy(logits)
            | lift.monitors(image=image, text=text)
            | cone_share(lift.cone_excess(text, image)),
            contrastive=(1.0, info_nce(logits)),
            entailment=(self.config.entailment * warmup, adaptive_entailment(angle, distance)),
            norm=(self.config.norm, radius_floor(lift.radius(text), self.config.low)),
        )
