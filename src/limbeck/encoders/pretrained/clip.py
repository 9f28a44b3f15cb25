"""CLIP as `transformers` saves it, also inside a sentence-transformers folder."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from limbeck.encoders.hub import attention, pretrained, stored_tensor
from limbeck.encoders.lifts import MODALITIES, Lift
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, TextPart, sphere
from limbeck.encoders.sources import transformer_folder
from limbeck.encoders.tokenizer import load_tokenizer
from limbeck.files import read_json
from limbeck.preprocess.resize import read_preprocessing


class TransformersClip(Format):
    """`CLIPModel`, or one side of it; sentence-transformers keeps these files in a module ``CLIPModel``."""

    name = "CLIP of transformers or sentence-transformers"
    projects = False

    def detect(self, path: Path) -> bool:
        """Read the model type."""
        return model_type(path) in ("clip", "clip_vision_model", "clip_text_model")

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the vision transformer, with its projection if wanted."""
        from transformers import CLIPVisionModel, CLIPVisionModelWithProjection

        cls = CLIPVisionModelWithProjection if projection else CLIPVisionModel
        model = pretrained(cls, place.path, place.name)
        model.set_attn_implementation(attention())
        folder = transformer_folder(place.path)
        return ImagePart(model, read_preprocessing(folder, int(model.config.image_size)))

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load tokenizer and text transformer, with its projection if wanted."""
        from transformers import CLIPTextModel, CLIPTextModelWithProjection

        tokenizer = load_tokenizer(place.name)
        model = pretrained(
            CLIPTextModelWithProjection if projection else CLIPTextModel, place.path, place.name
        )
        model.set_attn_implementation(attention())
        return TextPart(model, tokenizer)

    def logit_scale(self, place: Place) -> float | None:
        """Read only the scale."""
        stored = stored_tensor(transformer_folder(place.path), "logit_scale")
        return None if stored is None else math.exp(float(stored))

    def lift(self, place: Place, dims: dict[str, int]) -> Lift:
        """Return the sphere whose heads are CLIP's projections."""
        from transformers import CLIPModel

        clip = pretrained(CLIPModel, place.path, place.name)
        lift = sphere(clip.config.projection_dim, dims, float(clip.logit_scale.detach().exp()))
        with torch.no_grad():
            for modality, head in zip(
                MODALITIES, (clip.visual_projection, clip.text_projection), strict=True
            ):
                lift.heads[modality].weight.copy_(head.weight)
        return lift


def model_type(path: Path) -> str | None:
    """Return the model type that a folder's configuration names, or None."""
    file = transformer_folder(path) / "config.json" if path.is_dir() else path
    told = read_json(file) if file.name == "config.json" and file.is_file() else None
    kind = told.get("model_type") if isinstance(told, dict) else None
    return kind if isinstance(kind, str) else None
