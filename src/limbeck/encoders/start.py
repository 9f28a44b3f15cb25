"""The initial lift of a model whose towers come from a pretrained dual encoder: that encoder's embeddings."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from limbeck.encoders.config import LOGIT_SCALE, ClipImageConfig, ClipTextConfig, SphereConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.pretrained import found
from limbeck.encoders.towers import Tower

_CLIP = (ClipImageConfig, ClipTextConfig)


def with_temperature(config: Any, towers: dict[str, Tower]) -> Any:
    """Set the lift's logit scale, where none is configured, to that of the CLIP model of both towers."""
    if not isinstance(config, SphereConfig) or config.logit_scale is not None:
        return config
    sources = {tower.backbone.embeds() for tower in towers.values()}
    source = sources.pop() if len(sources) == 1 else None
    stored = None
    if source is not None:
        known, place = found(source)
        stored = known.logit_scale(place)
    scale = LOGIT_SCALE if stored is None else stored
    return config.model_copy(
        update={"logit_scale": scale, "max_logit_scale": max(config.max_logit_scale, scale)}
    )


def start_from_sources(encoder: DualEncoder, fresh: Collection[str]) -> list[str]:
    """Start the lift at the embeddings of towers from a pretrained dual encoder.

    A head becomes the identity where the widths allow it. Where they do not, both sides of one source get the
    same random head: into more dimensions an isometry, which keeps every cosine, and into fewer a projection
    with orthonormal rows, which cannot keep them exactly.

    Args:
        encoder: a dual encoder with a lift at its initial weights.
        fresh: the modalities whose lift does not come from an earlier model.

    Returns:
        One line per tower that names its start.
    """
    sources = {m: tower.backbone.embeds() for m, tower in encoder.towers.items()}
    lines = [_started(encoder, modality) for modality in encoder.towers if modality in fresh]
    both = len(set(sources.values())) == 1 and None not in sources.values() and set(sources) <= set(fresh)
    lift = encoder.lift
    if both and all(map(_bare, encoder.towers.values())) and len(set(lift.dims.values())) == 1:
        lift.head("text").load_state_dict(lift.head("image").state_dict())
    return [line for line in lines if line]


def _started(encoder: DualEncoder, modality: str) -> str:
    """Start one side and describe its start; "" for a tower without a source."""
    tower, lift = encoder.towers[modality], encoder.lift
    source, name = tower.backbone.embeds(), f"towers.{modality}"
    if source is None:
        known = tower.backbone.reference() if isinstance(tower.backbone.config, _CLIP) else None
        return "" if known is None else f"{name} starts from {known} without its projection"
    text = f"{name} starts from the {found(source)[0].gives} of {source}"
    if _bare(tower) and lift.start_at_features(modality):
        return text
    if _bare(tower) and lift.matrix(modality) is not None:
        lift.start_at_isometry(modality)
        width = lift.dims[modality]
        way = f"from {width} to {lift.dim} dimensions"
        if lift.dim > width:
            return f"{text}, by a random isometry {way}, which keeps their cosines"
        return (
            f"{text}, by a random projection {way}, which changes their cosines; lift.dim={width} keeps them"
        )
    return f"{text}; what follows them is new"


def _bare(tower: Tower) -> bool:
    return isinstance(tower.trunk, nn.Identity)
