"""ATMG (Ramasinghe et al. 2024, "Accept the Modality Gap"): the exterior angle is the logit.

A text need not lie where its picture lies, only on the way from the origin to it. docs/papers/hyperbolic.md
says what the authors' code does and what we chose.
"""

from __future__ import annotations

from pydantic import Field

from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.losses import linear_warmup, row_nce
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Embeddings, Losses, PairMethod, Setup, TrainState
from limbeck.methods.monitors import cone_share


class Atmg(PairMethod):
    """A text lies on the ray to its picture: the angle at the text is small, that at the picture large.

        L = 1/2 [CE_rows(tau ext(image, text)) + CE_rows(-tau ext(text, image))]
          + entailment * mean [ext(text, image) - ext(image, text)]

    Search and evaluation rank by ext(image, text) - ext(text, image), the sum of both logits (ours): the lift
    needs ``logit: angle``.
    """

    class Config(Strict):
        """Weight of the second term (authors' code: 0.2) and its warm-up (ours)."""

        entailment: float = Field(default=0.2, ge=0)
        entailment_warmup: float = Field(default=0.0, ge=0, le=1)

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        if getattr(encoder.lift.config, "logit", None) != "angle":
            raise LimbeckError(
                "method 'atmg': trains angles, and this lift would rank by another score; set lift.logit: "
                "angle on a lift of kind tangent or polar",
                code="E-CONFIG-VALUE",
            )

    def loss(self, outputs: Embeddings, state: TrainState) -> Losses:
        """Return the loss of the class docstring."""
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        at_image, at_text = lift.pairwise_angle(image, text), lift.pairwise_angle(text, image)
        contrastive = (row_nce(lift.logit_scale * at_image) + row_nce(-lift.logit_scale * at_text)) / 2
        along = (lift.exterior_angle(text, image) - lift.exterior_angle(image, text)).mean()
        warmup = linear_warmup(state.step, state.total_steps, self.config.entailment_warmup)
        nearer = (lift.radius(text) < lift.radius(image)).float().mean()
        return Losses.weighted(
            monitors=batch_accuracy(at_image - at_text.T)
            | lift.monitors(image=image, text=text)
            | cone_share(lift.cone_excess(text, image))
            | {"text_nearer": nearer.detach()},
            contrastive=(1.0, contrastive),
            entailment=(self.config.entailment * warmup, along),
        )
