"""Pretrained weights that a saved model refers to, by source and SHA-256, in place of holding them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.hub import pretrained, weights_digest
from limbeck.encoders.sources import lasting
from limbeck.errors import LimbeckError


def references_to(backbones: Mapping[str, Backbone]) -> dict[str, dict[str, str | None]]:
    """What ``model.json`` says of untouched backbones, by the prefix of their weights."""
    return {
        prefix: {"source": lasting(backbone.reference()), "sha256": weights_digest(backbone.model)}
        for prefix, backbone in backbones.items()
    }


def referenced_weights(
    model: nn.Module, references: Mapping[str, Any], folder: Path, *, bundled: bool
) -> dict[str, torch.Tensor]:
    """The tensors that a saved model refers to, by their full names; the hub is never asked for them.

    Args:
        model: rebuilt, without its weights; the backbones referred to become `pristine`.
        references: of its ``model.json``.
        folder: the model directory, for errors.
        bundled: True refuses any, as in an index, which holds all of its model.

    Raises:
        LimbeckError: a reference to no pretrained part; weights that are gone or changed.
    """
    file = folder / "model.json"
    found: dict[str, torch.Tensor] = {}
    if bundled and references:
        told = {str(own.get("source") if isinstance(own, dict) else own) for own in references.values()}
        raise LimbeckError(
            f"{file}: keeps weights elsewhere ({', '.join(sorted(told))}), but an index holds all of its "
            "model; build the index again"
        )
    modules = dict(model.named_modules())
    for prefix, reference in references.items():
        backbone = modules.get(prefix.removesuffix(".model."))
        inner = getattr(backbone, "model", None)
        if not isinstance(backbone, Backbone) or not isinstance(inner, nn.Module):
            raise LimbeckError(f"{file}: {prefix} refers to no pretrained part; restore it")
        if not isinstance(reference, dict) or not isinstance(reference.get("source"), str):
            raise LimbeckError(f"{file}: {prefix} refers to no source; restore it")
        weights = _weights(type(inner), reference["source"], reference.get("sha256"), folder)
        backbone.pristine = True
        found |= {prefix + name: tensor for name, tensor in weights.items()}
    return found


def _weights(kind: type[nn.Module], source: str, sha256: Any, folder: Path) -> dict[str, torch.Tensor]:
    try:
        inner = pretrained(kind, source, network=False)
    except LimbeckError as error:
        raise LimbeckError(f"{folder}: keeps pretrained weights elsewhere: {error}") from error
    if weights_digest(inner) != sha256:
        raise LimbeckError(
            f"{source}: its weights changed since the model was saved; "
            "restore them or save the model with bundle=True"
        )
    return dict(inner.state_dict())
