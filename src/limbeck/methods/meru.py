"""MERU (Desai et al. 2023): contrastive learning by geodesic distance, and text cones that hold pictures."""

from __future__ import annotations

from pydantic import Field

from limbeck.encoders.config import Strict
from limbeck.losses import entailment, info_nce, ramp
from limbeck.methods.base import Losses, Method, Reps, State, batch_accuracy, cone_share


class Meru(Method):
    """Text entails its picture.

        L = InfoNCE(-tau d(image, text)) + entailment * mean max(0, ext(text, image) - aper(text))

    Lift ``tangent`` is the paper's; ``polar`` is ours. ``entailment_warmup`` is the share of the steps over
    which the weight rises (ours; the paper has 0): from the first step it can pull the texts to the origin.
    """

    class Config(Strict):
        """Weight of the entailment loss (paper: 0.2) and its warm-up."""

        entailment: float = Field(default=0.2, ge=0)
        entailment_warmup: float = Field(default=0.0, ge=0, le=1)

    def objective(self, reps: Reps, state: State) -> Losses:
        """The loss above; without its second term at weight 0 on a lift that has no cones."""
        lift, image, text = self.encoder.lift, reps["image"], reps["text"]
        logits = lift.logits(image, text)
        if not self.config.entailment and not lift.space.has_cones:
            return Losses.weighted(
                monitors=batch_accuracy(logits) | lift.monitors(image=image, text=text),
                contrastive=(1.0, info_nce(logits)),
            )
        excess = lift.cone_excess(text, image)
        weight = self.config.entailment * ramp(state.step, state.total_steps, self.config.entailment_warmup)
        return Losses.weighted(
            monitors=batch_accuracy(logits) | cone_share(excess) | lift.monitors(image=image, text=text),
            contrastive=(1.0, info_nce(logits)),
            entailment=(weight, entailment(excess)),
        )
