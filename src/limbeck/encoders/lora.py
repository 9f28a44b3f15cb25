"""Low-rank adapters (LoRA, Hu et al. 2022) on pretrained backbones, by peft (extra ``lora``)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.config import LoraConfig
from limbeck.errors import LimbeckError
from limbeck.optional_deps import require

if TYPE_CHECKING:
    from peft.tuners.lora import Linear as LoraLinear


def adapt(backbone: Backbone, config: LoraConfig, where: str) -> int:
    """Freeze a backbone and add adapters to linear layers of its transformer blocks.

    The adapters start at zero, so that the outputs do not change.

    Args:
        backbone: the backbone with its pretrained weights.
        config: rank, scale, layers and dropout.
        where: key of the recipe, for errors.

    Returns:
        The number of parameters of the adapters.

    Raises:
        LimbeckError: peft is missing, there are no such layers, or the weights are not pretrained.
    """
    peft = require("peft")
    parts = [part for part in backbone.modules() if isinstance(part, Backbone)]
    found = {part: layers for part in parts if (layers := _layers(part))}
    known = sorted({name.rpartition(".")[2] for layers in found.values() for name in layers})
    if not known:
        raise LimbeckError(
            f"{where}: this backbone has no transformer blocks for adapters, as an ONNX graph or a bag of "
            "words has none; remove lora or choose another backbone",
            code="E-MODEL-LACKS",
        )
    for target in config.targets or []:
        if target not in known:
            raise LimbeckError(
                f"{where}.targets: there is no layer {target!r}; known are {', '.join(known)}",
                code="E-CONFIG-VALUE",
            )
    backbone.requires_grad_(False)
    for owner, layers in found.items():
        chosen = [name for name in layers if not config.targets or name.rpartition(".")[2] in config.targets]
        if not chosen:
            continue
        plan = peft.LoraConfig(
            r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, target_modules=chosen
        )
        owner.pristine = False  # its output is no longer that of the source
        peft.inject_adapter_in_model(plan, owner.model)
    return adapter_parameters(backbone)


def adapter_parameters(module: nn.Module) -> int:
    """Return the number of parameters of all adapters in a module."""
    return sum(p.numel() for name, p in module.named_parameters() if ".lora_" in name)


@contextlib.contextmanager
def merged(module: nn.Module) -> Iterator[None]:
    """Replace adapted layers by plain ones with the merged weights while this context lasts.

    The adapters come back unchanged, whereas peft's own unmerging would round the weights.
    """
    adapted = {name: layer for name, layer in module.named_modules() if hasattr(layer, "get_delta_weight")}
    for name, layer in adapted.items():
        _replace(module, name, _merged(layer))
    try:
        yield
    finally:
        for name, layer in adapted.items():
            _replace(module, name, layer)


@torch.no_grad()
def _merged(layer: LoraLinear) -> nn.Linear:
    base = cast("nn.Linear", layer.get_base_layer())
    plain = nn.Linear(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
    plain.weight = nn.Parameter(base.weight + layer.get_delta_weight("default"), requires_grad=False)
    if base.bias is not None:
        plain.bias = base.bias
    return plain.train(layer.training)


def _replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(module.get_submodule(parent), own, layer)


def _layers(owner: Backbone) -> list[str]:
    """Return the linear layers in the repeated blocks of a backbone's network, by their names in it.

    Those inside `nn.MultiheadAttention` are left out: it reads their weights and bypasses an adapter.
    """
    model = getattr(owner, "model", None)
    if not isinstance(model, nn.Module):
        return []
    parts = dict(model.named_modules())
    blocks = tuple(f"{name}." for name, part in parts.items() if isinstance(part, nn.ModuleList))
    closed = tuple(f"{name}." for name, part in parts.items() if isinstance(part, nn.MultiheadAttention))
    return [
        name
        for name, part in parts.items()
        if isinstance(part, nn.Linear) and name.startswith(blocks) and not name.startswith(closed)
    ]
