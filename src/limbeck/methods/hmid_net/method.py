"""HMID-Net (arXiv 2507.09487): masked image modelling and knowledge distillation in hyperbolic space.

A small student sees a part of each picture's patches. In one Lorentz space it learns

  1. contrastively, picture against text, and 2. by entailment, both as in MERU;
  3. by *feature interaction distillation*: student pictures against the texts of a larger, frozen teacher
     that saw the whole picture, and student texts against the teacher's pictures, by geodesic distance;
  4. by *masked reconstruction*: a light decoder predicts the features of the dropped patches, and the loss is
     the geodesic distance between prediction and target.

Only the abstract is public: the form of 3 and 4 is a reconstruction. docs/papers/hmid_net.md keeps what is
known, what we chose, and what each choice changed. On the lift ``sphere`` with ``entailment: 0`` the same
loss is the Euclidean twin.
"""

from __future__ import annotations

import torch
from torch import nn

from limbeck.data.batches import Batch
from limbeck.data.inputs import Input, TeacherSpec
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.inputs import TowerInputs, raw
from limbeck.encoders.masking import KEEP, KEEP_AGAIN, attended_keep, dropped
from limbeck.losses import at_patches, entailment, info_nce, interactive_kd, linear_warmup, pixel_error
from limbeck.losses.contrastive import batch_accuracy
from limbeck.methods.base import Losses, Method, Setup, TrainState
from limbeck.methods.hmid_net.config import EMA, NONE, HmidNetConfig
from limbeck.methods.hmid_net.extra_terms import ExtraTerms, own_temperature
from limbeck.methods.hmid_net.order_terms import OrderTerms, hidden_further
from limbeck.methods.hmid_net.outputs import HmidOutputs
from limbeck.methods.hmid_net.target import build_decoder, check_in_place, check_maskable, patch_target
from limbeck.methods.hmid_net.teacher import EmaOutputs, EmaTeacher, FrozenTeacher, Teacher, build_projection
from limbeck.methods.monitors import cone_share


