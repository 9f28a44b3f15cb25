"""References of a saved model to pretrained weights, by source and SHA-256, instead of copies of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.hub import weights_digest
from limbeck.encoders.sources import lasting
from limbeck.errors import LimbeckError
from limbeck.typed import Json


def references_to(backbones: Mapping[str, Backbone]) -> dict[str, dict[str, str | None]]:
    """Return the entries of ``model.json`` for unchanged backbones, by the prefix of their weights."""
    return {
        prefix: {"source": lasting(backbone.reference()), "sha256": backbone.network_digest()}
        for prefix, backbone in backbones.items()
    }


def referenced_weights(
    model: nn.Module, references: Mapping[str, Json], folder: Path, *, bundled: bool
) -> dict[str, torch.Tensor]:
    """Load the tensors that a saved model refers to, by their full names, without any request to the hub.

    Args:
        model: the rebuilt model, without weights; the backbones of the references become `pristine`.
        references: the references in its ``model.json``.
        folder: the model directory, for errors.
        bundled: True refuses any reference, as in an index, which contains its whole model.

    Raises:
        LimbeckError: a reference names no pretrained part, or weights are missing or changed.
    """
    file = folder / "model.json"
    tensors: dict[str, torch.Tensor] = {}
    if bundled and references:
        sources = {str(one.get("source") if isinstance(one, dict) else one) for one in references.values()}
        raise LimbeckError(
            f"{file}: keeps weights elsewhere ({', '.join(sorted(sources))}), but an index contains its "
            "whole model; build the index again",
            code="E-INDEX-DAMAGED",
        )
    modules = dict(model.named_modules())
    for prefix, reference in references.items():
        backbone = modules.get(prefix.removesuffix(".model."))
        inner = getattr(backbone, "model", None)
        if not isinstance(backbone, Backbone) or not isinstance(inner, nn.Module):
            raise LimbeckError(
                f"{file}: {prefix} refers to no pretrained part; restore it", code="E-MODEL-DAMAGED"
            )
        if not isinstance(reference, dict) or not isinstance(reference.get("source"), str):
            raise LimbeckError(f"{file}: {prefix} refers to no source; restore it", code="E-MODEL-DAMAGED")
        weights = _weights(backbone, reference["source"], reference.get("sha256"), folder)
        backbone.pristine = True
        tensors |= {prefix + name: tensor for name, tensor in weights.items()}
    return tensors


def _weights(backbone: Backbone, source: str, sha256: object, folder: Path) -> dict[str, torch.Tensor]:
    try:
        inner = backbone.from_source(source)
    except LimbeckError as error:
        raise LimbeckError(
            f"{folder}: keeps pretrained weights elsewhere: {error}", code=error.code
        ) from error
    if weights_digest(inner) != sha256:
        raise LimbeckError(
            f"{source}: its weights changed since the model was saved; "
            "restore them or save the model with bundle=True",
            code="E-MODEL-DAMAGED",
        )
    return dict(inner.state_dict())
