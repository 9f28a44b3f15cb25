"""HMID-Net (arXiv 2507.09487): masked image modelling and knowledge distillation in hyperbolic space.

A small student is shown a part of each picture's patches. In one Lorentz space it learns

  1. contrastively, picture against text, and by entailment, as MERU does;
  2. by *feature interaction distillation*: student pictures against the texts of a larger, frozen teacher
     that saw the whole picture, and student texts against the teacher's pictures, by geodesic distance;
  3. by *masked reconstruction*: a light decoder predicts the dropped patches' features, and the loss is the
     geodesic distance of prediction and target.

The abstract is all that is public: the form of 2 and 3 is a reconstruction. What is known, what we chose and
what it changed is kept in docs/papers/hmid_net.md. On the lift ``sphere`` with ``entailment: 0`` the same
objective is the Euclidean twin.
"""

from __future__ import annotations

import math
from typing import Any, Literal, cast

import torch
from pydantic import Field, model_validator
from torch import nn

from limbeck.data.inputs import Input, Reader
from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import Strict
from limbeck.encoders.decoder import PatchDecoder
from limbeck.encoders.lifts import Tempered
from limbeck.encoders.masking import MaskConfig, dropped, kept
from limbeck.encoders.towers import RunBackbone
from limbeck.errors import LimbeckError
from limbeck.losses import at_patches, entailment, info_nce, interaction, ramp, resample_grid
from limbeck.methods.average import Average
from limbeck.methods.base import Batch, Losses, Method, Reps, State, batch_accuracy, cone_share

EMA = "ema"


class HmidNetConfig(Strict):
    """Weights and variants; every default but ``entailment`` is ours.

    Attributes:
        teacher: an earlier stage, a run, a model directory, a hub id, or ``ema``: the student's own average.
        curvature: ``transport`` takes teacher points over through the tangent space; ``shared`` gives the
            student the teacher's curvature, fixed.
        projection: learn a linear map for a teacher of another embedding width.
        mask: which patches the student is shown in training.
        target: of the reconstruction: the teacher's patch features, those of the student's own average
            (``ema``), ``none``, or ``auto``: the teacher's where it has patches, else ``ema``.
        entailment_warmup: share of the steps over which the entailment weight rises.
    """

    teacher: str
    curvature: Literal["transport", "shared"] = "transport"
    projection: bool = False
    mask: MaskConfig = MaskConfig(ratio=0.5)
    target: Literal["auto", "teacher", "ema", "none"] = "auto"
    decoder_layers: int = Field(default=1, ge=1)
    decoder_width: int = Field(default=96, ge=32, multiple_of=32)
    distillation: float = Field(default=1.0, ge=0)
    distillation_scale: float = Field(default=1 / 0.07, gt=0)
    reconstruction: float = Field(default=0.1, ge=0)
    entailment: float = Field(default=0.2, ge=0)
    entailment_warmup: float = Field(default=0.5, ge=0, le=1)
    ema_momentum: float = Field(default=0.996, ge=0, le=1)

    @model_validator(mode="after")
    def _fits(self) -> HmidNetConfig:
        if self.target in ("teacher", "ema") and self.mask.ratio == 0:
            raise ValueError(
                f"target {self.target} has nothing to reconstruct at mask.ratio 0; set target: none"
            )
        if self.target == "teacher" and self.teacher == EMA:
            raise ValueError("teacher ema is its own target; set target: ema")
        if self.curvature == "shared" and self.teacher == EMA:
            raise ValueError("teacher ema has the student's curvature anyway; set curvature: transport")
        return self

    @property
    def reconstructs(self) -> bool:
        """Whether anything is reconstructed."""
        return self.target != "none" and self.mask.ratio > 0


