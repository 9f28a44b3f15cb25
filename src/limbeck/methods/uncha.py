"""UNCHA (Kim et al. 2026, arXiv 2603.22042): HyCoCLIP's parts, weighted by how well they stand for the whole.

docs/papers/hyperbolic.md says what stands for the paper's boxes.
"""

from __future__ import annotations

import torch
from pydantic import Field

from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lifts.base import LogitScale
from limbeck.losses import calibration, info_nce, linear_warmup, row_nce, softened_entailment, uncertainty
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Losses, Setup, TrainState
from limbeck.methods.monitors import cone_share
from limbeck.methods.parts import PartConfig, PartMethod, PartOutputs


class Uncha(PartMethod):
    """u(x) = softplus(-|x|) is the log uncertainty of a point: large near the origin.

        L = 1/2 [CE(I, T) + CE(T, I)] + 1/2 [CE_l(P, Q) + CE_l(Q, P)] + 1/2 [CE_g(P, T) + CE_g(Q, I)]
          + entailment * { 1/2 [R(I, T) + R(P, Q)] + 1/4 [R(I, P) + R(T, Q)]
                           + calibration * [C(I, P) + C(T, Q)] }

    I is a picture, T its text, Q a phrase of T, and P a part of I. R(a, b) = max(0, ext(b, a) - s aper(b)) +
    slope ext(b, a), with the scales s of HyCoCLIP. C(a, b) = R(a, b) / (2 exp u(b)) + u(b) / 2 + H, where R
    has no gradient and H is the entropy of softmax(u) over the batch. The three contrastive terms have their
    own temperatures; in the third, the logits of a row a are also multiplied by exp(-u(a) / 2), without
    gradient.
    """

    class Config(PartConfig):
        """The weight of C, the slope of R, and the initial scales of the second and third contrastive term
        (authors' code)."""

        calibration: float = Field(default=10.0, ge=0)
        slope: float = Field(default=0.1, ge=0)
        part_scale: float = Field(default=1 / 0.05, gt=0)
        whole_scale: float = Field(default=1 / 0.06, gt=0)

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        self.part_scale, self.whole_scale = LogitScale(), LogitScale()
        self.part_scale.set_temperature(config.part_scale, 100.0)
        self.whole_scale.set_temperature(config.whole_scale, 100.0)

    def after_step(self, outputs: PartOutputs, state: TrainState) -> None:
        """Bring all temperatures back into their bounds."""
        super().after_step(outputs, state)
        self.part_scale.clamp_()
        self.whole_scale.clamp_()

    def loss(self, outputs: PartOutputs, state: TrainState) -> Losses:
        """Return the loss of the class docstring."""
        lift, config, image, text = self.encoder.lift, self.config, outputs.image, outputs.text
        phrase, part = outputs.phrase, outputs.part
        logits = lift.logits(image, text)
        of_part, of_phrase = uncertainty(part), uncertainty(phrase)
        shown_in_part = self._residual(part, image, config.within)
        said_in_phrase = self._residual(phrase, text, config.within)
        across = self._residual(text, image, config.across) + self._residual(phrase, part, config.across)
        calibrated = calibration(shown_in_part, of_part) + calibration(said_in_phrase, of_phrase)
        warmup = linear_warmup(state.step, state.total_steps, config.entailment_warmup)
        weight = config.entailment * warmup
        return Losses.weighted(
            monitors=batch_accuracy(logits)
            | lift.monitors(image=image, text=text, phrase=phrase, part=part)
            | cone_share(lift.cone_excess(text, image)),
            contrastive=(1.0, info_nce(logits)),
            parts=(1.0, info_nce(lift.logits(part, phrase, self.part_scale.logit_scale))),
            whole=(
                0.5,
                self._against_whole(part, of_part, text) + self._against_whole(phrase, of_phrase, image),
            ),
            across=(0.5 * weight, across.mean()),
            within=(0.25 * weight, (shown_in_part + said_in_phrase).mean()),
            calibration=(weight * config.calibration, calibrated),
        )

    def _residual(self, general: torch.Tensor, specific: torch.Tensor, scale: float) -> torch.Tensor:
        """Return R (B,) of the class docstring."""
        lift = self.encoder.lift
        angle, excess = lift.exterior_angle(general, specific), lift.cone_excess(general, specific, scale)
        return softened_entailment(excess, angle, self.config.slope)

    def _against_whole(
        self, parts: torch.Tensor, log_uncertainty: torch.Tensor, wholes: torch.Tensor
    ) -> torch.Tensor:
        """Return CE_g of the class docstring."""
        sharpness = (-log_uncertainty.detach() / 2).exp().unsqueeze(1)
        return row_nce(sharpness * self.encoder.lift.logits(parts, wholes, self.whole_scale.logit_scale))
