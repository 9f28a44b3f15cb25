"""SigLIP's image tower with timm's names, as open_clip holds it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from limbeck.encoders.networks import VISION
from limbeck.encoders.pretrained.base import Place, check_grid, filled
from limbeck.encoders.pretrained.keys import Weights, blocks, depth, named, part, within
from limbeck.typed import Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel


# timm's architectures of SigLIP 2, whose GELU is the approximation by tanh; the others use the exact one.
_TANH = re.compile(r"vit_(base_patch32|large_patch16_siglip_512|so400m_patch16|giantopt)")
_HEADS = {768: 12, 1024: 16, 1152: 16, 1536: 16}


def map_vit(weights: Weights, told: dict[str, Json], place: Place) -> PreTrainedModel:
    """Build `SiglipVisionModel` from a ViT of timm with attention pooling and no class token.

    Args:
        weights: the weights below ``visual.``, that is ``trunk.*``.
        told: the ``vision_cfg``.
        place: the source, for errors.

    Raises:
        LimbeckError: the architecture is another one, or weights are missing or left over.
    """
    name, trunk = str(told["timm_model_name"]), part(weights, "trunk.")
    plain = told.get("timm_pool") == "map" and told.get("timm_proj") in ("none", "", None)
    if "_siglip_" not in name or not plain or "patch_embed.proj.weight" not in trunk:
        raise place.refuse(f"its image tower is {name} of timm, of which only SigLIP's ViTs are read")
    patch = trunk["patch_embed.proj.weight"]
    width, side = len(patch), int(str(told.get("image_size", 224)))
    check_grid(place, side, patch.shape[-1], trunk["pos_embed"].shape[1])
    shape: dict[str, Json] = {
        "hidden_size": width,
        "intermediate_size": len(trunk["blocks.0.mlp.fc1.weight"]),
        "num_hidden_layers": depth(trunk, "blocks."),
        "num_attention_heads": _HEADS.get(width, max(1, width // 64)),
        "image_size": side,
        "patch_size": patch.shape[-1],
        "hidden_act": "gelu_pytorch_tanh" if _TANH.match(name) else "gelu",
        "layer_norm_eps": 1e-6,
    }
    model = VISION["siglip_vision_model"].build(shape, projection=True)
    return filled(model, within(model, _own(trunk), "vision_model"), place)


def _own(trunk: Weights) -> Weights:
    pool = part(trunk, "attn_pool.")
    joined = {kind: torch.cat([pool[f"q.{kind}"], pool[f"kv.{kind}"]]) for kind in ("weight", "bias")}
    return {
        "embeddings.patch_embedding.weight": trunk["patch_embed.proj.weight"],
        "embeddings.patch_embedding.bias": trunk["patch_embed.proj.bias"],
        "embeddings.position_embedding.weight": trunk["pos_embed"][0],
        **blocks(trunk, "blocks."),
        **named("post_layernorm", trunk, "norm"),
        "head.probe": pool["latent"],
        "head.attention.in_proj_weight": joined["weight"],
        "head.attention.in_proj_bias": joined["bias"],
        **named("head.attention.out_proj", pool, "proj"),
        **named("head.layernorm", pool, "norm"),
        **named("head.mlp.fc1", pool, "mlp.fc1"),
        **named("head.mlp.fc2", pool, "mlp.fc2"),
    }
