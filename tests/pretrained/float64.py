"""The published definitions of the networks, written out in float64; nothing of limbeck or `transformers`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F

Weights = dict[str, torch.Tensor]
Act = Callable[[torch.Tensor], torch.Tensor]


def quick_gelu(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(1.702 * x)


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def norm(x: torch.Tensor, w: Weights, name: str, eps: float) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt() * w[f"{name}.weight"]
        + w[f"{name}.bias"]
    )


def linear(x: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", torch.zeros(()))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, causal: bool) -> torch.Tensor:
    split = [x.unflatten(-1, (heads, -1)).transpose(-2, -3) for x in (q, k, v)]
    scores = split[0] @ split[1].transpose(-1, -2) / math.sqrt(split[0].shape[-1])
    if causal:
        scores = scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -math.inf)
    return (scores.softmax(-1) @ split[2]).transpose(-2, -3).flatten(-2)


def openai_blocks(
    x: torch.Tensor, w: Weights, prefix: str, *, heads: int, act: Act, eps: float, causal: bool
) -> Any:
    i = 0
    while f"{prefix}{i}.ln_1.weight" in w:
        p = f"{prefix}{i}."
        y = norm(x, w, f"{p}ln_1", eps)
        q, k, v = (y @ w[f"{p}attn.in_proj_weight"].T + w[f"{p}attn.in_proj_bias"]).chunk(3, -1)
        x = x + linear(attend(q, k, v, heads, causal), w, f"{p}attn.out_proj")
        x = x + linear(act(linear(norm(x, w, f"{p}ln_2", eps), w, f"{p}mlp.c_fc")), w, f"{p}mlp.c_proj")
        i += 1
    assert i == 2
    return x


def timm_blocks(
    x: torch.Tensor, w: Weights, prefix: str, *, heads: int, act: Act, eps: float
) -> torch.Tensor:
    for i in range(2):
        p = f"{prefix}blocks.{i}."
        q, k, v = linear(norm(x, w, f"{p}norm1", eps), w, f"{p}attn.qkv").chunk(3, -1)
        x = x + linear(attend(q, k, v, heads, False), w, f"{p}attn.proj")
        x = x + linear(act(linear(norm(x, w, f"{p}norm2", eps), w, f"{p}mlp.fc1")), w, f"{p}mlp.fc2")
    return x


def patches(pixels: torch.Tensor, w: Weights, name: str) -> torch.Tensor:
    """(B, 3, S, S) to (B, N, width), by an explicit sum over each patch."""
    kernel = w[f"{name}.weight"]
    side, grid = kernel.shape[-1], pixels.shape[-1] // kernel.shape[-1]
    rows = [
        pixels[:, :, r * side : (r + 1) * side, c * side : (c + 1) * side]
        for r in range(grid)
        for c in range(grid)
    ]
    found = torch.stack([torch.einsum("bcij,wcij->bw", tile, kernel) for tile in rows], 1)
    return found + w.get(f"{name}.bias", torch.zeros(()))


def open_clip_image(pixels: torch.Tensor, w: Weights, *, heads: int, act: Act) -> torch.Tensor:
    x = patches(pixels, w, "visual.conv1")
    x = (
        torch.cat([w["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
        + w["visual.positional_embedding"]
    )
    x = norm(x, w, "visual.ln_pre", 1e-5)
    x = openai_blocks(x, w, "visual.transformer.resblocks.", heads=heads, act=act, eps=1e-5, causal=False)
    return norm(x[:, 0], w, "visual.ln_post", 1e-5) @ w["visual.proj"]


def open_clip_text(ids: torch.Tensor, w: Weights, *, heads: int, act: Act) -> torch.Tensor:
    x = w["token_embedding.weight"][ids] + w["positional_embedding"][: ids.shape[1]]
    x = openai_blocks(x, w, "transformer.resblocks.", heads=heads, act=act, eps=1e-5, causal=True)
    x = norm(x, w, "ln_final", 1e-5)
    return x[torch.arange(len(ids)), ids.argmax(-1)] @ w["text_projection"]


def siglip_image(pixels: torch.Tensor, w: Weights, *, heads: int, act: Act) -> torch.Tensor:
    p = "visual.trunk."
    x = patches(pixels, w, f"{p}patch_embed.proj") + w[f"{p}pos_embed"]
    x = norm(timm_blocks(x, w, p, heads=heads, act=act, eps=1e-6), w, f"{p}norm", 1e-6)
    p += "attn_pool."
    q = linear(w[f"{p}latent"].expand(len(x), -1, -1), w, f"{p}q")
    k, v = linear(x, w, f"{p}kv").chunk(2, -1)
    x = linear(attend(q, k, v, heads, False), w, f"{p}proj")
    x = x + linear(act(linear(norm(x, w, f"{p}norm", 1e-6), w, f"{p}mlp.fc1")), w, f"{p}mlp.fc2")
    return x[:, 0]


def siglip_text(ids: torch.Tensor, w: Weights, *, heads: int, act: Act) -> torch.Tensor:
    x = w["text.token_embedding.weight"][ids] + w["text.positional_embedding"]
    x = openai_blocks(x, w, "text.transformer.resblocks.", heads=heads, act=act, eps=1e-6, causal=False)
    return linear(norm(x, w, "text.ln_final", 1e-6)[:, -1], w, "text.text_projection")


def timm_image(
    pixels: torch.Tensor, w: Weights, prefix: str, *, heads: int, eps: float, mean: bool
) -> torch.Tensor:
    x = patches(pixels, w, f"{prefix}patch_embed.proj")
    x = torch.cat([w[f"{prefix}cls_token"].expand(len(x), -1, -1), x], 1) + w[f"{prefix}pos_embed"]
    x = timm_blocks(x, w, prefix, heads=heads, act=gelu, eps=eps)
    if mean:
        return norm(x[:, 1:].mean(1), w, f"{prefix}fc_norm", eps)
    return norm(x, w, f"{prefix}norm", eps)[:, 0]


def meru_text(ids: torch.Tensor, w: Weights, *, heads: int) -> torch.Tensor:
    x = w["textual.token_embed.weight"][ids] + w["textual.posit_embed"][: ids.shape[1]]
    x = openai_blocks(x, w, "textual.resblocks.", heads=heads, act=gelu, eps=1e-5, causal=True)
    x = norm(x, w, "textual.ln_final", 1e-5)
    return linear(x[torch.arange(len(ids)), ids.argmax(-1)], w, "textual_proj")


def hyper3_text(ids: torch.Tensor, w: Weights, prefix: str, *, heads: int) -> torch.Tensor:
    x = w[f"{prefix}embeddings.token_embedding.weight"][ids]
    x = x + w[f"{prefix}embeddings.position_embedding.weight"][: ids.shape[1]]
    for i in range(2):
        p = f"{prefix}encoder.layers.{i}."
        y = norm(x, w, f"{p}layer_norm1", 1e-5)
        q, k, v = (linear(y, w, f"{p}self_attn.{own}_proj") for own in "qkv")
        x = x + linear(attend(q, k, v, heads, True), w, f"{p}self_attn.out_proj")
        x = x + linear(
            quick_gelu(linear(norm(x, w, f"{p}layer_norm2", 1e-5), w, f"{p}mlp.fc1")), w, f"{p}mlp.fc2"
        )
    x = norm(x, w, f"{prefix}final_layer_norm", 1e-5)
    return linear(x[torch.arange(len(ids)), ids.argmax(-1)], w, "text_proj")


def lifted(tangent: torch.Tensor, alpha: float, curv: float) -> torch.Tensor:
    """The space part of exp_map0(e^alpha u), its length capped as published."""
    u = math.exp(alpha) * tangent
    r = math.sqrt(curv) * u.norm(dim=-1, keepdim=True)
    return torch.sinh(r.clamp(max=math.asinh(2**15))) * u / r


def lorentz_distance(x: torch.Tensor, y: torch.Tensor, curv: float) -> torch.Tensor:
    times = [(1 / curv + p.square().sum(-1)).sqrt() for p in (x, y)]
    inner = x @ y.T - torch.outer(*times)
    return torch.acosh((-curv * inner).clamp(min=1)) / math.sqrt(curv)


def unit(x: torch.Tensor) -> torch.Tensor:
    return F.normalize(x, dim=-1)
