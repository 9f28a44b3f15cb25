"""open_clip's models on the hub: ``open_clip_config.json`` and safetensors; ViTs and SigLIP."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.encoders.networks import TEXT, VISION
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart, filled
from limbeck.encoders.pretrained.keys import Weights, blocks, depth, named, part, within
from limbeck.encoders.pretrained.timm import map_vit
from limbeck.encoders.sources import conversion, incomplete
from limbeck.encoders.tensors import load_tensors
from limbeck.encoders.tokenizer import padding_id, special_ids, tokenizer_of
from limbeck.files import read_json
from limbeck.preprocess.resize import open_clip_preprocessing
from limbeck.typed import Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel


_FILE = "open_clip_config.json"
_WEIGHTS = ("open_clip_model.safetensors", "model.safetensors")
# Entries that change the network in ways that are not read; at a false value they change nothing.
_VISION = ("attentional_pool", "global_average_pool", "ls_init_value", "input_patchnorm", "pos_embed_type",
           "final_ln_after_pool", "eva_model_name", "block_type", "qk_norm")  # fmt: skip
_TEXT = ("hf_model_name", "embed_cls", "ls_init_value", "final_ln_after_pool", "block_type", "qk_norm")


@dataclass(frozen=True)
class _Told:
    """The sections of the configuration."""

    embed: int
    vision: dict[str, Any]
    text: dict[str, Any]
    preprocess: dict[str, Any]
    quick: bool


class OpenClip(Format):
    """The embeddings of open_clip's ``encode_image`` and ``encode_text``."""

    name = "open_clip (open_clip_config.json)"

    def detect(self, path: Path) -> bool:
        """Return whether the folder has the configuration."""
        return (path / _FILE).is_file()

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the image tower."""
        told, weights = _told(place), part(_weights(place, _is_visual), "visual.")
        if "timm_model_name" in told.vision:
            model = map_vit(weights, told.vision, place)
        else:
            model = _vit(weights, told, place)
        side = int(model.config.image_size)
        return ImagePart(model, open_clip_preprocessing(told.preprocess, side, place.path / _FILE))

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load the text tower and its tokenizer."""
        told, weights = _told(place), _weights(place, lambda name: not _is_visual(name))
        tokenizer = tokenizer_of(place.path, place.name)
        own = part(weights, "text.") or weights
        _, end = special_ids(tokenizer)
        free = bool(told.text.get("no_causal_mask"))
        if free != (told.text.get("pool_type", "argmax") == "last"):
            raise place.refuse(f"{_FILE}: text_cfg: its mask and pool_type are not read together")
        model = _siglip_text(own, told, place) if free else _clip_text(own, told, end, place)
        kwargs = told.text.get("tokenizer_kwargs") or {}
        reading = Reading(
            padding_id(place.path, tokenizer),
            int(model.config.max_position_embeddings),
            whole=free,
            lower=kwargs.get("clean") == "lower",
            canonical=kwargs.get("clean") == "canonicalize",
        )
        return TextPart(model, tokenizer, reading)

    def logit_scale(self, place: Place) -> float | None:
        """Read the scale; a bias of the logits does not change the ranking and is left out."""
        stored = _weights(place, lambda name: name == "logit_scale").get("logit_scale")
        return None if stored is None else math.exp(float(stored))


def _told(place: Place) -> _Told:
    stored = read_json(place.path / _FILE)
    try:
        model = stored["model_cfg"]
        vision, text = dict(model["vision_cfg"]), dict(model["text_cfg"])
        preprocess = dict(stored.get("preprocess_cfg") or {})
        told = _Told(int(model["embed_dim"]), vision, text, preprocess, bool(model.get("quick_gelu")))
    except (KeyError, TypeError, ValueError) as error:
        raise place.refuse(f"{_FILE} cannot be understood ({error}); restore it", "E-MODEL-DAMAGED") from None
    odd = [f"vision_cfg.{key}" for key in _VISION if vision.get(key)]
    odd += [f"text_cfg.{key}" for key in _TEXT if text.get(key)]
    odd += ["multimodal_cfg"] if model.get("multimodal_cfg") else []
    if isinstance(vision.get("layers"), list):
        odd.append("a ResNet (vision_cfg.layers)")
    if odd:
        raise place.refuse(f"{_FILE}: {', '.join(odd)} is not read; use a ViT or SigLIP of open_clip")
    return told


def _is_visual(name: str) -> bool:
    return name.startswith("visual.")


