"""The towers and the lift that MERU, HyCoCLIP and Hyper3-CLIP share: a ViT of timm, and `Lorentz` space."""

from __future__ import annotations

import math
from typing import cast

import torch

from limbeck.encoders.lift_config import TangentConfig
from limbeck.encoders.lifts import MODALITIES, Lift, TangentLift
from limbeck.encoders.lifts.lorentz import TangentHead
from limbeck.preprocess.resize import Preprocessing, Resize

LONGEST = math.asinh(2**15)  # the length of a tangent vector, in units of 1/sqrt(curv), that all three allow
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NO_TOKENIZER = (
    "has no tokenizer beside its weights; copy tokenizer.json of openai/clip-vit-base-patch32 into the folder"
)
_HEADS = {384: 12, 768: 12, 1024: 16}  # MoCo v3's small ViT has 12 heads


def heads_of(width: int) -> int:
    """Return the number of attention heads of a ViT, which its weights do not tell."""
    return _HEADS.get(width, max(1, width // 64))


def squeezed(side: int) -> Preprocessing:
    """Return the preprocessing of the published retrieval figures: both sides resized, ImageNet's colours."""
    return Preprocessing(Resize(side, None, 3), IMAGENET_MEAN, IMAGENET_STD)


@torch.no_grad()
def lorentz(dims: dict[str, int], curv: float, alphas: dict[str, float], scale: float) -> Lift:
    """Return the lift x = exp_map0(alpha f) of tangent features f.

    Args:
        dims: widths of the towers.
        curv: minus the curvature.
        alphas: the factor (not its logarithm) per modality.
        scale: the logit scale (not its logarithm).
    """
    config = TangentConfig(
        dim=dims["image"],
        curv=curv,
        min_curv=min(0.1, curv),
        max_curv=max(10.0, curv),
        max_radius=LONGEST,
        logit_scale=scale,
        max_logit_scale=max(100.0, scale),
    )
    lift = TangentLift(config, dims)
    for modality in MODALITIES:
        lift.start_at_features(modality)
        head = cast("TangentHead", lift.head(modality))
        # Our alpha is at most 1; a step after its last clamp may have left theirs a little above.
        head.log_alpha.fill_(min(0.0, math.log(alphas[modality])))
        head.projection.weight.mul_(max(1.0, alphas[modality]))
    return lift
