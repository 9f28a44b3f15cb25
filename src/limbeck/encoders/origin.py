"""The floats behind codes, such as embeddings of the teacher, by which hits are re-ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from limbeck.encoders.lifts import MODALITIES, Lift
from limbeck.encoders.towers import Tower
from limbeck.spaces import Kept, Sphere


@dataclass(frozen=True)
class Floats:
    """Where the floats of a dual encoder come from.

    Attributes:
        kept: what the floats are.
        source: ``origin``, an earlier model that both towers read; ``features``, the input of the lift; or
            ``embeddings``, its output.
    """

    kept: Kept
    source: str

    @classmethod
    def of(cls, towers: Mapping[str, Tower], lift: Lift) -> Floats:
        """Choose the floats of towers and a lift.

        A model without codes gives its embeddings in their own space. Where both towers read one unchanged
        earlier model, the floats are its embeddings, compared as that model compares them. Where codes are
        the signs of fitted features, they are these features, compared by cosine. Otherwise they are the
        numbers whose signs are the codes, compared by their inner product as in training.
        """
        if lift.space.storage != "codes":
            return cls(Kept("model", lift.space, lift.dim), "embeddings")
        origin = _shared_origin(towers, lift)
        if origin is not None:
            return cls(Kept("model", origin.space, origin.dim), "origin")
        if lift.made_of == "features":
            width = towers["image"].dim
            return cls(Kept("model", Sphere(width), width), "features")
        return cls(Kept("codes", None, lift.dim), "embeddings")

    def select(
        self, tower: Tower, output: torch.Tensor, features: torch.Tensor, embeddings: torch.Tensor
    ) -> torch.Tensor:
        """Return floats (B, kept.width) from what a tower's backbone, its trunk and the lift gave."""
        if self.source == "origin":
            return tower.backbone.origin_embeddings(output).float()
        return F.normalize(features.float(), dim=-1) if self.source == "features" else embeddings


def _shared_origin(towers: Mapping[str, Tower], lift: Lift) -> Lift | None:
    """Return the lift of the one earlier model that both towers read and leave unchanged."""
    image, text = (towers[modality].backbone.origin for modality in MODALITIES)
    if image is None or text is None or image.space != text.space:
        return None
    trained = not all(tower.config.freeze_backbone for tower in towers.values())
    if trained and lift.made_of != "features":  # a fitted map trains nothing
        return None
    own, other = image.head("image").state_dict(), text.head("image").state_dict()
    same = own.keys() == other.keys() and all(torch.equal(own[name], other[name]) for name in own)
    return image if same else None
