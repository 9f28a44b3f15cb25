"""Further distillation terms of HMID-Net, all ours and off by default: relation, match, cross and radius."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from limbeck.encoders.lifts import Lift, LogitScale
from limbeck.errors import LimbeckError
from limbeck.losses import cross_relational_kd, feature_distance, radius_mse, relational_kd, squared_distance
from limbeck.methods.hmid_net.config import MAX_SCALE, HmidNetConfig
from limbeck.methods.hmid_net.outputs import HmidOutputs

if TYPE_CHECKING:
    from limbeck.methods.hmid_net.method import HmidNet


def own_temperature(scale: float) -> LogitScale:
    """Return a learnable inverse temperature that starts at ``scale`` and is capped as MERU's."""
    found = LogitScale()
    found.set_temperature(scale, MAX_SCALE)
    return found


class ExtraTerms(nn.Module):
    """The terms below, each with its weight; p' are the softmax rows of the teacher's own logits.

    relation * KL(p' || softmax(-tau_r d(I, T)))    + cross * KL(p' || the rows of the interaction)
    + match * [d(I, I') + d(T, T')]                 + radius * [(r_I - r_I')^2 + (r_T - r_T')^2]
    """

    def __init__(self, config: HmidNetConfig, lift: Lift) -> None:
        super().__init__()
        self.config = config
        self.temperature = own_temperature(config.relation.scale) if config.relation.weight else None
        self._student_has_radius = lift.has_radius
        self._student_space = lift.space.to_json()["name"]

    def check(self, teacher: Lift) -> None:
        """Refuse the radius term where a space has no radii.

        Raises:
            LimbeckError: the student's or the teacher's space has no radii; the message names it.
        """
        if not self.config.radius.weight:
            return
        sides = (
            ("student's", self._student_has_radius, self._student_space),
            ("teacher's", teacher.has_radius, teacher.space.to_json()["name"]),
        )
        for whose, has_radius, space in sides:
            if not has_radius:
                raise LimbeckError(
                    f"method 'hmid-net': the {whose} space {space} has no radii; set radius.weight: 0",
                    code="E-CONFIG-VALUE",
                )

    def term(self, name: str, method: HmidNet, image: torch.Tensor, outputs: HmidOutputs) -> torch.Tensor:
        """Return one term for one view (B, d) of the pictures."""
        config, lift, text = self.config, method.encoder.lift, outputs.text
        match name:
            case "relation":
                assert self.temperature is not None
                student = lift.logits(image, text, self.temperature.logit_scale)
                return relational_kd(student, _native_logits(method, outputs, config.relation.temperature))
            case "cross":
                teacher = _native_logits(method, outputs, config.cross.temperature)
                return cross_relational_kd(*method.interactions(image, outputs), teacher)
            case "match":
                distance = _tangent_distance if config.match.by == "tangent" else _geodesic_distance
                teacher_image, teacher_text = outputs.teacher
                return feature_distance(
                    distance(lift, image, teacher_image), distance(lift, text, teacher_text)
                )
            case "radius":
                native = [method.teacher.lift.radius(points) for points in outputs.native]
                own = [lift.radius(points) for points in (image, text)]
                return radius_mse(own[0], native[0]) + radius_mse(own[1], native[1])
        raise KeyError(name)

    def monitors(self) -> dict[str, torch.Tensor]:
        """Return the relation's own inverse temperature, where it has one."""
        return {} if self.temperature is None else {"logit_scale/relation": self.temperature.logit_scale}

    def clamp_(self) -> None:
        """Bring the temperature back into its bounds."""
        if self.temperature is not None:
            self.temperature.clamp_()


def _native_logits(method: HmidNet, outputs: HmidOutputs, temperature: float) -> torch.Tensor:
    """Return (B, B) logits of teacher pictures × teacher texts in the teacher's own space."""
    return method.teacher.lift.logits(*outputs.native) / temperature


def _geodesic_distance(lift: Lift, own: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return lift.distance(own, teacher)


def _tangent_distance(lift: Lift, own: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return squared_distance(lift.to_tangent(own), lift.to_tangent(teacher))
