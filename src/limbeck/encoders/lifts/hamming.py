"""Binary codes: relaxed by tanh in training, or the sign of a fitted linear map."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from limbeck.codes import itq, sign_codes
from limbeck.codes.quantization import ITERATIONS
from limbeck.encoders.lift_config import BinaryConfig, HashConfig
from limbeck.encoders.lifts.base import MODALITIES, Lift, linear_heads
from limbeck.encoders.lifts.ranking import learn_ranking
from limbeck.errors import LimbeckError
from limbeck.spaces import Hamming


class HashLift(Lift):
    """Linear map and tanh to relaxed codes in (-1, 1); their signs are stored (as in DCMH)."""

    def __init__(self, config: HashConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim, self.space = config.bits, Hamming(config.bits)
        heads: dict[str, nn.Module] = dict(linear_heads(dims, config.bits, bias=True).items())
        if config.norm:
            heads = {m: nn.Sequential(head, _Norm(config.bits)) for m, head in heads.items()}
        self.heads = nn.ModuleDict(heads)

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return relaxed codes in (-1, 1)."""
        return torch.tanh(self.bit_logits(features, modality))

    def bit_logits(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return the numbers (…, bits) before tanh, float32."""
        found: torch.Tensor = self.heads[modality](features).float()
        return found

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return theta / sqrt(bits) times the inner product: unit spread at any length (ours; DCMH uses 1/2).

        The number of bits is the width of ``a``, so that a prefix of codes counts as a code of its length.
        """
        scale = self.config.theta / math.sqrt(a.shape[1]) if logit_scale is None else logit_scale
        return scale * (a @ b.T)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the relaxed Hamming distance in bits."""
        return (self.dim - (a * b).sum(-1)) / 2

    def to_storage(self, embeddings: torch.Tensor) -> np.ndarray:
        """Return packed signs, uint8."""
        return sign_codes(embeddings.detach().float().cpu().numpy())


class _Norm(nn.BatchNorm1d):
    """Batch normalization that keeps its statistics while its head is frozen."""

    def train(self, mode: bool = True) -> _Norm:
        """Learn from the rows that are encoded at once, unless the head is frozen."""
        return super().train(mode and self.weight.requires_grad)


class BinaryLift(Lift):
    """Sign of a fitted linear map: ITQ (Gong & Lazebnik 2011), PCA, a random rotation, or a learned map.

    Each modality is centred on its own mean, which closes the gap between the modalities (ours).
    """

    made_of = "features"

    def __init__(self, config: BinaryConfig, dims: dict[str, int]) -> None:
        super().__init__(config, dims)
        self.dim, self.space = config.bits, Hamming(config.bits)
        self.asymmetric = config.asymmetric
        for m in MODALITIES:
            self.register_buffer(f"mean_{m}", torch.zeros(dims[m]))
        self.register_buffer("projection", torch.zeros(dims["image"], config.bits))

    def fit(self, features: dict[str, torch.Tensor], seed: int) -> None:
        """Fit means and map to training features (N, D) of both modalities (equal D).

        Raises:
            LimbeckError: the widths differ, or the rotation cannot give this many bits.
        """
        widths = [features[m].shape[1] for m in MODALITIES]
        if widths[0] != widths[1]:
            raise LimbeckError(
                f"lift binary: features have widths {widths[0]} and {widths[1]}; use features of one space",
                code="E-ARRAY-SHAPE",
            )
        if self.config.rotation not in ("random", "learned") and self.dim > widths[0]:
            raise LimbeckError(
                f"lift.bits: {self.config.rotation} makes at most one bit per dimension, "
                f"so {widths[0]}, not {self.dim}; lower the bits or choose rotation random",
                code="E-CODES-LENGTH",
            )
        means = {m: features[m].mean(0) for m in MODALITIES}
        # A map that is learned starts at the pictures, whose ranking it keeps.
        read = ("image",) if self.config.rotation == "learned" else MODALITIES
        x = torch.cat([features[m] - means[m] for m in read]).cpu().numpy()
        projection = torch.from_numpy(np.ascontiguousarray(self._rotation(x, seed), np.float32))
        if self.config.rotation == "learned":
            means, projection = learn_ranking(
                features["image"].float(), features["text"].float(), projection, seed
            )
        for m in MODALITIES:
            setattr(self, f"mean_{m}", means[m])
        self.projection = projection

    def _rotation(self, x: np.ndarray, seed: int) -> np.ndarray:
        """Return the projection (D, bits) for centred features (N, D) of both modalities."""
        rotation, width = self.config.rotation, x.shape[1]
        if rotation in ("itq", "pca-random") or (rotation == "learned" and self.dim <= width):
            iterations = 0 if rotation == "pca-random" else ITERATIONS
            return itq(x, self.dim, seed, iterations=iterations).projection
        if rotation == "pca":
            basis = np.linalg.eigh(np.asarray(x.T @ x, np.float64))[1][:, ::-1]
            return (basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(width)]))[:, : self.dim]
        rng = np.random.default_rng(seed)
        blocks = -(-self.dim // width)
        turns = [np.linalg.qr(rng.standard_normal((width, width)))[0] for _ in range(blocks)]
        return np.hstack(turns)[:, : self.dim]

    def forward(self, features: torch.Tensor, modality: str) -> torch.Tensor:
        """Return projected features; their signs are the code."""
        return (features.float() - getattr(self, f"mean_{modality}")) @ self.projection

    def logits(
        self, a: torch.Tensor, b: torch.Tensor, logit_scale: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the scaled inner product of the projections."""
        return (self.dim**-0.5 if logit_scale is None else logit_scale) * (a @ b.T)

    def distance(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the relaxed Hamming distance of the codes tanh(a) and tanh(b), in bits."""
        return (self.dim - (torch.tanh(a) * torch.tanh(b)).sum(-1)) / 2

    def to_storage(self, embeddings: torch.Tensor) -> np.ndarray:
        """Return packed signs, uint8."""
        return sign_codes(embeddings.detach().float().cpu().numpy())