class HmidNet(Method):
    """The student; see the module for its three lessons.

    L = InfoNCE(-tau d(I, T)) + entailment * mean max(0, ext(T, I) - aper(T))
      + distillation * 1/2 [CE(-tau_f d(I, T')) + CE(-tau_f d(T, I'))]       ' = teacher, own tau_f
      + reconstruction * mean over dropped patches of d(prediction, target)
    """

    Config = HmidNetConfig

    @classmethod
    def inputs(cls, config: HmidNetConfig) -> dict[str, Input]:
        """The student's masked picture and its text; what the teacher says of both, and of every patch."""
        student = {"image": Input("image", "image", mask=config.mask), "text": Input("text", "text")}
        if config.teacher == EMA:
            return student
        frozen = {
            "teacher_image": Input("image", "image", reader=Reader(config.teacher)),
            "teacher_text": Input("text", "text", reader=Reader(config.teacher)),
        }
        if config.reconstructs and config.target != EMA:
            patches = Reader(config.teacher, "patches", optional=config.target == "auto")
            frozen["teacher_patches"] = Input("image", "image", reader=patches)
        return student | frozen

    def meet(self, readers: dict[str, RunBackbone]) -> None:
        """Size decoder and projection for the teacher, take its curvature, start the moving average."""
        super().meet(readers)
        config, encoder = self.config, self.encoder
        backbone = encoder.towers["image"].backbone
        if config.mask.ratio:
            self._check_maskable(backbone)
        self.temperature = Tempered()
        self.temperature.set_temperature(config.distillation_scale, 100.0)
        self.projection: nn.Module = nn.Identity()
        if readers:
            self._meet_teacher(readers["teacher_image"])
        self.decoder: PatchDecoder | None = None
        self.average: Average | None = None
        from_average = config.teacher == EMA
        if config.reconstructs:
            self.decoder = PatchDecoder(
                encoder.towers["image"].dim,
                math.isqrt(backbone.patches),
                decoder_width=config.decoder_width,
                layers=config.decoder_layers,
                heads=config.decoder_width // 32,
            )
            from_average |= "teacher_patches" not in readers
        if from_average:
            self.average = Average(self._averaged(), config.ema_momentum)

    def _check_maskable(self, backbone: Backbone) -> None:
        ratio = self.config.mask.ratio
        if not backbone.patches:
            fault = f"the image tower reads {backbone.reads} and has no patches to mask"
        elif backbone.frozen:
            fault = "the image tower's backbone is frozen and always sees the whole picture"
        elif kept(backbone.patches, ratio) == backbone.patches:
            fault = f"mask.ratio {ratio:g} drops not one of {backbone.patches} patches"
        else:
            return
        raise LimbeckError(f"method 'hmid-net': {fault}; set mask.ratio: 0 and target: none")

    def _meet_teacher(self, teacher: RunBackbone) -> None:
        config, lift = self.config, self.encoder.lift
        augment = getattr(self.encoder.towers["image"].backbone, "augment", None)
        if "teacher_patches" in self.readers and augment is not None and not augment.keeps_place:
            raise LimbeckError(
                "method 'hmid-net': crops and mirror images move the patches away from the teacher's; set "
                "towers.image.backbone.augment: {crop: [1.0, 1.0], jitter: 0.2}, or target: ema"
            )
        if config.curvature == "shared":
            lift.share(teacher.lift)
        if config.projection:
            self.projection = nn.Linear(teacher.dim, lift.dim, bias=False)
            nn.init.orthogonal_(self.projection.weight)
        elif teacher.dim != lift.dim:
            raise LimbeckError(
                f"method 'hmid-net': the teacher's embeddings have width {teacher.dim}, the student's "
                f"{lift.dim}; set lift.dim: {teacher.dim} or projection: true"
            )

    def represent(self, batch: Batch) -> Reps:
        """Embeddings (B, d) of student and teacher, and each picture's reconstruction error (B,)."""
        tower, lift = self.encoder.towers["image"], self.encoder.lift
        reps = {"text": self.encoder.embed("text", batch["text"])}
        if self.decoder is None:
            reps["image"] = self.encoder.embed("image", batch["image"])
        else:
            tokens = tower.tokens(batch["image"])
            reps["image"] = lift(tokens[:, 0], "image")
            keep = batch["image"]["keep"]
            prediction = lift(self.decoder(tokens, keep), "image")
            target = at_patches(self._target(batch), dropped(keep, tower.backbone.patches))
            reps["reconstruction"] = lift.distance(prediction, target).mean(1)
        return reps | self._teacher(batch)

    def _teacher(self, batch: Batch) -> Reps:
        """The teacher's embeddings (B, d) of whole picture and text, in the student's space."""
        if self.config.teacher != EMA:
            return {
                name: self.encoder.lift.from_tangent(self.projection(self.read(name, batch)))
                for name in ("teacher_image", "teacher_text")
            }
        return {
            "teacher_image": self._slow("image", _whole(batch["image"])),
            "teacher_text": self._slow("text", batch["text"]),
        }

    def _target(self, batch: Batch) -> torch.Tensor:
        """Points (B, patches, d) that the decoder should predict."""
        if "teacher_patches" not in batch:
            return self._slow("image", _whole(batch["image"]), patches=True)
        patches = self.encoder.towers["image"].backbone.patches
        tangent = self.projection(resample_grid(self.read("teacher_patches", batch), patches))
        # A projection learns by distillation: a target must not come to meet its prediction.
        return self.encoder.lift.from_tangent(tangent.detach())

    def _averaged(self) -> nn.ModuleDict:
        """The parts of the student that have a moving average."""
        towers, lift = self.encoder.towers, self.encoder.lift
        parts = {"image": towers["image"], "lift": lift}
        return nn.ModuleDict(parts | ({"text": towers["text"]} if self.config.teacher == EMA else {}))

    def _slow(self, modality: str, inputs: Inputs, *, patches: bool = False) -> torch.Tensor:
        """What the moving average says, (B, d) or (B, patches, d), in the student's space."""
        assert self.average is not None
        parts = cast("Any", self.average.module)
        with torch.no_grad():
            features = parts[modality].tokens(inputs)[:, 1:] if patches else parts[modality](inputs)
            tangent = parts["lift"].to_tangent(parts["lift"](features, modality))
        return self.encoder.lift.from_tangent(tangent)

    def objective(self, reps: Reps, state: State) -> Losses:
        """The loss of the class."""
        config, lift, image, text = self.config, self.encoder.lift, reps["image"], reps["text"]
        logits, own = lift.logits(image, text), self.temperature.logit_scale
        parts = {
            "contrastive": (1.0, info_nce(logits)),
            "distillation": (
                config.distillation,
                interaction(
                    lift.logits(image, reps["teacher_text"], own),
                    lift.logits(text, reps["teacher_image"], own),
                ),
            ),
        }
        monitors = batch_accuracy(logits) | lift.monitors(image=image, text=text)
        if config.entailment:
            excess = lift.cone_excess(text, image)
            weight = config.entailment * ramp(state.step, state.total_steps, config.entailment_warmup)
            parts["entailment"] = (weight, entailment(excess))
            monitors |= cone_share(excess)
        if "reconstruction" in reps:
            parts["reconstruction"] = (config.reconstruction, reps["reconstruction"].mean())
        return Losses.weighted(monitors=monitors, **parts)

    def after_step(self, reps: Reps, state: State) -> None:
        """Bounds, then one step of the moving average."""
        super().after_step(reps, state)
        self.temperature.clamp_()
        if self.average is not None:
            self.average.update(self._averaged(), state.step / max(1, state.total_steps))


def _whole(inputs: Inputs) -> Inputs:
    """A picture's inputs without its mask."""
    return {name: value for name, value in inputs.items() if name != "keep"}
