"""Hyper3-CLIP: its own folders (``config.yaml``) and the artifact on the hub (``config.json``)."""

from __future__ import annotations

import math
from pathlib import Path

import yaml

from limbeck.encoders.lifts import Lift
from limbeck.encoders.networks import TEXT
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart, filled
from limbeck.encoders.pretrained.hyperbolic import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    NO_TOKENIZER,
    heads_of,
    lorentz,
    squeezed,
)
from limbeck.encoders.pretrained.keys import Weights, depth, part, plain_vit, within
from limbeck.encoders.tensors import load_tensors
from limbeck.encoders.tokenizer import special_ids, tokenizer_of
from limbeck.files import read_json
from limbeck.preprocess.resize import Preprocessing, Resize
from limbeck.typed import Json

_MARK = "vision_backbone"


class Hyper3Clip(Format):
    """The model without its query pooling, which only training uses."""

    name = "Hyper3-CLIP"
    gives = "tangent vectors (without alpha and curvature, which init keeps)"

    def detect(self, path: Path) -> bool:
        """Return whether a configuration names the vision backbone."""
        return path.is_dir() and _MARK in _told(path)

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the ViT of timm with its projection; the hub's artifact squeezes pictures, others crop."""
        weights, told = _weights(place), _told(place.path)
        vit = part(weights, "vision_encoder.backbone.")
        width = vit["cls_token"].shape[-1] if "cls_token" in vit else 0
        plain = not _on_hub(weights) and told.get("vision_norm_layer", "layer_norm") == "layer_norm"
        model = plain_vit(
            vit,
            place,
            projection=part(weights, "image_proj."),
            heads=heads_of(width),
            eps=1e-5 if plain else 1e-6,
        )
        side = int(model.config.image_size)
        cropped = Preprocessing(Resize(side, side, 3, even=True), IMAGENET_MEAN, IMAGENET_STD)
        return ImagePart(model, squeezed(side) if _on_hub(weights) else cropped)

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load CLIP's text transformer with the projection and its bias."""
        weights = _weights(place)
        if not any((place.path / name).is_file() for name in ("tokenizer.json", "vocab.json")):
            raise place.refuse(NO_TOKENIZER, "E-MODEL-DAMAGED")
        tokenizer = tokenizer_of(place.path, place.name)
        pad, end = special_ids(tokenizer)
        backbone = part(weights, "text_encoder.backbone.")
        own = {name.removeprefix("text_model."): tensor for name, tensor in backbone.items()}
        own = {name: tensor for name, tensor in own.items() if not name.endswith("position_ids")}
        vocabulary, width = _shape(own, "embeddings.token_embedding.weight", place)
        model = TEXT["clip_text_model"].build(
            {
                "vocab_size": vocabulary,
                "hidden_size": width,
                "intermediate_size": _shape(own, "encoder.layers.0.mlp.fc1.weight", place)[0],
                "num_hidden_layers": depth(own, "encoder.layers."),
                "num_attention_heads": max(1, width // 64),
                "max_position_embeddings": _shape(own, "embeddings.position_embedding.weight", place)[0],
                "projection_dim": len(weights["text_proj.weight"]),
                "projection_bias": True,
                "eos_token_id": end,
                "bos_token_id": None,
                "pad_token_id": None,
            },
            projection=True,
        )
        own |= {f"text_projection.{kind}": w for kind, w in part(weights, "text_proj.").items()}
        filled(model, within(model, own, "text_model"), place)
        return TextPart(model, tokenizer, Reading(pad, int(model.config.max_position_embeddings)))

    def logit_scale(self, place: Place) -> float | None:
        """Read the scale of whole pictures and captions."""
        weights = _weights(place)
        stored = weights.get("logit_scale", weights.get("global_logit_scale"))
        return None if stored is None else min(100.0, math.exp(float(stored)))

    def lift(self, place: Place, dims: dict[str, int]) -> Lift:
        """Return the lift; as in Hyper3's code, its curvature stays within .1 to 10 times its start."""
        weights, initial = _weights(place), float(str(_told(place.path).get("curv_init", 1.0)))
        curv = min(max(math.exp(float(weights["log_curv"])), initial / 10), initial * 10)
        alphas = {
            modality: math.exp(float(weights[f"{side}_alpha"]))
            for modality, side in (("image", "visual"), ("text", "textual"))
        }
        return lorentz(dims, curv, alphas, self.logit_scale(place) or 1.0)


def _told(folder: Path) -> dict[str, Json]:
    """Return the model's section of the configuration."""
    if (file := folder / "config.yaml").is_file():
        try:
            stored = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError):
            return {}
    else:
        stored = read_json(file) if (file := folder / "config.json").is_file() else {}
    stored = stored if isinstance(stored, dict) else {}
    inner = stored.get("model")
    return inner if isinstance(inner, dict) and _MARK in inner else stored


def _weights(place: Place) -> Weights:
    weights = load_tensors(place.path / "model.safetensors")
    for name in ("image_proj.weight", "text_proj.weight", "log_curv", "visual_alpha", "textual_alpha"):
        if name not in weights:
            raise place.refuse(f"model.safetensors lacks {name}; it is no Hyper3-CLIP")
    return weights


def _on_hub(weights: Weights) -> bool:
    """Return whether the weights are those of the published artifact, which has one temperature."""
    return "logit_scale" in weights and "global_logit_scale" not in weights


def _shape(weights: Weights, name: str, place: Place) -> tuple[int, ...]:
    if name not in weights:
        raise place.refuse(f"its text side lacks {name}; it is no Hyper3-CLIP")
    return tuple(weights[name].shape)
