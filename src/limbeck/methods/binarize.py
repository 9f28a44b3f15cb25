"""Codes without labels and without training: sign, PCA or ITQ of the embeddings of an earlier model."""

from __future__ import annotations

import torch

from limbeck.encoders.config import Strict
from limbeck.errors import LimbeckError
from limbeck.losses import info_nce
from limbeck.methods.base import Embeddings, Losses, PairMethod, TrainState
from limbeck.methods.monitors import code_monitors


class Binarize(PairMethod):
    """Fit the ``binary`` lift (sign, PCA or ITQ) to an earlier model's embeddings; trains for 0 steps."""

    needs_features = True

    class Config(Strict):
        """This method has no options: bits and rotation belong to the lift."""

    def prepare(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit the linear map to the training features (N, D) of both modalities."""
        untrained = [m for m, tower in self.encoder.towers.items() if tower.config.hidden]
        if untrained:
            raise LimbeckError(
                f"towers.{untrained[0]}.hidden: method 'binarize' trains nothing; set hidden: []",
                code="E-CONFIG-VALUE",
            )
        self.encoder.lift.fit(features, seed)

    def loss(self, outputs: Embeddings, state: TrainState) -> Losses:
        """Return InfoNCE of the projections, for the log only: nothing here has a gradient."""
        logits = self.encoder.lift.logits(outputs.image, outputs.text)
        monitors = code_monitors(image=outputs.image, text=outputs.text)
        return Losses.weighted(monitors=monitors, contrastive=(1.0, info_nce(logits)))
