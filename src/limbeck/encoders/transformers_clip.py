"""Write a model of CLIP's architecture as the ``CLIPModel`` of `transformers`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.hub import quiet_transformers
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.lifts import Lift
from limbeck.encoders.text import ClipTextBackbone
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.files import atomic_dir, write_json
from limbeck.onnx.layouts import ClipLike, refused
from limbeck.preprocess import Preprocessor

NAME = "transformers"


def save_clip_model(model: DualEncoder, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors``, the tokenizer and ``preprocessor_config.json``.

    Projections and heads without bias become one matrix per tower.

    Raises:
        LimbeckError: `CLIPModel` lacks a part of the model, or the directory exists.
    """
    from transformers import CLIPConfig, CLIPModel

    lift = model.lift
    if not lift.is_unit_linear:
        raise _lacks(f"a lift of kind {lift.kind}, only the sphere")
    (image, visual), (text, textual) = (_unwrapped(model.towers[m], m) for m in ("image", "text"))
    assert isinstance(image, ClipImageBackbone) and isinstance(text, ClipTextBackbone)
    preprocessors: dict[str, Preprocessor | None] = {"image": image.preprocessor, "text": text.preprocessor}
    clip_like = ClipLike.of(preprocessors, model.space, lift.dim, NAME)
    dims: dict[str, Any] = {"projection_dim": lift.dim}
    scale = math.log(float(lift.logit_scale.detach()))
    config = CLIPConfig(
        text_config=_shape(text) | dims,
        vision_config=_shape(image) | dims,
        logit_scale_init_value=scale,
        **dims,
    )
    clip: Any = CLIPModel(config)
    clip.text_model.load_state_dict(_transformer(text.model, "text_model").state_dict())
    clip.vision_model.load_state_dict(_transformer(image.model, "vision_model").state_dict())
    with torch.no_grad():
        clip.visual_projection.weight.copy_(_weight(lift, "image") @ visual)
        clip.text_projection.weight.copy_(_weight(lift, "text") @ textual)
        clip.logit_scale.fill_(scale)
    with atomic_dir(folder) as aside:
        write_json(aside / "preprocessor_config.json", clip_like.preprocessor_config(NAME))
        clip_like.write_tokenizer(aside)
        with quiet_transformers():
            clip.save_pretrained(aside)


def _unwrapped(tower: Tower, modality: str) -> tuple[Backbone, torch.Tensor]:
    """Return the transformer of a tower and the matrix that maps its pooled state to the tower's output.

    A tower on the unit vectors of an earlier model counts as one on their directions, since only the
    direction of the last embedding matters.
    """
    if not isinstance(tower.trunk, nn.Identity):
        raise _lacks(f"layers between tower and head ({modality}: hidden or norm)")
    backbone = tower.backbone
    if isinstance(backbone, RunBackbone):
        found, matrix = _unwrapped(backbone.tower, modality)
        if backbone.output == "features":
            return found, matrix
        if not backbone.lift.is_unit_linear:
            raise _lacks(f"a {modality} tower on the embeddings of a model outside the sphere")
        return found, _weight(backbone.lift, modality) @ matrix
    wanted = ClipImageBackbone if modality == "image" else ClipTextBackbone
    kind = getattr(backbone.config, "kind", type(backbone).__name__)
    if not isinstance(backbone, wanted):
        raise _lacks(f"the {modality} tower '{kind}'")
    shape = backbone.model.config
    if shape.model_type not in ("clip_vision_model", "clip_text_model"):
        raise _lacks(f"the {modality} tower of type {shape.model_type}")
    for name, plain in (("pre_norm", True), ("pool", "class"), ("projection_bias", False)):
        if getattr(shape, name, plain) != plain:
            raise _lacks(f"the {modality} tower's {name}: {getattr(shape, name)}")
    projection = getattr(
        backbone.model, "visual_projection", getattr(backbone.model, "text_projection", None)
    )
    if projection is None:
        return backbone, torch.eye(backbone.dim, dtype=torch.float64)
    return backbone, projection.weight.detach().double().cpu()


def _weight(lift: Lift, modality: str) -> torch.Tensor:
    head = lift.matrix(modality)
    assert head is not None
    return head.weight.detach().double().cpu()


def _shape(backbone: Backbone) -> dict[str, Any]:
    stored = dict(backbone.model.config.to_dict())
    for name in ("_name_or_path", "transformers_version", "architectures"):
        stored.pop(name, None)
    return stored


def _transformer(model: nn.Module, name: str) -> nn.Module:
    # transformers 5.0 wraps the transformer in every class, later releases in the projected one only.
    found: nn.Module = getattr(model, name, model)
    return found


def _lacks(what: str) -> LimbeckError:
    return refused(NAME, f"has no class for {what}")
