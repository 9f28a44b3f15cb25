"""Names of the same weights in other libraries, turned into those of `transformers`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import nn

from limbeck.encoders.networks import VISION
from limbeck.encoders.pretrained.base import Place, check_grid, filled
from limbeck.typed import Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Weights = dict[str, torch.Tensor]
_OPENAI = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_TIMM = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.proj": "self_attn.out_proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def part(weights: Weights, prefix: str) -> Weights:
    """Return the weights below a prefix, without it."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def blocks(weights: Weights, prefix: str) -> Weights:
    """Return the layers below ``prefix`` (OpenAI's or timm's names) as ``encoder.layers.*``.

    Weights without a counterpart keep their names, so that `filled` refuses them.
    """
    out: Weights = {}
    for name, tensor in part(weights, prefix).items():
        number, inner = name.split(".", 1)
        place = f"encoder.layers.{number}."
        module, _, kind = inner.rpartition(".")
        if module == "attn.qkv" or kind.startswith("in_proj_"):
            for own, third in zip("qkv", tensor.chunk(3), strict=True):
                out[f"{place}self_attn.{own}_proj.{kind.removeprefix('in_proj_')}"] = third
        else:
            known = _OPENAI.get(module) or _TIMM.get(module) or module
            out[f"{place}{known}.{kind}"] = tensor
    return out


def depth(weights: Weights, prefix: str) -> int:
    """Count the layers below a prefix."""
    return len({name.split(".", 1)[0] for name in part(weights, prefix)})


def named(module: str, weights: Weights, prefix: str) -> Weights:
    """Return weight and bias below ``prefix`` as those of ``module``."""
    return {f"{module}.{kind}": tensor for kind, tensor in part(weights, f"{prefix}.").items()}


def within(model: nn.Module, weights: Weights, wrapper: str) -> Weights:
    """Prefix all weights but the projection where a class of `transformers` wraps its transformer."""
    if not any(name.startswith(f"{wrapper}.") for name in model.state_dict()):
        return weights
    return {n if "_projection." in n else f"{wrapper}.{n}": w for n, w in weights.items()}


def plain_vit(
    weights: Weights, place: Place, *, projection: Weights, heads: int, eps: float
) -> PreTrainedModel:
    """Build CLIP's vision transformer from a ViT of timm: no norm before the layers, patches with a bias.

    Args:
        weights: the weights of the ViT; ``fc_norm`` in place of ``norm`` means that the patches are averaged.
        place: the source, for errors.
        projection: ``weight`` and perhaps ``bias``.
        heads: the number of heads, which no weight tells.
        eps: the epsilon of the norms.

    Raises:
        LimbeckError: weights are missing or left over.
    """
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias"):
        if name not in weights:
            raise place.refuse(f"its image side lacks {name}; only ViTs with a class token are read")
    patch, positions = weights["patch_embed.proj.weight"], weights["pos_embed"][0].float().clone()
    positions[1:] += weights["patch_embed.proj.bias"].float()
    side = patch.shape[-1] * math.isqrt(len(positions) - 1)
    check_grid(place, side, patch.shape[-1], len(positions) - 1)
    mean = "fc_norm.weight" in weights
    shape: dict[str, Json] = {
        "hidden_size": patch.shape[0],
        "intermediate_size": len(weights.get("blocks.0.mlp.fc1.weight", [])),
        "num_hidden_layers": depth(weights, "blocks."),
        "num_attention_heads": heads,
        "patch_size": patch.shape[-1],
        "image_size": side,
        "projection_dim": len(projection["weight"]),
        "projection_bias": "bias" in projection,
        "hidden_act": "gelu",
        "layer_norm_eps": eps,
        "pre_norm": False,
        "pool": "mean" if mean else "class",
    }
    model = VISION["clip_vision_model"].build(shape, projection=True)
    own = {
        "embeddings.class_embedding": weights["cls_token"][0, 0],
        "embeddings.patch_embedding.weight": patch,
        "embeddings.position_embedding.weight": positions,
        **blocks(weights, "blocks."),
        **named("post_layernorm", weights, "fc_norm" if mean else "norm"),
        **{f"visual_projection.{kind}": w for kind, w in projection.items()},
    }
    return filled(model, within(model, own, "vision_model"), place)
