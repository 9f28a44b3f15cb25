"""CLIP (Radford et al. 2021): symmetric contrastive learning of picture and caption on the sphere."""

from __future__ import annotations

from limbeck.encoders.config import Strict
from limbeck.losses import info_nce
from limbeck.methods.base import Losses, Method, Reps, State, batch_accuracy


class Clip(Method):
    """Pictures and their captions attract, all other pairs of the global batch repel."""

    class Config(Strict):
        """CLIP has nothing to set here; temperature and width belong to the lift."""

    def objective(self, reps: Reps, state: State) -> Losses:
        """InfoNCE both ways."""
        logits = self.encoder.lift.logits(reps["image"], reps["text"])
        return Losses.weighted(
            monitors=batch_accuracy(logits) | self.encoder.lift.monitors(**reps),
            contrastive=(1.0, info_nce(logits)),
        )
