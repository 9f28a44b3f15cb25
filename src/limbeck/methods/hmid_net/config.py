"""The switches of HMID-Net; all but the entailment weight are ours (docs/papers/hmid_net.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from limbeck.encoders.config import Strict
from limbeck.encoders.masking import MaskConfig

EMA, NONE = "ema", "none"
MAX_SCALE = 100.0  # of an inverse temperature, as in CLIP and MERU


class TermConfig(Strict):
    """A further term of the distillation, off at weight 0."""

    weight: float = Field(default=0.0, ge=0)


class RelationConfig(TermConfig):
    """KL of the student's rows of logits from the teacher's.

    ``scale``: the student's own inverse temperature at the start, learned. ``temperature``: divides the
    teacher's logits, which have the temperature that it was trained to; above 1 they are softer.
    """

    scale: float = Field(default=1 / 0.07, gt=0, le=MAX_SCALE)
    temperature: float = Field(default=1.0, gt=0)


class MatchConfig(TermConfig):
    """Pull each item to the teacher's embedding, by ``distance`` or squared in the ``tangent`` space."""

    by: Literal["distance", "tangent"] = "distance"


class CrossConfig(TermConfig):
    """KL of the rows of interaction distillation from the teacher's own, softened by ``temperature``."""

    temperature: float = Field(default=1.0, gt=0)


