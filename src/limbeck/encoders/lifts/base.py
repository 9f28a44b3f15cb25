"""The torch half of a space: from tower features to embeddings, logits, distances and stored points."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from torch import nn

from limbeck.encoders.config import OwnConfig
from limbeck.errors import LimbeckError
from limbeck.plugins import with_digests
from limbeck.spaces import Space
from limbeck.typed import Json

MODALITIES = ("image", "text")


class Lift(nn.Module, ABC):
    """Map the features of a modality into the space.

    A method that a space does not support raises `LimbeckError`, so that callers need not know the space.

    Attributes:
        space: the numpy half.
        dim: the width of an embedding.
        dims: the width of the features per modality.
        made_of: the floats that stored points stand for: the lift's embeddings, or the features that it reads
            where nothing was trained.
        asymmetric: whether an index compares its queries' embeddings, not their codes, by default.
        has_tangent: whether `to_tangent` and `from_tangent` exist, so that points transfer to other spaces.
        has_radius: whether points have a `radius`.
        is_unit_linear: whether an embedding is the unit vector of `matrix` times the features, as in CLIP.
        has_logit_scale: whether `logit_scale` exists, a learnable inverse temperature.
    """

    space: Space
    dim: int
    made_of: Literal["embeddings", "features"] = "embeddings"
    asymmetric: bool = False
    has_tangent: ClassVar[bool] = False
    has_radius: ClassVar[bool] = False
    is_unit_linear: ClassVar[bool] = False
    has_logit_scale: ClassVar[bool] = False

    def __init__(self, config: Any, dims: dict[str, int]) -> None:
        super().__init__()
        self.config, self.dims = config, dims
        self.named: OwnConfig | None = None

    @abstractmethod
    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Map (…, dims[modality]) features to float32 (…, dim) embeddings."""

    @abstractmethod
    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Map (A, dim) x (B, dim) to (A, B) logits, differentiable; ``logit_scale`` replaces the lift's."""

    @abstractmethod
    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return row-wise distances, (…, dim) x (…, dim) to (…), differentiable."""

    def to_storage(self, embeddings: torch.Tensor) -> np.ndarray:
        """Convert embeddings to points of `space`, as they are stored."""
        return np.ascontiguousarray(embeddings.detach().float().cpu().numpy())

    def bit_logits(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return the numbers (…, bits) before tanh, float32."""
        raise self._lacks("numbers before tanh; use a lift of kind hash")

    def to_tangent(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Map (…, dim) embeddings to coordinates that another space can read (see `from_tangent`).

        The unit of length is that of the space: the radius of curvature of a hyperboloid, 1 on the sphere.
        """
        raise self._lacks("tangent space; use a lift of kind sphere, euclid, tangent or polar")

    def from_tangent(self, vectors: torch.Tensor) -> torch.Tensor:
        """Map (…, dim) tangent coordinates of any space to embeddings; the inverse of `to_tangent`."""
        raise self._lacks("tangent space; use a lift of kind sphere, euclid, tangent or polar")

    def exterior_angle(self, general: torch.Tensor, specific: torch.Tensor) -> torch.Tensor:
        """Return the angle (…), in radians, at `general` between the axis of its cone and `specific`."""
        raise self._lacks("entailment cones; use a lift of kind tangent or polar, or set entailment to 0")

    def pairwise_angle(self, general: torch.Tensor, specific: torch.Tensor) -> torch.Tensor:
        """Return `exterior_angle` of every pair: (A, dim) and (B, dim) give (A, B)."""
        raise self._lacks("exterior angles; use a lift of kind tangent or polar")

    def half_aperture(self, general: torch.Tensor) -> torch.Tensor:
        """Return the half aperture (…), in radians, of the cones of points (…, dim)."""
        raise self._lacks("entailment cones; use a lift of kind tangent or polar, or set entailment to 0")

    def cone_excess(
        self, general: torch.Tensor, specific: torch.Tensor, aperture: float = 1.0
    ) -> torch.Tensor:
        """Return the angle (…), in radians, by which `specific` lies outside the cone of `general`; <= 0
        inside. ``aperture`` is a factor of the half aperture (HyCoCLIP)."""
        raise self._lacks("entailment cones; use a lift of kind tangent or polar, or set entailment to 0")

    def radius(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the distances (…) of points (…, dim) from the origin, in the unit of `to_tangent`."""
        raise self._lacks("radii; use a lift of kind tangent or polar")

    @property
    def logit_scale(self) -> torch.Tensor:
        """The inverse temperature of the logits, with gradient."""
        raise self._lacks("logit scale; use a lift of kind sphere, euclid, tangent or polar")

    def is_clipped(self, embeddings: torch.Tensor, modality: str) -> torch.Tensor:
        """Return (…) bool: which points (…, dim) of a modality are at a bound of the radius."""
        raise self._lacks("bounds of the radius; use a lift of kind tangent or polar")

    def fit(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit the lift to training features (N, D) by modality; only a fitted lift has this method."""
        raise self._lacks("fitted map; use lift.kind binary")

    def monitors(self, **embeddings: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return values to log in training: the lift's scalars and statistics of (B, dim) per modality."""
        return {}

    def clamp_(self) -> None:
        """Clamp learnable scalars to their bounds after a step."""

    def check(self, where: str) -> None:
        """Raise `LimbeckError` that names ``where`` when a loaded scalar is out of its bounds."""

    def tie_curvature(self, origin: Lift) -> None:
        """Copy and freeze what makes points of both lifts comparable (the curvature)."""
        raise self._lacks("curvature to share; use curvature: transport")

    def head(self, modality: str) -> nn.Module:
        """Return the part of the lift that belongs to one modality (an empty module where there is none)."""
        heads = getattr(self, "heads", None)
        return heads[modality] if heads is not None else nn.Identity()

    def matrix(self, modality: str) -> nn.Linear | None:
        """Return the linear map that gives an embedding of one modality its direction, or None."""
        return None

    @torch.no_grad()
    def start_at_features(self, modality: str) -> bool:
        """Start one modality at the directions of its features; return False where the widths differ."""
        matrix = self.matrix(modality)
        if matrix is None or self.dims[modality] != self.dim:
            return False
        nn.init.eye_(matrix.weight)
        return True

    @torch.no_grad()
    def start_at_isometry(self, modality: str) -> None:
        """Start the matrix of one modality at random orthonormal columns, which keep the features' cosines.

        Into fewer dimensions there are only orthonormal rows. The modality needs a `matrix`.
        """
        matrix = self.matrix(modality)
        assert matrix is not None
        nn.init.orthogonal_(matrix.weight)

    def freeze(self, modality: str) -> None:
        """Freeze the head of one modality, so that its points do not move."""
        self.head(modality).requires_grad_(False)

    @torch.no_grad()
    def load_from(self, origin: Lift, modality: str) -> None:
        """Copy the head of a lift of the same space, with its curvature and temperature.

        Raises:
            LimbeckError: the other lift has another space, or a head of another shape.
        """
        if type(origin) is not type(self) or origin.dim != self.dim:
            raise LimbeckError(
                f"lives in {origin.space.to_json()}, this stage in {self.space.to_json()}; "
                "use the same lift for both",
                code="E-SPACE-OTHER",
            )
        try:
            self.head(modality).load_state_dict(origin.head(modality).state_dict())
        except RuntimeError:
            raise LimbeckError(
                f"its {modality} head does not fit this stage's lift; use the same towers and lift for both",
                code="E-SPACE-OTHER",
            ) from None
        # A head means nothing without the curvature that it was trained at.
        scalars = dict(origin.named_parameters(recurse=False))
        for name, parameter in self.named_parameters(recurse=False):
            parameter.copy_(scalars[name])

    def describe(self) -> dict[str, Json]:
        """Return the JSON that `lift_from_json` reads."""
        return {"config": with_digests(self._told().model_dump(mode="json")), "dims": self.dims}

    def _told(self) -> Any:
        return self.config if self.named is None else self.named

    @property
    def kind(self) -> str:
        """The name of its kind in a recipe."""
        return str(self._told().kind)

    def _lacks(self, what: str) -> LimbeckError:
        return LimbeckError(f"lift {self.kind}: has no {what}", code="E-MODEL-LACKS")


def linear_heads(dims: dict[str, int], width: int, *, bias: bool) -> Mapping[str, nn.Linear]:
    """Create one linear map per modality."""
    heads = nn.ModuleDict({m: nn.Linear(dims[m], width, bias=bias) for m in MODALITIES})
    return cast("Mapping[str, nn.Linear]", heads)


class LogitScale(nn.Module):
    """A module with a `logit_scale`: the exponential of a parameter, capped (at 100 in CLIP and MERU)."""

    max_logit_scale: float
    has_logit_scale = True

    def set_temperature(self, initial: float, maximum: float) -> None:
        """Create the parameter; ``initial`` and ``maximum`` are logit scales (inverse temperatures)."""
        self.max_logit_scale = maximum
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(initial)))

    @property
    def logit_scale(self) -> torch.Tensor:
        """The inverse temperature, capped, with gradient."""
        return self.log_logit_scale.exp().clamp(max=self.max_logit_scale)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Cap the parameter, so that it does not grow without effect above its cap."""
        self.log_logit_scale.clamp_(max=math.log(self.max_logit_scale))
