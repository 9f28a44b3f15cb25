"""MERU (Desai et al. 2023): contrastive learning by geodesic distance, and text cones that hold pictures."""

from __future__ import annotations

from pydantic import Field

from limbeck.encoders.config import Strict
from limbeck.losses import entailment, info_nce, linear_warmup
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Embeddings, Losses, PairMethod, TrainState
from limbeck.methods.monitors import cone_share


class Meru(PairMethod):
    """A text entails its picture.

        L = InfoNCE(-tau d(image, text)) + entailment * mean max(0, ext(text, image) - aper(text))

    The lift ``tangent`` is the paper's; ``polar`` is ours. The entailment weight rises over the first
    ``entailment_warmup`` share of the steps (ours; the paper has 0), because from the first step on it can
    pull the texts to the origin.
    """

    class Config(Strict):
        """Weight of the entailment loss (paper: 0.2) and its warm-up."""

        entailment: float = Field(default=0.2, ge=0)
        entailment_warmup: float = Field(default=0.0, ge=0, le=1)

    def loss(self, outputs: Embeddings, state: TrainState) -> Losses:
        """Return the loss of the class docstring; without cones its second term must have weight 0."""
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        logits = lift.logits(image, text)
        monitors = batch_accuracy(logits) | lift.monitors(image=image, text=text)
        if not self.config.entailment and not lift.space.has_cones:
            return Losses.weighted(monitors=monitors, contrastive=(1.0, info_nce(logits)))
        excess = lift.cone_excess(text, image)
        warmup = linear_warmup(state.step, state.total_steps, self.config.entailment_warmup)
        return Losses.weighted(
            monitors=monitors | cone_share(excess),
            contrastive=(1.0, info_nce(logits)),
            entailment=(self.config.entailment * warmup, entailment(excess)),
        )
