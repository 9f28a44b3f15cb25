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

from collections.abc import Callable

import torch
from torch import nn

from limbeck.data.inputs import Input, Reader
from limbeck.encoders.backbone import Inputs
from limbeck.encoders.lifts import Tempered
from limbeck.encoders.masking import attended_keep, dropped
from limbeck.encoders.towers import RunBackbone
from limbeck.losses import (
    at_patches,
    cross_relation,
    entailment,
    feature_match,
    info_nce,
    interaction,
    radius_gap,
    ramp,
    relation,
    resample_grid,
    squared_gap,
)
from limbeck.losses.masked import pixel_error
from limbeck.methods.base import Batch, Losses, Method, Reps, State, batch_accuracy, cone_share
from limbeck.methods.hmid_net.config import EMA, MAX_SCALE, NONE, HmidNetConfig
from limbeck.methods.hmid_net.target import build_decoder, check_in_place, check_maskable
from limbeck.methods.hmid_net.teacher import (
    FrozenTeacher,
    Look,
    SlowStudent,
    Teacher,
    check_radii,
    projection,
)


class HmidNet(Method):
    """The student; see the module for its three lessons.

    L = contrastive * InfoNCE(-tau d(I, T)) + entailment * mean max(0, ext(T, I) - aper(T))
      + distillation * 1/2 [CE(-tau_f d(I, T')) + CE(-tau_f d(T, I'))]       ' = teacher, own tau_f
      + reconstruction * mean over dropped patches of d(prediction, target)

    and, off unless they have a weight, further terms of the distillation, p' the teacher's own rows:

      + relation * KL(p' || softmax(-tau_r d(I, T)))    + cross * KL(p' || the rows of the interaction)
      + match * [d(I, I') + d(T, T')]                   + radius * [(r_I - r_I')^2 + (r_T - r_T')^2]
    """

    Config = HmidNetConfig
    config: HmidNetConfig

    @classmethod
    def inputs(cls, config: HmidNetConfig) -> dict[str, Input]:
        """The student's masked picture and its text; what the teacher says of both, and of every patch."""
        found = {"image": Input("image", "image", mask=config.mask), "text": Input("text", "text")}
        if config.teacher in (EMA, NONE):
            return found
        if config.received or config.compared:
            found["teacher_image"] = Input("image", "image", reader=Reader(config.teacher))
            found["teacher_text"] = Input("text", "text", reader=Reader(config.teacher))
        if config.asks_patches:
            patches = Reader(config.teacher, "patches", optional=config.target == "auto")
            found["teacher_patches"] = Input("image", "image", reader=patches)
        return found

    def meet(self, readers: dict[str, RunBackbone]) -> None:
        """Size decoder and projection for the teacher, take its curvature, start the moving average."""
        super().meet(readers)
        config, tower, lift = self.config, self.encoder.towers["image"], self.encoder.lift
        if config.mask.ratio:
            check_maskable(tower.backbone, config.mask.ratio)
        if "teacher_patches" in readers:
            check_in_place(tower.backbone)
        self.projection: nn.Module = nn.Identity()
        for reader in list(readers.values())[:1]:
            if config.curvature == "shared":
                lift.share(reader.lift)
            self.projection = projection(config, reader, lift)
        self.temperature = _tempered(config.distillation_scale)
        self.relation_temperature = _tempered(config.relation.scale) if config.relation.weight else None
        self.decoder = build_decoder(config, tower) if config.reconstructs else None
        slow_target = config.reconstructs and config.target != "pixels" and "teacher_patches" not in readers
        self.looks = config.attentive or slow_target
        self.average: SlowStudent | None = None
        if config.teacher == EMA or self.looks:
            self.average = SlowStudent(self._averaged(), config.ema_momentum)
        if config.radius.weight:
            check_radii(lift, self.teacher.lift)

    @property
    def teacher(self) -> Teacher:
        """Who teaches, where anyone does."""
        slow = self.average if self.config.teacher == EMA else None
        return slow or FrozenTeacher(self)

    def represent(self, batch: Batch) -> Reps:
        """Embeddings (B, d) of student and teacher, and each picture's reconstruction error (B,)."""
        tower, lift, look = self.encoder.towers["image"], self.encoder.lift, None
        if self.looks and self.average is not None:
            look = self.average.look(batch["image"], attention=self.config.attentive)
        target = self._target(batch, look) if self.decoder is not None else None
        reps, errors = {"text": self.encoder.embed("text", batch["text"])}, []
        for name, view in self._views(batch, look).items():
            if self.decoder is None or target is None:
                reps[name] = self.encoder.embed("image", view)
                continue
            tokens = tower.tokens(view)
            reps[name] = lift(tokens[:, 0], "image")
            wanted = at_patches(target, dropped(view["keep"], tower.backbone.patches))
            errors.append(self._error(self.decoder(tokens, view["keep"]), wanted))
        if errors:
            reps["reconstruction"] = torch.stack(errors).mean(0)
        return reps | self._taught(batch, look)

    def _views(self, batch: Batch, look: Look | None) -> dict[str, Inputs]:
        """What the student is shown of the pictures, by the name of its embedding."""
        image, mask = batch["image"], self.config.mask
        if look is not None and look.attention is not None:
            return {"image": image | {"keep": attended_keep(look.attention, mask.ratio)}}
        again = {"image_again": image | {"keep": image["keep_again"]}} if mask.views == 2 else {}
        return {"image": image, **again}

    def _error(self, predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """(B,) mean error over the dropped patches: geodesic distance, or the square of pixels."""
        if self.config.target == "pixels":
            return pixel_error(predicted, target)
        lift = self.encoder.lift
        return lift.distance(lift(predicted, "image"), target).mean(1)

    def _taught(self, batch: Batch, look: Look | None) -> Reps:
        """The teacher's embeddings (B, d) of whole picture and text, in the student's space and its own."""
        config, teacher, reps = self.config, self.teacher, {}
        if not config.received and not config.compared:
            return {}
        for modality, tangent in teacher.tangent(batch, look).items():
            if config.received:
                reps[f"teacher_{modality}"] = self.encoder.lift.from_tangent(self.projection(tangent))
            if config.compared:
                reps[f"own_{modality}"] = teacher.lift.from_tangent(tangent)
        return reps

    def _target(self, batch: Batch, look: Look | None) -> torch.Tensor:
        """(B, patches, d) points, or (B, patches, n) pixels, that the decoder should predict."""
        backbone, lift = self.encoder.towers["image"].backbone, self.encoder.lift
        if self.config.target == "pixels":
            return backbone.tiles(batch["image"])
        if look is not None and "teacher_patches" not in batch:
            return lift.from_tangent(look.tangent[:, 1:])
        tangent = self.projection(resample_grid(self.read("teacher_patches", batch), backbone.patches))
        # A projection learns by distillation: a target must not come to meet its prediction.
        return lift.from_tangent(tangent.detach())

    def _averaged(self) -> nn.ModuleDict:
        """The parts of the student that have a moving average."""
        towers, lift = self.encoder.towers, self.encoder.lift
        parts = {"image": towers["image"], "lift": lift}
        return nn.ModuleDict(parts | ({"text": towers["text"]} if self.config.teacher == EMA else {}))

    def objective(self, reps: Reps, state: State) -> Losses:
        """The loss of the class: each term that has a weight, its mean over the views of the pictures."""
        config, lift, text = self.config, self.encoder.lift, reps["text"]
        terms: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "contrastive": lambda image: info_nce(lift.logits(image, text)),
            "distillation": lambda image: interaction(*self._interactions(image, reps)),
            "relation": lambda image: relation(
                lift.logits(image, text, self._relation_scale()),
                self._own_logits(reps, config.relation.temperature),
            ),
            "match": lambda image: feature_match(
                self._gap(image, reps["teacher_image"]), self._gap(text, reps["teacher_text"])
            ),
            "cross": lambda image: cross_relation(
                *self._interactions(image, reps), self._own_logits(reps, config.cross.temperature)
            ),
            "radius": lambda image: (
                radius_gap(lift.radius(image), self._own_radius(reps["own_image"]))
                + radius_gap(lift.radius(text), self._own_radius(reps["own_text"]))
            ),
            "entailment": lambda image: entailment(lift.cone_excess(text, image)),
            "reconstruction": lambda image: reps["reconstruction"].mean(),
        }
        shares = {"entailment": ramp(state.step, state.total_steps, config.entailment_warmup)}
        images = [reps[name] for name in ("image", "image_again") if name in reps]
        parts = {
            name: (
                weight * shares.get(name, 1.0),
                torch.stack([terms[name](image) for image in images]).mean(),
            )
            for name, weight in config.weights.items()
            if weight
        }
        return Losses.weighted(monitors=self._monitors(reps), **parts)

    def _interactions(self, image: torch.Tensor, reps: Reps) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, B) logits twice: student pictures against teacher texts, student texts against its pictures."""
        lift, own = self.encoder.lift, self.temperature.logit_scale
        return (
            lift.logits(image, reps["teacher_text"], own),
            lift.logits(reps["text"], reps["teacher_image"], own),
        )

    def _relation_scale(self) -> torch.Tensor:
        assert self.relation_temperature is not None
        return self.relation_temperature.logit_scale

    def _own_logits(self, reps: Reps, temperature: float) -> torch.Tensor:
        """(B, B) logits of teacher pictures against teacher texts, in the teacher's own space."""
        return self.teacher.lift.logits(reps["own_image"], reps["own_text"]) / temperature

    def _own_radius(self, points: torch.Tensor) -> torch.Tensor:
        return self.teacher.lift.radius(points)

    def _gap(self, own: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
        """(B,) how far each item is from the teacher's embedding of it, as `match.by` has it."""
        lift = self.encoder.lift
        if self.config.match.by == "distance":
            return lift.distance(own, taught)
        return squared_gap(lift.to_tangent(own), lift.to_tangent(taught))

    @torch.no_grad()
    def _monitors(self, reps: Reps) -> dict[str, torch.Tensor]:
        lift, image, text = self.encoder.lift, reps["image"], reps["text"]
        # Of the teacher too: radii that drift apart, or points beyond the student's bound, are seen here.
        taught = {name: reps[name] for name in ("teacher_image", "teacher_text") if name in reps}
        found = batch_accuracy(lift.logits(image, text)) | lift.monitors(image=image, text=text, **taught)
        if self.config.distillation:
            found["logit_scale/distillation"] = self.temperature.logit_scale
        if self.relation_temperature is not None:
            found["logit_scale/relation"] = self.relation_temperature.logit_scale
        return found | (cone_share(lift.cone_excess(text, image)) if self.config.entailment else {})

    def after_step(self, reps: Reps, state: State) -> None:
        """Bounds, then one step of the moving average."""
        super().after_step(reps, state)
        for own in (self.temperature, self.relation_temperature):
            if own is not None:
                own.clamp_()
        if self.average is not None:
            self.average.update(self._averaged(), state.step / max(1, state.total_steps))


def _tempered(scale: float) -> Tempered:
    """An inverse temperature of its own, capped as MERU's."""
    found = Tempered()
    found.set_temperature(scale, MAX_SCALE)
    return found
