"""A pretrained CLIP of `transformers` as a `DualEncoder` on the sphere."""

from __future__ import annotations

import torch

from limbeck.encoders.config import ClipImageConfig, ClipTextConfig, SphereConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.hub import pretrained
from limbeck.encoders.lifts import SphereLift
from limbeck.encoders.towers import Tower


def load_clip(source: str) -> DualEncoder:
    """Load both towers before their projections, with the projections as the lift's heads and CLIP's logit
    scale."""
    from transformers import CLIPModel

    clip = pretrained(CLIPModel, source)
    image = Tower(TowerConfig(backbone=ClipImageConfig(source=source, projection=False)), "image")
    text = Tower(TowerConfig(backbone=ClipTextConfig(source=source, projection=False)), "text")
    scale = float(clip.logit_scale.detach().exp())
    config = SphereConfig(
        dim=clip.config.projection_dim, logit_scale=scale, max_logit_scale=max(100.0, scale)
    )
    lift = SphereLift(config, {"image": image.dim, "text": text.dim})
    with torch.no_grad():
        lift.heads["image"].weight.copy_(clip.visual_projection.weight)
        lift.heads["text"].weight.copy_(clip.text_projection.weight)
    return DualEncoder(image, text, lift).eval().requires_grad_(False)
