"""SODA's teacher guided by a hyperbolic one (ours): its codes keep similarities of a Lorentz space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, model_validator

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input, TeacherSpec
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.geometry import lorentz
from limbeck.methods.base import Setup
from limbeck.methods.hashing.code_buffer import BufferedEmbeddings
from limbeck.methods.soda import SodaTeacher

_SMALL = 1e-12


@dataclass(kw_only=True)
class GuidedOutputs(BufferedEmbeddings):
    """Codes and labels, and the teacher's points (B, d) in tangent coordinates of its own unit."""

    teacher_image: torch.Tensor
    teacher_text: torch.Tensor


class SodaHyperbolic(SodaTeacher):
    """Stage 1 of SODA with S softened by a frozen MERU or HMID-Net model that read captions or tags.

        S'_ij = (1 - guide) S_ij + guide sigmoid(sharpness (m - g_ij) / std g)

    g_ij is how far picture i lies from label prompt j in the teacher's space: their geodesic ``distance``, or
    the angle by which the picture lies outside the ``cone`` of the prompt. m is the quantile of g at the
    batch's share of similar pairs, so that the teacher calls as many alike as the labels do. Everything else
    is `SodaTeacher`'s. Two pictures that share a label but lie far apart are then pulled less than two that
    the teacher, too, finds alike.
    """

    class Config(SodaTeacher.Config):
        """The frozen model (an earlier stage, a run, a model directory), and how much it counts."""

        teacher: str
        guide: float = Field(default=0.3, ge=0, le=1)
        by: Literal["distance", "cone"] = "distance"
        sharpness: float = Field(default=2.0, gt=0)

        @model_validator(mode="after")
        def _compares_batches(self) -> SodaHyperbolic.Config:
            if self.buffer:
                raise ValueError("needs buffer: false, since the teacher answers only for the batch")
            return self

    config: Config

    @classmethod
    def inputs(cls, config: Config) -> dict[str, Input]:
        """Return SODA's inputs, and the teacher's outputs for the same picture and prompt."""
        reader = TeacherSpec(config.teacher)
        return super().inputs(config) | {
            "teacher_image": Input("image", "image", teacher=reader),
            "teacher_text": Input("label_prompt", "text", config.prompt, teacher=reader),
        }

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        space = setup.teachers["teacher_image"].lift.space
        if not space.has_cones:
            raise LimbeckError(
                f"teacher: {config.teacher!r} is in {space.to_json()['name']}, not in a hyperbolic space; "
                "give a run of meru or hmid-net",
                code="E-SPACE-OTHER",
            )

    def encode_batch(self, batch: Batch) -> GuidedOutputs:
        """Return codes and labels, and the teacher's points (B, d) in tangent coordinates."""
        image, text = (self.teacher_output(name, batch) for name in ("teacher_image", "teacher_text"))
        return GuidedOutputs(**vars(super().encode_batch(batch)), teacher_image=image, teacher_text=text)

    def similar(self, outputs: BufferedEmbeddings) -> torch.Tensor:
        """Return S' (B, B), picture by prompt."""
        assert isinstance(outputs, GuidedOutputs)
        own = super().similar(outputs)
        image, text = (
            lorentz.exp_map0(rows.double(), 1.0) for rows in (outputs.teacher_image, outputs.teacher_text)
        )
        gap = (
            lorentz.pairwise_distance(image, text, 1.0)
            if self.config.by == "distance"
            else pairwise_cone_excess(text, image).T
        )
        middle = quantile(gap, own.double().mean())
        alike = torch.sigmoid(self.config.sharpness * (middle - gap) / gap.std().clamp_min(_SMALL))
        return own + self.config.guide * (alike.to(own) - own)


@torch.no_grad()
def quantile(values: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    """Return `torch.quantile` of all values, without its limit of 2^24 (a batch of 4,096)."""
    ordered = values.flatten().sort().values
    at = share * (len(ordered) - 1)
    return torch.lerp(ordered[at.floor().long()], ordered[at.ceil().long()], at.frac().to(ordered))


@torch.no_grad()
def pairwise_cone_excess(general: torch.Tensor, specific: torch.Tensor) -> torch.Tensor:
    """Return how far each specific point lies outside each general point's cone, at curvature -1.

    MERU's form, in float64 and without gradient, from inner products alone: (A, B) numbers, not (A, B, d).

    Args:
        general: (A, d) space parts of the tips of the cones.
        specific: (B, d) space parts of the points.

    Returns:
        (A, B) radians; 0 or less means inside.
    """
    x, y = general.double(), specific.double()
    product = lorentz.pairwise_inner(x, y, 1.0)
    time_x, time_y = (1 + x.square().sum(1)).sqrt(), (1 + y.square().sum(1)).sqrt()
    leg = time_y[None, :] + time_x[:, None] * product
    length = x.norm(dim=1)[:, None] * (product.square() - 1).clamp_min(_SMALL).sqrt()
    angle = torch.acos((leg / length.clamp_min(_SMALL)).clamp(-1, 1))
    return angle - lorentz.half_aperture(x, 1.0)[:, None]
