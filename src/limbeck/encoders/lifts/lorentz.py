"""The hyperboloid: MERU's tangent lift, and a polar lift with a bounded, separately learned radius (ours)."""

from __future__ import annotations

import math
from typing import cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from limbeck.encoders.lift_config import PolarConfig, TangentConfig
from limbeck.encoders.lifts.base import MODALITIES, Lift, LogitScale
from limbeck.errors import LimbeckError
from limbeck.geometry import lorentz
from limbeck.spaces import Lorentz, LorentzAngle

_AT_BOUND = 1e-3  # how near to a bound of the radius counts as being at it, in units of 1/sqrt(curv)


class LorentzLift(LogitScale, Lift):
    """The base of both lifts: learnable clamped curvature and temperature, distances, cones.

    Radii are geodesic distances from the origin in units of 1/sqrt(curv): sqrt(curv) times MERU's norm of the
    tangent vector.
    """

    config: TangentConfig | PolarConfig
    has_tangent = True
    has_radius = True

    def __init__(self, config: TangentConfig | PolarConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim = config.dim
        self.log_curv = nn.Parameter(torch.tensor(math.log(config.curv)), requires_grad=config.learn_curv)
        self.set_temperature(config.logit_scale, config.max_logit_scale)

    @property
    def curv(self) -> torch.Tensor:
        """The c > 0 of the curvature -c, with gradient."""
        return self.log_curv.exp()

    @property
    def space(self) -> Lorentz:  # type: ignore[override]
        """The numpy half at the current curvature."""
        # Not the tensor's exp: its last bit depends on the processor, and the space is part of `space_id`.
        kind = LorentzAngle if self.config.logit == "angle" else Lorentz
        return kind(self.dim, float(np.float32(math.exp(float(self.log_curv.detach())))))

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return minus the scaled geodesic distance (MERU), or the scaled inner product in units of 1/curv,
        plus 1, or the scaled difference of both exterior angles (see `LorentzAngle`)."""
        scale = self.logit_scale if logit_scale is None else logit_scale
        if self.config.logit == "inner":
            # The constant 1 cancels in a softmax; it keeps the digits of the small differences.
            return scale * (self.curv * lorentz.pairwise_inner(a, b, self.curv) + 1)
        if self.config.logit == "angle":
            return scale * (self.pairwise_angle(a, b) - self.pairwise_angle(b, a).T).abs()
        return -scale * lorentz.pairwise_distance(a, b, self.curv)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the geodesic distance."""
        return lorentz.distance(a, b, self.curv)

    def to_tangent(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return log_map0 in units of 1/sqrt(curv)."""
        return lorentz.log_map0(embeddings, self.curv) * self.curv.sqrt()

    def from_tangent(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return exp_map0 of vectors in units of 1/sqrt(curv), their length capped at ``max_radius``.

        Between two curvatures this is a similarity: all distances keep their ratio (ours). log_map0 and
        exp_map0 in absolute lengths preserve only the distance from the origin.
        """
        return lorentz.exp_map0(
            _capped(vectors.float(), self.config.max_radius) / self.curv.sqrt(), self.curv
        )

    def exterior_angle(self, general: torch.Tensor, specific: torch.Tensor) -> torch.Tensor:
        """Return the exterior angle at the general point, in radians (MERU, entailment loss)."""
        return lorentz.exterior_angle(general, specific, self.curv)

    def pairwise_angle(self, general: torch.Tensor, specific: torch.Tensor) -> torch.Tensor:
        """Return `exterior_angle` of every pair: (A, dim) and (B, dim) give (A, B)."""
        return lorentz.pairwise_exterior_angle(general, specific, self.curv)

    def half_aperture(self, general: torch.Tensor) -> torch.Tensor:
        """Return the half apertures of the cones, in radians (MERU, entailment loss)."""
        return lorentz.half_aperture(general, self.curv)

    def cone_excess(
        self, general: torch.Tensor, specific: torch.Tensor, aperture: float = 1.0
    ) -> torch.Tensor:
        """Return the exterior angle minus the half aperture times a factor, in radians (MERU, HyCoCLIP)."""
        # The aperture first: gradients are summed in the order of the graph, to the last bit.
        widest = aperture * self.half_aperture(general)
        return self.exterior_angle(general, specific) - widest

    def radius(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the radii (…) of points (…, dim), in units of 1/sqrt(curv)."""
        return torch.asinh(self.curv.sqrt() * embeddings.norm(dim=-1))

    @torch.no_grad()
    def monitors(self, **embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return curvature and logit scale; per modality the mean radius and the share of clipped points."""
        values = {"curv": self.curv, "logit_scale": self.logit_scale.clone()}
        for name, points in embeddings.items():
            values[f"radius/{name}"] = self.radius(points).mean()
            modality = "text" if name.endswith(("text", "phrase")) else "image"
            values[f"cap_share/{name}"] = self.is_clipped(points, modality).float().mean()
        return values

    def is_clipped(self, embeddings: torch.Tensor, modality: str) -> torch.Tensor:
        """Mark points whose radius is at a bound of their modality, within a small tolerance."""
        (low, high), radius = self._bounds(modality), self.radius(embeddings)
        return (radius >= high - _AT_BOUND) | (radius <= low + _AT_BOUND)

    def _bounds(self, modality: str) -> tuple[float, float]:
        return -1.0, self.config.max_radius

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the curvature to its bounds and the logit scale to its cap."""
        self.log_curv.clamp_(math.log(self.config.min_curv), math.log(self.config.max_curv))
        super().clamp_()

    def check(self, where: str) -> None:
        """Raise `LimbeckError` when the curvature is outside its bounds (0.5 % are allowed for rounding)."""
        curv, low, high = float(self.curv.detach()), self.config.min_curv, self.config.max_curv
        if not low * 0.995 <= curv <= high * 1.005:
            raise LimbeckError(
                f"{where}: curvature {curv:.4g} is outside its bounds {low:g} to {high:g}; "
                "the file is damaged, or lift.min_curv and lift.max_curv belong to another model",
                code="E-MODEL-DAMAGED",
            )

    @torch.no_grad()
    def tie_curvature(self, origin: Lift) -> None:
        """Copy the curvature of the other lift and freeze it.

        Raises:
            LimbeckError: the other lift has no curvature, or one outside this lift's bounds.
        """
        log_curv = getattr(origin, "log_curv", None)
        if log_curv is None:
            raise LimbeckError(
                f"curvature: shared needs a hyperbolic teacher, not one in {origin.space.to_json()['name']}; "
                "set curvature: transport",
                code="E-SPACE-OTHER",
            )
        self.log_curv.copy_(log_curv)
        self.log_curv.requires_grad_(False)
        self.check("curvature: shared")

    def freeze(self, modality: str) -> None:
        """Freeze the head and the curvature: points move when either changes."""
        super().freeze(modality)
        self.log_curv.requires_grad_(False)


class TangentHead(nn.Module):
    """Tangent vector u = alpha W f with a learnable alpha of at most 1 (MERU)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, dim, bias=False)
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        self.log_alpha = nn.Parameter(torch.tensor(-0.5 * math.log(dim)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (…, width) to tangent vectors (…, dim)."""
        return self.projection(features).float() * self.log_alpha.clamp(max=0).exp()


class TangentLift(LorentzLift):
    """MERU: x = exp_map0(alpha W f), with tangent vectors up to ``max_radius`` long.

    MERU caps sqrt(curv)‖u‖ at 11.09, where float32 has no digits left; the default here is 4.
    """

    config: TangentConfig

    def __init__(self, config: TangentConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.heads = nn.ModuleDict({m: TangentHead(dims[m], config.dim) for m in MODALITIES})

    def matrix(self, modality: str) -> nn.Linear | None:
        """Return the projection; its scale alpha is kept."""
        return cast("TangentHead", self.heads[modality]).projection

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return the space parts of points on the hyperboloid."""
        u = self.heads[modality](features)
        # in units of the coordinates, as in MERU: a change of curvature does not move u
        return lorentz.exp_map0(_capped(u, self.config.max_radius / self.curv.sqrt()), self.curv)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Clamp the scales alpha too: above its bound a parameter has no gradient and would stay there."""
        super().clamp_()
        for head in self.heads.values():
            cast("TangentHead", head).log_alpha.clamp_(max=0)


class PolarHead(nn.Module):
    """Direction and radius of a point, by one linear map each (ours)."""

    def __init__(self, width: int, config: PolarConfig, modality: str) -> None:
        super().__init__()
        self.low, start, high = config.radii(modality)
        self.span = high - self.low
        self.direction = nn.Linear(width, config.dim, bias=False)
        self.radius = nn.Linear(width, 1)
        nn.init.normal_(self.direction.weight, std=width**-0.5)
        nn.init.zeros_(self.radius.weight)
        share = (start - self.low) / self.span
        nn.init.constant_(self.radius.bias, math.log(share / (1 - share)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Map features (…, width) to vectors (…, dim) with a length between the bounds."""
        # No matrix product with one column (few digits in bf16), and sigmoid by tanh: in both the last bit of
        # a row depends on its position in the batch, and cached points would differ from computed ones.
        height = (features.float() * self.radius.weight).sum(-1, keepdim=True) + self.radius.bias
        radius = self.low + self.span * (1 + torch.tanh(height / 2)) / 2
        return radius * F.normalize(self.direction(features).float(), dim=-1)


class PolarLift(LorentzLift):
    """Unit direction times a radius with its own map: r = r_min + (r_max - r_min) sigmoid(w f + b) (ours).

    With a free norm the gradient of the direction shrinks as the norm grows, and small models learn slowly.
    Here the radius is bounded, and direction and radius learn in parallel.
    """

    config: PolarConfig

    def __init__(self, config: PolarConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.heads = nn.ModuleDict({m: PolarHead(dims[m], config, m) for m in MODALITIES})

    def matrix(self, modality: str) -> nn.Linear | None:
        """Return the linear map of the direction."""
        return cast("PolarHead", self.heads[modality]).direction

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return the space parts of points on the hyperboloid."""
        return lorentz.exp_map0(self.heads[modality](features) / self.curv.sqrt(), self.curv)

    def _bounds(self, modality: str) -> tuple[float, float]:
        # a sigmoid comes near its bounds but never reaches them: 1 % of the range counts
        low, _, high = self.config.radii(modality)
        margin = 0.01 * (high - low)
        return low + margin, high - margin


def _capped(u: torch.Tensor, longest: float | torch.Tensor) -> torch.Tensor:
    """Shorten vectors (…, dim) that are longer than ``longest``."""
    norm = u.square().sum(-1, keepdim=True).clamp_min(1e-14).sqrt()
    return u * (longest / norm).clamp(max=1)