class HmidNet(Method[HmidOutputs]):
    """The student. A prime (') marks the teacher, which has its own temperature tau_f in the student's space:

        L = contrastive * InfoNCE(-tau d(I, T))                                                         (1)
          + entailment * mean max(0, ext(T, I) - aper(T))                                               (2)
          + distillation * 1/2 [CE(-tau_f d(I, T')) + CE(-tau_f d(T, I'))]                              (3)
          + reconstruction * mean over dropped patches of d(prediction, target)                         (4)

    `ExtraTerms` adds further distillation terms and `OrderTerms` the hierarchy; both are off by default.
    """

    Config = HmidNetConfig
    config: HmidNetConfig

    @classmethod
    def inputs(cls, config: HmidNetConfig) -> dict[str, Input]:
        """Return the student's masked picture and text, and what the teacher reads: both, and every patch."""
        found = {"image": Input("image", "image", mask=config.mask), "text": Input("text", "text")}
        if config.order.phrases:
            found["phrase"] = Input("phrase", "text")
        if config.teacher in (EMA, NONE):
            return found
        if config.received or config.compared:
            found["teacher_image"] = Input("image", "image", teacher=TeacherSpec(config.teacher))
            found["teacher_text"] = Input("text", "text", teacher=TeacherSpec(config.teacher))
        if config.asks_patches:
            patches = TeacherSpec(config.teacher, "patches", optional=config.target == "auto")
            found["teacher_patches"] = Input("image", "image", teacher=patches)
        return found

    def __init__(self, encoder: DualEncoder, config: HmidNetConfig, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        tower, lift = encoder.towers["image"], encoder.lift
        if config.mask.ratio:
            check_maskable(tower.backbone, config.mask.ratio)
        if "teacher_patches" in setup.teachers:
            check_in_place(tower.backbone)
        self.projection: nn.Module = nn.Identity()
        if setup.teachers:
            teacher = next(iter(setup.teachers.values()))
            if config.curvature == "shared":
                lift.tie_curvature(teacher.lift)
            self.projection = build_projection(config, teacher, lift)
        self.temperature = own_temperature(config.distillation_scale)
        self.extra, self.order = ExtraTerms(config, lift), OrderTerms(config, lift)
        self.decoder = build_decoder(config, tower) if config.reconstructs else None
        slow_target = (
            config.reconstructs and config.target != "pixels" and "teacher_patches" not in setup.teachers
        )
        self.asks_average = config.attentive or slow_target
        self.average: EmaTeacher | None = None
        if config.teacher == EMA or self.asks_average:
            self.average = EmaTeacher(self._averaged(), config.ema_momentum)
        if setup.teachers or config.teacher == EMA:
            self.extra.check(self.teacher.lift)

    @property
    def teacher(self) -> Teacher:
        """The model that teaches: the frozen one, or the student's own moving average."""
        own = self.average if self.config.teacher == EMA else None
        return own or FrozenTeacher(self.teachers)

    def encode_batch(self, batch: Batch) -> HmidOutputs:
        """Return embeddings (B, d) of student and teacher, and each picture's reconstruction error (B,)."""
        image, average = batch.inputs["image"], None
        if self.asks_average and self.average is not None:
            average = self.average.read_pictures(image, attention=self.config.attentive)
        target = None if self.decoder is None else patch_target(self, batch, average)
        text = self.encoder.embed("text", batch.inputs["text"])
        views, errors = [], []
        for view in self._views(image, average):
            embedding, error = self._encode_view(view, target)
            views.append(embedding)
            errors += [] if error is None else [error]
        outputs = HmidOutputs(views[0], text, *views[1:])
        if errors:
            outputs.reconstruction = torch.stack(errors).mean(0)
        if self.config.order.phrases:
            outputs.phrase = self.encoder.embed("text", batch.inputs["phrase"])
        if self.config.order.views:
            shown = self._views(image, average)[0]
            outputs.part = self.encoder.embed("image", hidden_further(raw(shown)))
        self._add_teacher(outputs, batch, average)
        return outputs

    def _views(self, image: TowerInputs, average: EmaOutputs | None) -> list[TowerInputs]:
        """Return the masked views of the pictures that the student is shown."""
        if average is not None and average.attention is not None:
            return [raw(image) | {KEEP: attended_keep(average.attention, self.config.mask.ratio)}]
        if self.config.mask.views == 1:
            return [image]
        return [image, raw(image) | {KEEP: raw(image)[KEEP_AGAIN]}]

    def _encode_view(
        self, view: TowerInputs, target: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the embeddings (B, d) of one view, and its reconstruction error (B,) if it has a target."""
        if self.decoder is None or target is None:
            return self.encoder.embed("image", view), None
        tower, lift = self.encoder.towers["image"], self.encoder.lift
        shown = raw(view)
        tokens = tower.tokens(shown)
        embedding = lift(tokens[:, 0], "image")
        wanted = at_patches(target, dropped(shown[KEEP], tower.backbone.patches))
        predicted = self.decoder(tokens, shown[KEEP])
        if self.config.target == "pixels":
            error = pixel_error(predicted, wanted)
        else:
            error = lift.distance(lift(predicted, "image"), wanted).mean(1)
        return embedding, error

    def _add_teacher(self, outputs: HmidOutputs, batch: Batch, average: EmaOutputs | None) -> None:
        """Add the teacher's points of whole picture and text, in the student's space and in its own."""
        if not self.config.received and not self.config.compared:
            return
        image, text = self.teacher.tangent(self, batch, average)
        if self.config.received:
            receive = self.encoder.lift.from_tangent
            outputs.teacher_image, outputs.teacher_text = (receive(self.projection(x)) for x in (image, text))
        if self.config.compared:
            native = self.teacher.lift.from_tangent
            outputs.native_image, outputs.native_text = native(image), native(text)

    def loss(self, outputs: HmidOutputs, state: TrainState) -> Losses:
        """Return the loss of the class; each term is its mean over the views of the pictures."""
        parts: dict[str, tuple[float, torch.Tensor]] = {}
        for name, weight in self.config.weights.items():
            if weight:
                terms = [self._term(name, image, outputs) for image in outputs.views]
                parts[name] = weight, torch.stack(terms).mean()
        warmup = linear_warmup(state.step, state.total_steps, self.config.entailment_warmup)
        for name in parts:
            if name == "entailment" or name.startswith("order_"):
                parts[name] = parts[name][0] * warmup, parts[name][1]
        return Losses.weighted(monitors=self._monitors(outputs), **parts)

    def _term(self, name: str, image: torch.Tensor, outputs: HmidOutputs) -> torch.Tensor:
        """Return one term for one view (B, d) of the pictures."""
        lift, text = self.encoder.lift, outputs.text
        match name:
            case "contrastive":
                return info_nce(lift.logits(image, text))
            case "entailment":
                return entailment(lift.cone_excess(text, image))
            case "distillation":
                return interactive_kd(*self.interactions(image, outputs))
            case "reconstruction":
                assert outputs.reconstruction is not None
                return outputs.reconstruction.mean()
            case _ if name.startswith("order_"):
                return self.order.term(name, self, image, outputs)
            case _:
                return self.extra.term(name, self, image, outputs)

    def interactions(self, image: torch.Tensor, outputs: HmidOutputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (B, B) logits: student pictures × teacher texts, and student texts × teacher pictures."""
        lift, tau_f = self.encoder.lift, self.temperature.logit_scale
        teacher_image, teacher_text = outputs.teacher
        return lift.logits(image, teacher_text, tau_f), lift.logits(outputs.text, teacher_image, tau_f)

    def _averaged(self) -> nn.ModuleDict:
        """Return the parts of the student that have a moving average."""
        parts: dict[str, nn.Module] = {"image": self.encoder.towers["image"], "lift": self.encoder.lift}
        if self.config.teacher == EMA:
            parts["text"] = self.encoder.towers["text"]
        return nn.ModuleDict(parts)

    @torch.no_grad()
    def _monitors(self, outputs: HmidOutputs) -> dict[str, torch.Tensor]:
        lift, image, text = self.encoder.lift, outputs.image, outputs.text
        points = {"image": image, "text": text}
        points |= {} if outputs.phrase is None else {"phrase": outputs.phrase}
        if outputs.teacher_image is not None:  # shows radii that drift apart, and points beyond the bound
            points |= dict(zip(("teacher_image", "teacher_text"), outputs.teacher, strict=True))
        found = batch_accuracy(lift.logits(image, text)) | lift.monitors(**points) | self.extra.monitors()
        if self.config.distillation:
            found["logit_scale/distillation"] = self.temperature.logit_scale
        return found | (
            cone_share(lift.cone_excess(text, image))
            if self.config.entailment or self.config.order.cones
            else {}
        )

    def after_step(self, outputs: HmidOutputs, state: TrainState) -> None:
        """Bring scalars into their bounds, then move the average of the student by one step."""
        super().after_step(outputs, state)
        self.temperature.clamp_()
        self.extra.clamp_()
        if self.average is not None:
            self.average.update(self._averaged(), state.step / max(1, state.total_steps))
