"""Codes without labels and without training: sign, PCA or ITQ of the embeddings of a model trained before."""

from __future__ import annotations

import torch

from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError
from limbeck.losses import info_nce
from limbeck.methods.base import Losses, Method, Reps, State, code_monitors


class Binarize(Method):
    """Codes without training, sign, PCA or ITQ of an earlier model; fits the `binary` lift, 0 steps."""

    needs_features = True

    class Config(Strict):
        """Nothing to set: bits and rotation belong to the lift."""

    def prepare(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit the linear map on the training features of both modalities."""
        untrained = [m for m, tower in self.encoder.towers.items() if tower.config.hidden]
        if untrained:
            raise LimbeckError(
                f"towers.{untrained[0]}.hidden: method 'binarize' trains nothing; set hidden: []"
            )
        self.encoder.lift.fit(features, seed)

    def objective(self, reps: Reps, state: State) -> Losses:
        """Contrastive loss of the projections, for the record: nothing here has a gradient."""
        logits = self.encoder.lift.logits(reps["image"], reps["text"])
        return Losses.weighted(monitors=code_monitors(**reps), contrastive=(1.0, info_nce(logits)))
