"""CLIP (Radford et al. 2021): symmetric contrastive learning of pictures and captions on the sphere."""

from __future__ import annotations

from limbeck.encoders.config import Strict
from limbeck.losses.contrastive import batch_accuracy, info_nce
from limbeck.methods.base import Embeddings, Losses, PairMethod, TrainState


class Clip(PairMethod):
    """Matched pictures and captions attract, all other pairs of the global batch repel: L = InfoNCE."""

    class Config(Strict):
        """CLIP has no options of its own: temperature and width belong to the lift."""

    def loss(self, outputs: Embeddings, state: TrainState) -> Losses:
        """Return InfoNCE, averaged over both directions (CLIP, fig. 3)."""
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        logits = lift.logits(image, text)
        return Losses.weighted(
            monitors=batch_accuracy(logits) | lift.monitors(image=image, text=text),
            contrastive=(1.0, info_nce(logits)),
        )
