"""HyCoCLIP (Pal et al. 2025, "Compositional Entailment Learning"): parts are more general than the whole.

docs/papers/hyperbolic.md says what stands for the paper's boxes.
"""

from __future__ import annotations

from limbeck.losses import entailment, info_nce, linear_warmup, row_nce
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Losses, TrainState
from limbeck.methods.monitors import cone_share
from limbeck.methods.parts import PartConfig, PartMethod, PartOutputs


class HyCoClip(PartMethod):
    """E(a, b) = max(0, ext(b, a) - s aper(b)) puts a into the cone of b.

        L = 1/4 [CE(I, T) + CE(T, I) + CE(P, T) + CE(Q, I)]
          + entailment * 1/2 [E(I, T) + E(P, Q) + E(I, P) + E(T, Q)]

    I is a picture, T its text, Q a phrase of T, and P a part of I. CE(a, b) is the cross-entropy of each a
    with its own b by -tau d(a, b). The scale s is ``across`` for a picture in the cone of a text, and
    ``within`` for two points of one modality.
    """

    Config = PartConfig

    def loss(self, outputs: PartOutputs, state: TrainState) -> Losses:
        """Return the loss of the class docstring."""
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        phrase, part = outputs.phrase, outputs.part
        across, within = self.config.across, self.config.within
        logits = lift.logits(image, text)
        parts = row_nce(lift.logits(part, text)) + row_nce(lift.logits(phrase, image))
        order = (
            entailment(lift.cone_excess(text, image, across))
            + entailment(lift.cone_excess(phrase, part, across))
            + entailment(lift.cone_excess(part, image, within))
            + entailment(lift.cone_excess(phrase, text, within))
        )
        warmup = linear_warmup(state.step, state.total_steps, self.config.entailment_warmup)
        return Losses.weighted(
            monitors=batch_accuracy(logits)
            | lift.monitors(image=image, text=text, phrase=phrase, part=part)
            | cone_share(lift.cone_excess(text, image)),
            contrastive=(0.5, info_nce(logits)),
            parts=(0.25, parts),
            entailment=(0.5 * self.config.entailment * warmup, order),
        )
