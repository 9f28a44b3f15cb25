"""The hyperboloid: MERU's tangent lift, and a polar lift with a bounded radius of its own (ours)."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from limbeck.encoders.config import PolarConfig, TangentConfig
from limbeck.encoders.lifts.base import MODALITIES, Lift
from limbeck.encoders.lifts.temperature import LogitScale
from limbeck.errors import LimbeckError
from limbeck.geometry import lorentz
from limbeck.spaces import Lorentz

_AT_BOUND = 1e-3  # how near to a bound of the radius counts as being at it, in units of 1/sqrt(curv)


class LorentzLift(LogitScale, Lift):
    """What both lifts share: learnable clamped curvature and temperature, distances, cones.

    Radii are geodesic distances from the origin in units of 1/sqrt(curv): sqrt(curv) times MERU's norm of
    the tangent vector.
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
        """c > 0 of the curvature -c, with gradient."""
        return self.log_curv.exp()

    @property
    def space(self) -> Lorentz:  # type: ignore[override]
        """The numpy half at the present curvature."""
        # Not the tensor's exp: its last bit depends on the processor, and the space is part of `space_id`.
        return Lorentz(self.dim, float(np.float32(math.exp(float(self.log_curv.detach())))))

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Minus the scaled geodesic distance (MERU), or the inner product in units of 1/curv, plus 1."""
        scale = self.logit_scale if logit_scale is None else logit_scale
        if self.config.logit == "inner":
            # The 1 says nothing in a softmax and keeps the digits of what is said.
            return scale * (self.curv * lorentz.pairwise_inner(a, b, self.curv) + 1)
        return -scale * lorentz.pairwise_distance(a, b, self.curv)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Geodesic distance."""
        return lorentz.distance(a, b, self.curv)

    def to_tangent(self, embeddings: torch.Tensor) -> torch.Tensor:
        """log_map0, in units of 1/sqrt(curv)."""
        return lorentz.log_map0(embeddings, self.curv) * self.curv.sqrt()

    def from_tangent(self, vectors: torch.Tensor) -> torch.Tensor:
        """exp_map0 of vectors in units of 1/sqrt(curv), their length capped at ``max_radius``.

        Between two curvatures this is a similarity: all distances keep their ratio (ours; log_map0 and
        exp_map0 in absolute lengths keep only the distance from the origin).
        """
        return lorentz.exp_map0(
            _capped(vectors.float(), self.config.max_radius) / self.curv.sqrt(), self.curv
        )

    def cone_excess(self, general: torch.Tensor, specific: torch.Tensor) -> torch.Tensor:
        """Exterior angle minus half aperture (MERU, entailment loss)."""
        angle = lorentz.exterior_angle(general, specific, self.curv)
        return angle - lorentz.half_aperture(general, self.curv)

    def radius(self, embeddings: torch.Tensor) -> torch.Tensor:
        """(…) radii of (…, dim) points, in units of 1/sqrt(curv)."""
        return torch.asinh(self.curv.sqrt() * embeddings.norm(dim=-1))

    @torch.no_grad()
    def monitors(self, **embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """Curvature, temperature; by modality the mean radius and the share of points at a bound of it."""
        found = {"curv": self.curv, "logit_scale": self.logit_scale.clone()}
        for name, points in embeddings.items():
            found[f"radius/{name}"] = self.radius(points).mean()
            found[f"cap_share/{name}"] = self.is_clipped(points).float().mean()
        return found

    def is_clipped(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Points whose radius has a bound of the lift, as far as it can be reached."""
        (low, high), radius = self._bounds(), self.radius(embeddings)
        return (radius >= high - _AT_BOUND) | (radius <= low + _AT_BOUND)

    def _bounds(self) -> tuple[float, float]:
        return -1.0, self.config.max_radius

    @torch.no_grad()
    def clamp_(self) -> None:
        """Curvature within its bounds, temperature below its cap."""
        self.log_curv.clamp_(math.log(self.config.min_curv), math.log(self.config.max_curv))
        super().clamp_()

    def check(self, where: str) -> None:
        """The curvature must be a number within its bounds (half a percent for rounding)."""
        curv, low, high = float(self.curv.detach()), self.config.min_curv, self.config.max_curv
        if not low * 0.995 <= curv <= high * 1.005:
            raise LimbeckError(
                f"{where}: curvature {curv:.4g} is outside its bounds {low:g} to {high:g}; "
                "the file is damaged or lift.min_curv and lift.max_curv are of another model"
            )

    @torch.no_grad()
    def tie_curvature(self, origin: Lift) -> None:
        """Take over the other's curvature and keep it."""
        if not hasattr(origin, "log_curv"):
            raise LimbeckError(
                f"curvature: shared needs a hyperbolic teacher, not one in {origin.space.to_json()['name']}; "
                "set curvature: transport"
            )
        self.log_curv.copy_(cast("Any", origin).log_curv)
        self.log_curv.requires_grad_(False)
        self.check("curvature: shared")

    def freeze(self, modality: str) -> None:
        """A modality stays where it is only if the curvature does."""
        super().freeze(modality)
        self.log_curv.requires_grad_(False)


class TangentHead(nn.Module):
    """u = alpha W f with alpha learnable, at most 1 (MERU)."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(width, dim, bias=False)
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        self.log_alpha = nn.Parameter(torch.tensor(-0.5 * math.log(dim)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(…, width) to tangent vectors (…, dim)."""
        return self.projection(features).float() * self.log_alpha.clamp(max=0).exp()


class TangentLift(LorentzLift):
    """MERU: x = exp_map0(alpha W f), the tangent vector of any length up to ``max_radius``.

    MERU caps sqrt(curv)‖u‖ at 11.09, where float32 has no digits left; the default here is 4.
    """

    config: TangentConfig

    def __init__(self, config: TangentConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.heads = nn.ModuleDict({m: TangentHead(dims[m], config.dim) for m in MODALITIES})

    def matrix(self, modality: str) -> nn.Linear | None:
        """The projection; its scale alpha stays."""
        return cast("TangentHead", self.heads[modality]).projection

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Space parts of points on the hyperboloid."""
        u = self.heads[modality](features)
        # in units of the coordinates, as MERU has it: a change of curvature does not move u
        return lorentz.exp_map0(_capped(u, self.config.max_radius / self.curv.sqrt()), self.curv)

    @torch.no_grad()
    def clamp_(self) -> None:
        """The scales too: above its bound a parameter has no gradient and would stay there for good."""
        super().clamp_()
        for head in self.heads.values():
            cast("TangentHead", head).log_alpha.clamp_(max=0)


class PolarHead(nn.Module):
    """Direction and radius of a point, each by a linear map of its own (ours)."""

    def __init__(self, width: int, config: PolarConfig) -> None:
        super().__init__()
        self.low, self.span = config.min_radius, config.max_radius - config.min_radius
        self.direction = nn.Linear(width, config.dim, bias=False)
        self.radius = nn.Linear(width, 1)
        nn.init.normal_(self.direction.weight, std=width**-0.5)
        nn.init.zeros_(self.radius.weight)
        share = (config.radius - self.low) / self.span
        nn.init.constant_(self.radius.bias, math.log(share / (1 - share)))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(…, width) to vectors (…, dim) of a length between the bounds."""
        # No matrix product with one column (few digits in bf16), and sigmoid by tanh: in both the last bit of
        # a row depends on where it stands in the batch, and cached points would differ from computed ones.
        height = (features.float() * self.radius.weight).sum(-1, keepdim=True) + self.radius.bias
        radius = self.low + self.span * (1 + torch.tanh(height / 2)) / 2
        return radius * F.normalize(self.direction(features).float(), dim=-1)


class PolarLift(LorentzLift):
    """A unit direction times a radius of its own: r = r_min + (r_max - r_min) sigmoid(w f + b) (ours).

    With a free norm, the direction's gradient shrinks as the norm grows and small models learn slowly; here
    the radius is bounded and direction and radius learn side by side.
    """

    config: PolarConfig

    def __init__(self, config: PolarConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.heads = nn.ModuleDict({m: PolarHead(dims[m], config) for m in MODALITIES})

    def matrix(self, modality: str) -> nn.Linear | None:
        """That of the direction."""
        return cast("PolarHead", self.heads[modality]).direction

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Space parts of points on the hyperboloid."""
        return lorentz.exp_map0(self.heads[modality](features) / self.curv.sqrt(), self.curv)

    def _bounds(self) -> tuple[float, float]:
        # a sigmoid comes near its bounds but never reaches them: 1 % of the range counts
        margin = 0.01 * (self.config.max_radius - self.config.min_radius)
        return self.config.min_radius + margin, self.config.max_radius - margin


def _capped(u: torch.Tensor, longest: float | torch.Tensor) -> torch.Tensor:
    """Vectors (…, dim), those longer than ``longest`` brought back to it."""
    norm = u.square().sum(-1, keepdim=True).clamp_min(1e-14).sqrt()
    return u * (longest / norm).clamp(max=1)
