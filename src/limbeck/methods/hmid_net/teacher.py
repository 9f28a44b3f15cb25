"""HMID-Net's teachers: a frozen model, or the student's own moving average. Both give tangent coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast

import torch
from torch import nn

from limbeck.data.batches import Batch
from limbeck.encoders.inputs import TowerInputs, raw
from limbeck.encoders.lifts import Lift
from limbeck.encoders.masking import unmasked
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.methods.base import Method
from limbeck.methods.ema import MovingAverage
from limbeck.methods.hmid_net.config import HmidNetConfig


class EmaOutputs(NamedTuple):
    """What the moving average computes from whole pictures.

    Attributes:
        tangent: (B, 1 + patches, d) tangent coordinates of the picture and of each patch.
        attention: (B, patches) attention of the class token, if it was asked for.
    """

    tangent: torch.Tensor
    attention: torch.Tensor | None


class Teacher(Protocol):
    """A model that sees whole pictures and their texts.

    Attributes:
        lift: the lift of the teacher's own space, for its own logits and radii.
    """

    @property
    def lift(self) -> Lift:
        """The teacher's lift."""

    def tangent(
        self, method: Method, batch: Batch, average: EmaOutputs | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return tangent coordinates (B, d) of pictures and texts, without gradient.

        ``average`` holds the moving average's outputs for the pictures, if they are known already.
        """


class FrozenTeacher:
    """A model that was trained before; its outputs come from the cache or are computed on the way."""

    def __init__(self, teachers: Mapping[str, RunBackbone]) -> None:
        self._teachers = teachers

    @property
    def lift(self) -> Lift:
        """The frozen model's lift."""
        return self._teachers["teacher_image"].lift

    def tangent(
        self, method: Method, batch: Batch, average: EmaOutputs | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the frozen model's tangent coordinates of pictures and texts."""
        return method.teacher_output("teacher_image", batch), method.teacher_output("teacher_text", batch)


class EmaTeacher(MovingAverage):
    """The moving average of the student's towers and lift: a teacher, a reconstruction target, or both."""

    module: nn.ModuleDict

    @property
    def lift(self) -> Lift:
        """The lift's moving average."""
        return cast("Lift", self.module["lift"])

    @torch.no_grad()
    def read_pictures(self, inputs: TowerInputs, *, attention: bool = False) -> EmaOutputs:
        """Encode the whole pictures once, for every use in this step."""
        tower, whole = self._tower("image"), raw(unmasked(inputs))
        tokens, found = tower.attended(whole) if attention else (tower.tokens(whole), None)
        return EmaOutputs(self._tangent(tokens, "image"), found)

    @torch.no_grad()
    def tangent(
        self, method: Method, batch: Batch, average: EmaOutputs | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the average's tangent coordinates of whole pictures and texts."""
        text = self._tangent(self._tower("text")(batch.inputs["text"]), "text")
        if average is not None:
            return average.tangent[:, 0], text
        return self._tangent(self._tower("image")(unmasked(batch.inputs["image"])), "image"), text

    def _tower(self, modality: str) -> Tower:
        return cast("Tower", self.module[modality])

    def _tangent(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        return self.lift.to_tangent(self.lift(features, modality))


def build_projection(config: HmidNetConfig, teacher: RunBackbone, lift: Lift) -> nn.Module:
    """Return the map from the teacher's tangent space to the student's.

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
            f"{lift.dim}; set lift.dim: {teacher.dim} or {other}",
            code="E-CONFIG-VALUE",
        )
    return nn.Identity()
