"""The configuration of lifts, strict and serialisable: one class per ``kind``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SerializeAsAny, model_validator

from limbeck.encoders.config import OwnToo, Strict

LOGIT_SCALE = 1 / 0.07  # CLIP's inverse temperature before training


class SphereConfig(Strict):
    """Linear projection to unit vectors with a learnable, capped logit scale (CLIP).

    ``logit_scale`` is the inverse temperature at the start. None means that of the CLIP model from which both
    towers come, else `LOGIT_SCALE`.
    """

    kind: Literal["sphere"] = "sphere"
    dim: int = Field(default=256, ge=2)
    logit_scale: float | None = Field(default=None, gt=0)
    max_logit_scale: float = Field(default=100.0, gt=0)


class SourceLiftConfig(Strict):
    """The lift of the pretrained model that both towers come from: space, heads, curvature, logit scale."""

    kind: Literal["source"] = "source"


class EuclidConfig(Strict):
    """Linear projection to vectors of any length, compared by squared distance (EuCLIP)."""

    kind: Literal["euclid"] = "euclid"
    dim: int = Field(default=256, ge=2)
    logit_scale: float = Field(default=LOGIT_SCALE, gt=0)
    max_logit_scale: float = Field(default=100.0, gt=0)


class HyperboloidConfig(Strict):
    """The Lorentz model: learnable curvature -curv and logit scale, both clamped.

    Radii are in units of 1/sqrt(curv). ``logit`` is minus the geodesic ``distance`` (MERU), the Lorentzian
    ``inner`` product, or the difference of exterior angles (``angle``, see `LorentzAngle`; no index ranks by
    it).
    """

    dim: int = Field(default=256, ge=2)
    curv: float = Field(default=1.0, gt=0)
    learn_curv: bool = True
    min_curv: float = Field(default=0.1, gt=0)
    max_curv: float = Field(default=10.0, gt=0)
    logit: Literal["distance", "inner", "angle"] = "distance"
    logit_scale: float = Field(default=LOGIT_SCALE, gt=0)
    max_logit_scale: float = Field(default=100.0, gt=0)

    @model_validator(mode="after")
    def _bounds_hold(self) -> HyperboloidConfig:
        if not self.min_curv <= self.curv <= self.max_curv:
            raise ValueError("needs min_curv <= curv <= max_curv")
        return self


class TangentConfig(HyperboloidConfig):
    """MERU's lift: the exponential map of a scaled projection, with its length capped (MERU: 11.09)."""

    kind: Literal["tangent"] = "tangent"
    max_radius: float = Field(default=4.0, gt=0, le=11.1)


class PolarConfig(HyperboloidConfig):
    """A unit direction times a bounded radius with its own map, starting at ``radius`` (ours).

    ``text_min_radius``, ``text_radius`` and ``text_max_radius`` replace bounds and start for texts: the
    nearer a point is to the origin, the wider is its cone.
    """

    kind: Literal["polar"] = "polar"
    radius: float = Field(default=2.0, gt=0)
    min_radius: float = Field(default=0.3, gt=0)
    max_radius: float = Field(default=5.0, gt=0, le=11.1)
    text_min_radius: float | None = Field(default=None, gt=0)
    text_radius: float | None = Field(default=None, gt=0)
    text_max_radius: float | None = Field(default=None, gt=0, le=11.1)

    def radii(self, modality: str) -> tuple[float, float, float]:
        """Return the smallest, the initial and the largest radius of one modality."""
        if modality != "text":
            return self.min_radius, self.radius, self.max_radius
        return (
            self.text_min_radius or self.min_radius,
            self.text_radius or self.radius,
            self.text_max_radius or self.max_radius,
        )

    @model_validator(mode="after")
    def _radius_is_inside(self) -> PolarConfig:
        if not self.min_radius < self.radius < self.max_radius:
            raise ValueError("needs min_radius < radius < max_radius")
        low, start, high = self.radii("text")
        if not low < start < high or high > self.max_radius:
            raise ValueError("needs text_min_radius < text_radius < text_max_radius <= max_radius")
        return self


class HashConfig(Strict):
    """Linear map and tanh to relaxed codes; the logit of a pair is theta / sqrt(bits) times its inner
    product.

    ``norm`` puts a batch normalization between the two, which balances the bits (CroVCA).
    """

    kind: Literal["hash"] = "hash"
    bits: int = Field(ge=8, multiple_of=8)
    theta: float = Field(default=4.0, gt=0)
    norm: bool = False


Rotation = Literal["itq", "pca", "pca-random", "random", "learned"]


class BinaryConfig(Strict):
    """The sign of a fitted map: ``itq``, ``pca``, ``pca-random`` (rotated), ``random`` or ``learned``.

    ``random`` is a rotation without a fit; ``learned`` keeps the ranking of the features. ``asymmetric``
    makes an index compare the real numbers of queries with the codes by default.
    """

    kind: Literal["binary"] = "binary"
    bits: int = Field(ge=8, multiple_of=8)
    rotation: Rotation = "itq"
    asymmetric: bool = False


_Lift = Annotated[
    SphereConfig | TangentConfig | PolarConfig | EuclidConfig | HashConfig | BinaryConfig | SourceLiftConfig,
    Field(discriminator="kind"),
]
LiftConfig = Annotated[SerializeAsAny[_Lift], OwnToo]