class OrderConfig(Strict):
    """What only a space with cones can be taught, all ours and off at weight 0 (see `OrderTerms`).

    Attributes:
        cones: weight of captions whose cones hold their own picture and not the others.
        phrases: weight of the same for the coarsest phrase of each caption, over picture and caption.
        taught: weight of the same between the student's cones and the teacher's points, both ways.
        angles: weight of the KL of rows of exterior angles from the teacher's.
        views: weight of making a picture with more hidden patches more general than one with fewer.
        even: weight of captions whose cones each hold the same ``share`` of the pictures of a batch.
        share: share of a batch's pictures that each caption's cone should hold, for ``even``.
        negatives: weight of the pictures that a caption's cone should not hold.
        phrase_negatives: weight of the pictures that a phrase's cone should not hold.
        radii_only: whether the cones teach only the radius of their apex: directions are left to the
            contrast, and the aperture fits them.
        scale: radians over which a point counts as half inside.
        angle_scale: radians by which the angles are divided before the softmax of ``angles``.
    """

    cones: float = Field(default=0.0, ge=0)
    phrases: float = Field(default=0.0, ge=0)
    taught: float = Field(default=0.0, ge=0)
    angles: float = Field(default=0.0, ge=0)
    views: float = Field(default=0.0, ge=0)
    even: float = Field(default=0.0, ge=0)
    share: float = Field(default=0.05, gt=0, lt=1)
    negatives: float = Field(default=2.0, ge=0)
    phrase_negatives: float = Field(default=0.2, ge=0)
    radii_only: bool = False
    scale: float = Field(default=0.1, gt=0)
    angle_scale: float = Field(default=0.1, gt=0)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term by its name in the objective."""
        names = ("cones", "phrases", "taught", "angles", "views", "even")
        return {f"order_{name}": getattr(self, name) for name in names}


class HmidNetConfig(Strict):
    """Weights and variants.

    Attributes:
        teacher: an earlier stage, a run, a model directory, a hub id, ``ema``: the student's own average, or
            ``none``.
        curvature: ``transport`` maps teacher points through the tangent space; ``shared`` gives the
            student the teacher's curvature, fixed; ``relations`` leaves them where they are, so that only
            terms that compare logits or radii may use them.
        projection: learn a linear map for a teacher of another embedding width.
        mask: which patches the student is shown in training.
        target: what is reconstructed: the teacher's patch features, those of the student's own average
            (``ema``), the ``pixels``, ``none``, or ``auto``: the teacher's if it has patches, else ``ema``.
        contrastive: weight of the student's own pictures against its own texts.
        distillation: weight of the interaction, ``distillation_scale`` its inverse temperature at the start.
        radius: weight of the squared difference of radii.
        order: the terms of the hierarchy.
        entailment_warmup: share of the steps over which the entailment weight rises.
    """

    teacher: str
    curvature: Literal["transport", "shared", "relations"] = "transport"
    projection: bool = False
    mask: MaskConfig = MaskConfig(ratio=0.5)
    target: Literal["auto", "teacher", "ema", "pixels", "none"] = "auto"
    decoder_layers: int = Field(default=1, ge=1)
    decoder_width: int = Field(default=96, ge=32, multiple_of=32)
    contrastive: float = Field(default=1.0, ge=0)
    distillation: float = Field(default=1.0, ge=0)
    distillation_scale: float = Field(default=1 / 0.07, gt=0, le=MAX_SCALE)
    relation: RelationConfig = RelationConfig()
    match: MatchConfig = MatchConfig()
    cross: CrossConfig = CrossConfig()
    radius: TermConfig = TermConfig()
    order: OrderConfig = OrderConfig()
    reconstruction: float = Field(default=0.1, ge=0)
    entailment: float = Field(default=0.2, ge=0)
    entailment_warmup: float = Field(default=0.5, ge=0, le=1)
    ema_momentum: float = Field(default=0.996, ge=0, le=1)

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each term by its name in the objective."""
        return {
            "contrastive": self.contrastive,
            "distillation": self.distillation,
            "relation": self.relation.weight,
            "match": self.match.weight,
            "cross": self.cross.weight,
            "radius": self.radius.weight,
            "entailment": self.entailment,
            "reconstruction": self.reconstruction if self.mask.ratio and self.target != "none" else 0.0,
            **self.order.weights,
        }

    @property
    def received(self) -> list[str]:
        """Keys of the terms that need the teacher's points in the student's space."""
        return self._on("distillation", "match", "cross", "order_taught")

    @property
    def compared(self) -> list[str]:
        """Keys of the terms that need the teacher's points in its own space."""
        return self._on("relation", "cross", "radius", "order_angles")

    @property
    def attentive(self) -> bool:
        """Whether the moving average chooses the patches."""
        return self.mask.kind == "attentive" and self.mask.ratio > 0

    @property
    def reconstructs(self) -> bool:
        """Whether anything is reconstructed."""
        return self.weights["reconstruction"] > 0

    @property
    def asks_patches(self) -> bool:
        """Whether the teacher is asked for patch features, if it has them."""
        foreign = self.teacher not in (EMA, NONE) and self.curvature != "relations"
        return self.reconstructs and foreign and self.target in ("auto", "teacher")

    def _on(self, *names: str) -> list[str]:
        keys = {
            "distillation": "distillation",
            "order_taught": "order.taught",
            "order_angles": "order.angles",
        }
        return [keys.get(n, f"{n}.weight") for n in names if self.weights[n]]

    @model_validator(mode="after")
    def _fits(self) -> HmidNetConfig:
        asked = list(dict.fromkeys([*self.received, *self.compared]))
        if self.target in ("teacher", "ema", "pixels") and self.mask.ratio == 0:
            raise ValueError(
                f"target {self.target} has nothing to reconstruct at mask.ratio 0; set target: none"
            )
        if self.target in ("teacher", "ema", "pixels") and not self.reconstruction:
            raise ValueError(f"target {self.target} has no effect at reconstruction 0; set target: none")
        if self.teacher == NONE and asked:
            raise ValueError(f"teacher none cannot teach; set {asked[0]}: 0")
        if self.teacher in (EMA, NONE) and self.projection:
            raise ValueError(f"teacher {self.teacher} has no other width; set projection: false")
        if self.target == "teacher" and self.teacher in (EMA, NONE):
            raise ValueError(f"teacher {self.teacher} is its own target; set target: ema")
        if self.curvature != "transport" and self.teacher == NONE:
            raise ValueError("teacher none has no curvature; set curvature: transport")
        if self.curvature == "shared" and self.teacher == EMA:
            raise ValueError("teacher ema has the student's curvature anyway; set curvature: transport")
        if self.curvature == "relations":
            self._fits_relations()
        if self.order.views and not self.mask.ratio:
            raise ValueError("order.views compares masked pictures; set mask.ratio above 0 or order.views: 0")
        if self.projection and not self.received:
            raise ValueError(
                "projection learns by distillation, match or cross, and none has a weight; "
                "set projection: false or distillation: 1"
            )
        if not self.contrastive and not (self.received or self.relation.weight):
            raise ValueError("no term separates the pairs; set contrastive or distillation above 0")
        if self.teacher != NONE and not asked and not self.asks_patches:
            raise ValueError("no term uses the teacher; set teacher: none or distillation: 1")
        return self

    def _fits_relations(self) -> None:
        stays = "curvature relations leaves the teacher's points in their own space"
        if self.received:
            raise ValueError(f"{stays}; set {self.received[0]}: 0 or curvature: transport")
        if self.target == "teacher":
            raise ValueError(f"{stays}; set target: ema or curvature: transport")
        if self.projection:
            raise ValueError(f"{stays}; set projection: false")
