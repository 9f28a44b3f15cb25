"""The torch half of a space: from tower features to embeddings, logits, distances and stored points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from limbeck.codes import itq, sign_codes
from limbeck.encoders.config import BinaryConfig, HashConfig, SphereConfig
from limbeck.errors import LimbeckError
from limbeck.spaces import Hamming, Space, Sphere

MODALITIES = ("image", "text")


class Lift(nn.Module):
    """Features of a modality into the space.

    Attributes:
        space: the numpy half.
        dim: width of an embedding.
        dims: width of the features by modality.
    """

    space: Space
    dim: int

    def __init__(self, config: Any, dims: dict[str, int]) -> None:
        super().__init__()
        self.config, self.dims = config, dims

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """(B, dims[modality]) features to float32 (B, dim) embeddings."""
        raise NotImplementedError

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """(A, dim) x (B, dim) to (A, B) logits, differentiable; own temperature unless one is given."""
        raise NotImplementedError

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Row-wise (B, dim) x (B, dim) to (B,), differentiable."""
        raise NotImplementedError

    def finalise(self, embeddings: torch.Tensor) -> np.ndarray:
        """Embeddings as they are stored: points of `space`."""
        raise NotImplementedError

    def clamp_(self) -> None:
        """Bring learnable scalars back into their bounds after a step."""

    def head(self, modality: str) -> nn.Module:
        """The part of the lift that belongs to one modality (an empty module where there is none)."""
        heads = getattr(self, "heads", None)
        return heads[modality] if heads is not None else nn.Identity()

    def describe(self) -> dict[str, Any]:
        """JSON that `lift_from_json` reads."""
        return {"config": self.config.model_dump(mode="json"), "dims": self.dims}


def _heads(dims: dict[str, int], width: int, *, bias: bool) -> Mapping[str, nn.Linear]:
    heads = nn.ModuleDict({m: nn.Linear(dims[m], width, bias=bias) for m in MODALITIES})
    return cast("Mapping[str, nn.Linear]", heads)


class SphereLift(Lift):
    """Linear projection without bias, unit length, learnable temperature (CLIP)."""

    def __init__(self, config: SphereConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim, self.space = config.dim, Sphere(config.dim)
        self.max_logit_scale = config.max_logit_scale
        self.heads = _heads(dims, config.dim, bias=False)
        for m, head in self.heads.items():
            nn.init.normal_(head.weight, std=dims[m] ** -0.5)
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(config.logit_scale)))

    @property
    def logit_scale(self) -> torch.Tensor:
        """The temperature's inverse, capped."""
        return self.log_logit_scale.exp().clamp(max=self.max_logit_scale)

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Unit vectors."""
        return F.normalize(self.heads[modality](features).float(), dim=-1)

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Scaled cosine."""
        return (self.logit_scale if logit_scale is None else logit_scale) * (a @ b.T)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """1 - cosine."""
        return 1 - (a * b).sum(-1)

    def finalise(self, embeddings: torch.Tensor) -> np.ndarray:
        """Float32 unit vectors."""
        return np.ascontiguousarray(embeddings.detach().float().cpu().numpy())

    @torch.no_grad()
    def clamp_(self) -> None:
        """Cap the temperature, so that it does not run away unseen above its cap."""
        self.log_logit_scale.clamp_(max=math.log(self.max_logit_scale))


class HashLift(Lift):
    """Linear and tanh to relaxed codes in (-1, 1); signs are stored (DCMH and the field after it)."""

    def __init__(self, config: HashConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim, self.space = config.bits, Hamming(config.bits)
        self.heads = _heads(dims, config.bits, bias=True)
        self.scale = config.theta / math.sqrt(config.bits)

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Relaxed codes."""
        return torch.tanh(self.heads[modality](features).float())

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """theta / sqrt(bits) times the product: unit spread at any length (ours; DCMH takes 1/2)."""
        return (self.scale if logit_scale is None else logit_scale) * (a @ b.T)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Relaxed Hamming distance, bits."""
        return (self.dim - (a * b).sum(-1)) / 2

    def finalise(self, embeddings: torch.Tensor) -> np.ndarray:
        """Packed signs, uint8."""
        return sign_codes(embeddings.detach().float().cpu().numpy())


class BinaryLift(Lift):
    """Sign of a fitted linear map: ITQ (Gong & Lazebnik 2011), PCA, or a random rotation; no gradient steps.

    Each modality is centred on its own mean, which closes the gap between the modalities (ours).
    """

    def __init__(self, config: BinaryConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim, self.space = config.bits, Hamming(config.bits)
        for m in MODALITIES:
            self.register_buffer(f"mean_{m}", torch.zeros(dims[m]))
        self.register_buffer("projection", torch.zeros(dims["image"], config.bits))

    def fit(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit means and map on training features (N, D) of both modalities (equal D)."""
        widths = [features[m].shape[1] for m in MODALITIES]
        if widths[0] != widths[1]:
            raise LimbeckError(
                f"lift binary: features of widths {widths[0]} and {widths[1]}; take both from one space"
            )
        if self.config.rotation != "random" and self.dim > widths[0]:
            raise LimbeckError(
                f"lift.bits: {self.config.rotation} makes at most one bit a dimension, "
                f"{widths[0]} here, not {self.dim}; lower the bits or choose rotation random"
            )
        centred = []
        for m in MODALITIES:
            setattr(self, f"mean_{m}", features[m].mean(0))
            centred.append(features[m] - features[m].mean(0))
        x = torch.cat(centred).cpu().numpy()
        if self.config.rotation == "itq":
            projection = itq(x, self.dim, seed).projection
        else:
            rng = np.random.default_rng(seed)
            if self.config.rotation == "pca":
                basis = np.linalg.eigh(np.asarray(x.T @ x, np.float64))[1][:, ::-1]
                basis = basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
            else:
                blocks = -(-self.dim // x.shape[1])
                basis = np.hstack(
                    [np.linalg.qr(rng.standard_normal((x.shape[1],) * 2))[0] for _ in range(blocks)]
                )
            projection = basis[:, : self.dim]
        self.projection = torch.from_numpy(np.ascontiguousarray(projection, np.float32))

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Projected features; their signs are the code."""
        return (features.float() - getattr(self, f"mean_{modality}")) @ self.projection

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Product of the projections."""
        return (self.dim**-0.5 if logit_scale is None else logit_scale) * (a @ b.T)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Relaxed Hamming distance of the signs' tanh."""
        return (self.dim - (torch.tanh(a) * torch.tanh(b)).sum(-1)) / 2

    def finalise(self, embeddings: torch.Tensor) -> np.ndarray:
        """Packed signs, uint8."""
        return sign_codes(embeddings.detach().float().cpu().numpy())


_LIFTS: dict[str, tuple[type[Lift], Any]] = {
    "sphere": (SphereLift, SphereConfig),
    "hash": (HashLift, HashConfig),
    "binary": (BinaryLift, BinaryConfig),
}


def build_lift(config: Any, dims: dict[str, int]) -> Lift:
    """The lift of a configuration for towers of the given widths."""
    return _LIFTS[config.kind][0](config, dims)


def lift_from_json(stored: dict[str, Any]) -> Lift:
    """The lift without its weights, from `Lift.describe`."""
    lift, config = _LIFTS[stored["config"]["kind"]]
    return lift(config.model_validate(stored["config"]), dict(stored["dims"]))
