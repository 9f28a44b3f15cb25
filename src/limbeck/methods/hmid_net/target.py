"""The masked half: what the decoder predicts, and what cannot be masked."""

from __future__ import annotations

import math

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.decoder import PatchDecoder
from limbeck.encoders.masking import kept
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.methods.hmid_net.config import HmidNetConfig


def build_decoder(config: HmidNetConfig, tower: Tower) -> PatchDecoder:
    """The light decoder over a tower's tokens, for features or for the numbers of a patch."""
    return PatchDecoder(
        tower.dim,
        math.isqrt(tower.backbone.patches),
        decoder_width=config.decoder_width,
        layers=config.decoder_layers,
        heads=config.decoder_width // 32,
        out=tower.backbone.tile if config.target == "pixels" else None,
    )


def check_maskable(backbone: Backbone, ratio: float) -> None:
    """Refuse a mask where there is nothing to leave out."""
    if not backbone.patches:
        fault = f"the image tower reads {backbone.reads} and has no patches to mask"
    elif backbone.frozen:
        fault = "the image tower's backbone is frozen and always sees the whole picture"
    elif kept(backbone.patches, ratio) == backbone.patches:
        fault = f"mask.ratio {ratio:g} drops not one of {backbone.patches} patches"
    else:
        return
    raise LimbeckError(f"method 'hmid-net': {fault}; set mask.ratio: 0 and target: none")


def check_in_place(backbone: Backbone) -> None:
    """Refuse an augmentation under which the student's patches are not where the teacher's are."""
    augment = getattr(backbone, "augment", None)
    if augment is not None and not augment.keeps_place:
        raise LimbeckError(
            "method 'hmid-net': crops and mirror images move the patches away from the teacher's; set "
            "towers.image.backbone.augment: {crop: [1.0, 1.0], jitter: 0.2}, or target: ema"
        )