def _weights(place: Place, wanted: Callable[[str], bool]) -> Weights:
    for name in _WEIGHTS:
        if (place.path / name).is_file():
            return load_tensors(place.path / name, wanted)
    pickled = sorted(entry.name for entry in place.path.glob("*.bin")) or sorted(
        entry.name for entry in place.path.glob("*.pt")
    )
    if pickled:
        raise place.refuse(
            f"contains only pickled weights ({pickled[0]}), which are never loaded; convert them, in its "
            f"folder: {conversion(pickled[0], _WEIGHTS[0])}",
            "E-FILE-PICKLE",
        )
    raise incomplete(place.name, f"its weights ({_WEIGHTS[0]})")


def _act(told: dict[str, Any], quick: bool) -> str:
    if quick:
        return "quick_gelu"
    return "gelu_pytorch_tanh" if (told.get("act_kwargs") or {}).get("approximate") == "tanh" else "gelu"


def _vit(weights: Weights, told: _Told, place: Place) -> PreTrainedModel:
    vision = told.vision
    width, patch = int(vision.get("width", 768)), int(vision.get("patch_size", 16))
    side = vision.get("image_size", 224)
    if isinstance(side, list) and len(set(side)) != 1:
        raise place.refuse(f"{_FILE}: pictures of {side} are no squares, which is not read")
    shape: dict[str, Json] = {
        "hidden_size": width,
        "intermediate_size": int(width * float(vision.get("mlp_ratio", 4.0))),
        "num_hidden_layers": int(vision.get("layers", 12)),
        "num_attention_heads": width // int(vision.get("head_width", 64)),
        "image_size": int(side[0] if isinstance(side, list) else side),
        "patch_size": patch,
        "projection_dim": told.embed,
        "hidden_act": _act(vision, told.quick),
        "layer_norm_eps": float((vision.get("norm_kwargs") or {}).get("eps", 1e-5)),
        "pre_norm": not vision.get("no_ln_pre"),
    }
    model = VISION["clip_vision_model"].build(shape, projection=True)
    own = {
        **blocks(weights, "transformer.resblocks."),
        **named("pre_layrnorm", weights, "ln_pre"),
        **named("post_layernorm", weights, "ln_post"),
        **_renamed(weights, {
            "class_embedding": "embeddings.class_embedding",
            "positional_embedding": "embeddings.position_embedding.weight",
            "conv1.weight": "embeddings.patch_embedding.weight",
        }),
    }  # fmt: skip
    if "proj" in weights:
        own["visual_projection.weight"] = weights["proj"].T
    return filled(model, within(model, own, "vision_model"), place)


def _text_shape(weights: Weights, told: _Told) -> dict[str, Any]:
    text = told.text
    width = int(text.get("width", 512))
    return {
        "vocab_size": int(text.get("vocab_size", 49408)),
        "hidden_size": width,
        "intermediate_size": int(width * float(text.get("mlp_ratio", 4.0))),
        "num_hidden_layers": depth(weights, "transformer.resblocks."),
        "num_attention_heads": int(text.get("heads", 8)),
        "max_position_embeddings": int(text.get("context_length", 77)),
        "hidden_act": _act(text, told.quick),
        "layer_norm_eps": float((text.get("norm_kwargs") or {}).get("eps", 1e-5)),
    }


def _text_weights(weights: Weights) -> Weights:
    return {
        **blocks(weights, "transformer.resblocks."),
        **named("final_layer_norm", weights, "ln_final"),
        **_renamed(weights, {
            "token_embedding.weight": "embeddings.token_embedding.weight",
            "positional_embedding": "embeddings.position_embedding.weight",
        }),
    }  # fmt: skip


def _clip_text(weights: Weights, told: _Told, end: int, place: Place) -> PreTrainedModel:
    bias = "text_projection.bias" in weights
    shape = _text_shape(weights, told) | {"projection_dim": told.embed, "projection_bias": bias}
    # The number 2 stands for the largest id of a text in `transformers`, and the end token is that in CLIP's.
    shape |= {"eos_token_id": end, "bos_token_id": None, "pad_token_id": None}
    model = TEXT["clip_text_model"].build(shape, projection=True)
    own = _text_weights(weights)
    if "text_projection" in weights:
        own["text_projection.weight"] = weights["text_projection"].T
    else:
        own |= named("text_projection", weights, "text_projection")
    return filled(model, within(model, own, "text_model"), place)


def _siglip_text(weights: Weights, told: _Told, place: Place) -> PreTrainedModel:
    shape = _text_shape(weights, told) | {"projection_size": told.embed}
    shape |= {"eos_token_id": None, "bos_token_id": None, "pad_token_id": None}
    model = TEXT["siglip_text_model"].build(shape, projection=True)
    own = _text_weights(weights) | named("head", weights, "text_projection")
    return filled(model, within(model, own, "text_model"), place)


def _renamed(weights: Weights, names: dict[str, str]) -> Weights:
    return {new: weights[old] for old, new in names.items() if old in weights}
