"""Masked reconstruction: the decoder, its target, and what cannot be masked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from limbeck.data.batches import Batch
from limbeck.encoders.backbone import Backbone
from limbeck.encoders.decoder import PatchDecoder
from limbeck.encoders.inputs import raw
from limbeck.encoders.masking import kept
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError
from limbeck.losses import resample_grid
from limbeck.methods.hmid_net.config import HmidNetConfig
from limbeck.methods.hmid_net.teacher import EmaOutputs

if TYPE_CHECKING:
    from limbeck.methods.hmid_net.method import HmidNet


def build_decoder(config: HmidNetConfig, tower: Tower) -> PatchDecoder:
    """Return the light decoder over a tower's tokens, which predicts features or the pixels of a patch."""
    return PatchDecoder(
        tower.dim,
        math.isqrt(tower.backbone.patches),
        decoder_width=config.decoder_width,
        layers=config.decoder_layers,
        heads=config.decoder_width // 32,
        out=tower.backbone.tile if config.target == "pixels" else None,
    )


def check_maskable(backbone: Backbone, ratio: float) -> None:
    """Raise `LimbeckError` where a mask would have nothing to leave out."""
    if not backbone.maskable:
        fault = f"the image tower reads {backbone.reads} and cannot leave patches out"
    elif backbone.frozen:
        fault = "the image tower's backbone is frozen and always sees the whole picture"
    elif kept(backbone.patches, ratio) == backbone.patches:
        fault = f"mask.ratio {ratio:g} drops not one of {backbone.patches} patches"
    else:
        return
    raise LimbeckError(
        f"method 'hmid-net': {fault}; set mask.ratio: 0 and target: none", code="E-CONFIG-VALUE"
    )


def check_in_place(backbone: Backbone) -> None:
    """Raise `LimbeckError` for an augmentation that moves the student's patches away from the teacher's."""
    augment = getattr(backbone, "augment", None)
    if augment is not None and not augment.keeps_place:
        raise LimbeckError(
            "method 'hmid-net': crops and mirror images move the patches away from the teacher's; set "
            "towers.image.backbone.augment: {crop: [1.0, 1.0], jitter: 0.2}, or target: ema",
            code="E-CONFIG-VALUE",
        )


def patch_target(method: HmidNet, batch: Batch, average: EmaOutputs | None) -> torch.Tensor:
    """Return what the decoder should predict: points (B, patches, d), or pixels (B, patches, n)."""
    backbone, lift = method.encoder.towers["image"].backbone, method.encoder.lift
    if method.config.target == "pixels":
        return backbone.tiles(raw(batch.inputs["image"]))
    if average is not None and "teacher_patches" not in batch.inputs:
        return lift.from_tangent(average.tangent[:, 1:])
    teacher = resample_grid(method.teacher_output("teacher_patches", batch), backbone.patches)
    # The projection learns by distillation alone: a target must not move towards its own prediction.
    return lift.from_tangent(method.projection(teacher).detach())
