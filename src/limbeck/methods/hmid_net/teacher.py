"""Who teaches: a frozen model, or the student's own moving average. Both speak in tangent coordinates."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import nn

from limbeck.encoders.backbone import Inputs
from limbeck.encoders.lifts import MODALITIES, Lift
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.methods.average import Average
from limbeck.methods.base import Batch, Method
from limbeck.methods.hmid_net.config import HmidNetConfig


class Look(NamedTuple):
    """What the moving average says of whole pictures.

    Attributes:
        tangent: (B, 1 + patches, d) coordinates of the picture and of each patch.
        attention: (B, patches) of the class token, if asked for.
    """

    tangent: torch.Tensor
    attention: torch.Tensor | None


class Teacher(Protocol):
    """Whole pictures and their texts as a teacher sees them.

    Attributes:
        lift: of the teacher's own space, for its own logits and radii.
    """

    @property
    def lift(self) -> Lift:
        """The teacher's lift."""

    def tangent(self, batch: Batch, look: Look | None) -> dict[str, torch.Tensor]:
        """Tangent coordinates (B, d) by modality, without gradient.

        ``look``: what the moving average says of the pictures, if it was asked.
        """


class FrozenTeacher:
    """A model trained before, through the readers of the method's inputs (cached or not)."""

    def __init__(self, method: Method) -> None:
        self._method = method

    @property
    def lift(self) -> Lift:
        """The reader's."""
        return self._method.readers["teacher_image"].lift

    def tangent(self, batch: Batch, look: Look | None) -> dict[str, torch.Tensor]:
        """What the readers say."""
        return {m: self._method.read(f"teacher_{m}", batch) for m in MODALITIES}


class SlowStudent(Average):
    """The moving average of the student's towers and lift: a teacher, a target, or both."""

    @property
    def lift(self) -> Lift:
        """The lift's moving average."""
        return cast("Lift", cast("Any", self.module)["lift"])

    @torch.no_grad()
    def look(self, inputs: Inputs, *, attention: bool = False) -> Look:
        """At the whole pictures, once for every use of it."""
        tower, whole = self._tower("image"), unmasked(inputs)
        tokens, found = tower.attended(whole) if attention else (tower.tokens(whole), None)
        return Look(self._tangent(tokens, "image"), found)

    @torch.no_grad()
    def tangent(self, batch: Batch, look: Look | None) -> dict[str, torch.Tensor]:
        """What the average says of text and whole picture."""
        text = self._tangent(self._tower("text")(batch["text"]), "text")
        if look is not None:
            return {"image": look.tangent[:, 0], "text": text}
        return {"image": self._tangent(self._tower("image")(unmasked(batch["image"])), "image"), "text": text}

    def _tower(self, modality: str) -> Tower:
        return cast("Tower", cast("Any", self.module)[modality])

    def _tangent(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        return self.lift.to_tangent(self.lift(features, modality))


def unmasked(inputs: Inputs) -> Inputs:
    """A picture's inputs without its masks."""
    return {name: value for name, value in inputs.items() if not name.startswith("keep")}


def check_radii(*lifts: Lift) -> None:
    """Refuse the radius term where a space has none."""
    for who, lift in zip(("student's", "teacher's"), lifts, strict=True):
        try:
            lift.radius(torch.zeros(1, lift.dim))
        except LimbeckError:
            raise LimbeckError(
                f"method 'hmid-net': the {who} space {lift.space.to_json()['name']} has no radii; "
                "set radius.weight: 0"
            ) from None


def projection(config: HmidNetConfig, teacher: RunBackbone, lift: Lift) -> nn.Module:
    """From the teacher's tangent space to the student's.

    Raises:
        LimbeckError: the widths differ and nothing maps one to the other.
    """
    if config.projection:
        linear = nn.Linear(teacher.dim, lift.dim, bias=False)
        nn.init.orthogonal_(linear.weight)
        return linear
    if teacher.dim != lift.dim and config.curvature != "relations":
        other = "projection: true" if config.received else "curvature: relations"
        raise LimbeckError(
            f"method 'hmid-net': the teacher's embeddings have width {teacher.dim}, the student's "
            f"{lift.dim}; set lift.dim: {teacher.dim} or {other}"
        )
    return nn.Identity()
