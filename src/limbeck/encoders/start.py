"""The start of a model from pretrained towers: its lift, and what of them is kept and what is new."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import LOGIT_SCALE, SourceLiftConfig, SphereConfig
from limbeck.encoders.lifts import Lift, build_lift
from limbeck.encoders.pretrained import Format, found
from limbeck.encoders.towers import Tower
from limbeck.errors import LimbeckError


def initial_lift(config: object, towers: dict[str, Tower]) -> Lift:
    """Build the lift of a recipe; the kind ``source`` gives that of the model that both towers come from.

    A sphere without a logit scale takes that of this model, too.

    Raises:
        LimbeckError: the kind is ``source``, but the towers have no common model, or have hidden layers.
    """
    dims = {modality: tower.dim for modality, tower in towers.items()}
    if not isinstance(config, SourceLiftConfig):
        return build_lift(_with_temperature(config, towers), dims)
    sources = {tower.backbone.reference() for tower in towers.values()}
    source = sources.pop() if len(sources) == 1 else None
    if source is None or not all(map(_bare, towers.values())):
        raise LimbeckError(
            "lift.kind: source is the lift of one pretrained model; "
            "give both towers its source, and no hidden layers or norm",
            code="E-CONFIG-VALUE",
        )
    known, place = found(source)
    if known.projects or all(tower.backbone.embeds() is None for tower in towers.values()):
        return known.lift(place, dims)
    return Format.lift(known, place, dims)  # the towers end in CLIP's projections already


def _with_temperature(config: object, towers: dict[str, Tower]) -> object:
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


def start_from_sources(encoder: DualEncoder, fresh: Collection[str], *, whole: bool = False) -> list[str]:
    """Start the lift at the embeddings of towers from a pretrained dual encoder.

    A head becomes the identity where the widths allow it. Where they do not, both sides of one source get the
    same random head: into more dimensions an isometry, which keeps every cosine, and into fewer a projection
    with orthonormal rows, which cannot keep them exactly.

    Args:
        encoder: a dual encoder with a lift at its initial weights.
        fresh: the modalities whose lift does not come from an earlier model.
        whole: whether the lift is the source's own (kind ``source``) and stays as it is.

    Returns:
        One line per pretrained tower: its start, what is kept and what is new.
    """
    sources = {m: tower.backbone.embeds() for m, tower in encoder.towers.items()}
    lines = [_started(encoder, modality, whole) for modality in encoder.towers if modality in fresh]
    both = len(set(sources.values())) == 1 and None not in sources.values() and set(sources) <= set(fresh)
    lift = encoder.lift
    same = both and not whole and len(set(lift.dims.values())) == 1
    if same and all(map(_bare, encoder.towers.values())):
        lift.head("text").load_state_dict(lift.head("image").state_dict())
    return [line for line in lines if line]


def started_from_model(tower: Tower, origin: str) -> str:
    """Describe a tower that comes whole from an earlier model (``init``)."""
    hidden = "" if _bare(tower) else ", hidden layers"
    return (
        f"towers.{tower.modality} starts from {origin}; "
        f"kept: {_kept(tower)}{hidden}, head and scalars of the lift; new: nothing"
    )


def scale_line(encoder: DualEncoder, config: object, inherited: bool) -> str:
    """Say whether the logit scale is that of the pretrained model; "" where either of the two is missing.

    Args:
        encoder: the encoder, whose lift has its initial weights.
        config: the lift of the recipe.
        inherited: whether ``init`` copied the scalars of the lift.
    """
    lift, sources = encoder.lift, {tower.backbone.reference() for tower in encoder.towers.values()}
    if not lift.has_logit_scale or (not inherited and sources == {None}):
        return ""
    kept = inherited or isinstance(config, SourceLiftConfig)
    if isinstance(config, SphereConfig) and config.logit_scale is None:
        kept = kept or len({tower.backbone.embeds() for tower in encoder.towers.values()} | {None}) == 2
    return f"the lift's logit scale of {float(lift.logit_scale.detach()):.4g} is {'kept' if kept else 'new'}"


def _started(encoder: DualEncoder, modality: str, whole: bool) -> str:
    """Start one tower from its source and say what was kept and what is new; "" without a source."""
    tower, lift = encoder.towers[modality], encoder.lift
    source, name = tower.backbone.embeds(), f"towers.{modality}"
    if source is None:
        known = tower.backbone.reference()
        if known is None:
            return ""
        new = "nothing" if whole else "head" if _bare(tower) else "hidden layers, head"
        clip = hasattr(tower.backbone.config, "projection")
        without = " without its projection" if clip and not whole else ""
        return f"{name} starts from {known}{without}; kept: {_kept(tower)}; new: {new}"
    text = f"{name} starts from the {found(source)[0].gives} of {source}; kept: {_kept(tower)}; new: "
    if whole:
        return f"{text}nothing, as the lift is kept"
    if _bare(tower) and lift.start_at_features(modality):
        return f"{text}head, which starts as the identity"
    if _bare(tower) and lift.matrix(modality) is not None:
        lift.start_at_isometry(modality)
        width = lift.dims[modality]
        way = f"from {width} to {lift.dim} dimensions"
        if lift.dim > width:
            return f"{text}head, by a random isometry {way}, which keeps their cosines"
        change = f"which changes their cosines; lift.dim={width} keeps them"
        return f"{text}head, by a random projection {way}, {change}"
    return f"{text}{'head' if _bare(tower) else 'hidden layers, head'}"


def _kept(tower: Tower) -> str:
    """Name what a tower keeps of a pretrained model."""
    backbone = tower.backbone
    parts = ["weights"]
    if backbone.embeds() is not None:
        parts.append("projection")
    if (side := getattr(backbone, "image_size", None)) is not None:
        parts.append(f"preprocessing ({side} x {side} pixels)")
    if (context := getattr(backbone, "context", getattr(backbone, "max_length", None))) is not None:
        parts += ["tokenizer", f"context ({context} tokens)"]
    if hasattr(backbone, "vocabulary"):
        parts.append("vocabulary")
    return ", ".join(parts)


def _bare(tower: Tower) -> bool:
    return isinstance(tower.trunk, nn.Identity)
