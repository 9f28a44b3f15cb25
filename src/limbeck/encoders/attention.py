"""Attention of the class token in a vision transformer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers.models.clip.modeling_clip import CLIPAttention, CLIPEncoderLayer

Hook = Callable[[nn.Module, object, torch.Tensor], None]


@contextlib.contextmanager
def class_attention(layers: Iterable[CLIPEncoderLayer]) -> Iterator[list[torch.Tensor]]:
    """Record the attention of the class token in every layer.

    While the context is open, each forward pass through the layers appends one tensor per layer to the list.
    The attention is computed from the layer's own queries and keys and averaged over the heads. The network
    itself may therefore use fused attention, which does not return its weights.

    Args:
        layers: the layers of a CLIP encoder, with ``self_attn.q_proj`` and ``.k_proj``.

    Yields:
        a list of (B, tokens) float32 tensors; each row is a distribution.
    """
    found: list[torch.Tensor] = []
    queries: dict[int, torch.Tensor] = {}

    def asked(number: int) -> Hook:
        def hook(module: nn.Module, given: object, out: torch.Tensor) -> None:
            queries[number] = out[:, :1]

        return hook

    def answered(number: int, attention: CLIPAttention) -> Hook:
        def hook(module: nn.Module, given: object, out: torch.Tensor) -> None:
            heads = (attention.num_heads, -1)
            query, key = (x.float().unflatten(-1, heads).transpose(1, 2) for x in (queries.pop(number), out))
            scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
            found.append(scores.softmax(-1).mean(1)[:, 0])

        return hook

    hooks = []
    for number, layer in enumerate(layers):
        attention = layer.self_attn
        hooks.append(attention.q_proj.register_forward_hook(asked(number)))
        hooks.append(attention.k_proj.register_forward_hook(answered(number, attention)))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
