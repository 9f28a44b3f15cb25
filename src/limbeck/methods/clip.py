"""CLIP (Radford et al. 2021): symmetric contrastive learning of picture and caption on the sphere."""

from __future__ import annotations

from limbeck.data.inputs import Input
from limbeck.encoders.config import Strict
from limbeck.losses import info_nce
from limbeck.methods.base import Batch, Losses, Method, Reps, State


class Clip(Method):
    """Pictures and their captions attract, all other pairs of the global batch repel."""

    class Config(Strict):
        """CLIP has nothing to set here; temperature and width belong to the lift."""

    @classmethod
    def inputs(cls, config: Strict) -> dict[str, Input]:
        """A picture and one of its texts."""
        return {"image": Input("image", "image"), "text": Input("text", "text")}

    def represent(self, batch: Batch) -> Reps:
        """Embeddings (B, d) of both."""
        return {name: self.encoder.embed(name, batch[name]) for name in ("image", "text")}

    def objective(self, reps: Reps, state: State) -> Losses:
        """InfoNCE both ways."""
        logits = self.encoder.lift.logits(reps["image"], reps["text"])
        hits = (logits.detach().argmax(1) == logits.new_tensor(range(len(logits)))).float().mean()
        return Losses.weighted(monitors={"batch_accuracy": hits}, contrastive=(1.0, info_nce(logits)))
