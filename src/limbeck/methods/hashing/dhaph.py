"""DHaPH (Huo et al., Deep Hierarchy-aware Proxy Hashing with self-paced learning, TKDE 2024).

Codes learn by a self-paced contrast of similar and dissimilar items (`label_contrast`, temperature 0.3; the
pace rises from 0 to 1 over the first third of training):

    L = C(U, U) + C(V, V) + C(U, V) + alpha H(x, y)

and H learns a hierarchy over them: a linear map, clipped in length, takes codes to hyperbolic points x, y of
curvature -c, where learnt proxies stand for ancestors that nobody names. H sums over triplets of pictures, of
texts and, counted twice, of the ancestors themselves (`ancestor_hierarchy`).

In the public code (QinLab-WFU/CLIP-based-Cross-Modal-Hashing) H reads the codes without gradient, so that the
hierarchy never moves a bit; ``detach: false`` lets it (ours). c = 0.1, clipping at 2.3, 500 proxies, margin
0.1, 15 neighbours and alpha = 1 are that code's.

This omits the transformer head; the codes' layer norm before that map; 50 triplets for every anchor (256
in all here, drawn at each step); learning rates of their own for map and proxies. The Poincare ball is
replaced by the hyperboloid of the same curvature: equal distances, where the ball's exponential map at the
origin doubles a vector's length.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.geometry import lorentz
from limbeck.losses import ancestor_hierarchy, label_contrast, shared_label
from limbeck.methods.base import LabeledEmbeddings, Losses, Setup, SupervisedMethod, TrainState
from limbeck.methods.monitors import code_monitors


class Dhaph(SupervisedMethod):
    """DHaPH (TKDE 2024): self-paced contrast, and learnt ancestors in hyperbolic space."""

    class Config(Strict):
        """Values of the public code, except ``triplets`` per set and step (there 50 per anchor)."""

        temperature: float = Field(default=0.3, gt=0)
        hierarchy: float = Field(default=1.0, ge=0)
        detach: bool = True
        proxies: int = Field(default=500, ge=2)
        curv: float = Field(default=0.1, gt=0)
        max_norm: float = Field(default=2.3, gt=0)
        margin: float = Field(default=0.1, ge=0)
        neighbours: int = Field(default=15, ge=1)
        triplets: int = Field(default=256, ge=1)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        bits = encoder.lift.dim
        self.to_tangent = nn.Linear(bits, bits)
        self.ancestors = nn.Parameter(torch.randn(config.proxies, bits) * (0.9 * config.max_norm / bits**0.5))

    def loss(self, outputs: LabeledEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        u, v, config = outputs.image, outputs.text, self.config
        similar = shared_label(outputs.labels, outputs.labels)
        pace = min(1.0, 3 * (state.step + 1) / state.total_steps)
        heat = config.temperature
        contrast = sum(label_contrast(a, b, similar, heat, pace) for a, b in ((u, u), (v, v), (u, v)))
        hierarchy = ancestor_hierarchy(
            [self._points(self.to_tangent(x.detach() if config.detach else x)) for x in (u, v)],
            self._points(self.ancestors),
            similar,
            state.generator(),
            curv=config.curv,
            neighbours=config.neighbours,
            count=config.triplets,
            margin=config.margin,
        )
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v),
            contrast=(1.0, u.new_zeros(()) + contrast),
            hierarchy=(config.hierarchy, hierarchy),
        )

    def _points(self, vectors: torch.Tensor) -> torch.Tensor:
        """Clip vectors, double their length, and apply the exponential map at the origin."""
        length = vectors.norm(dim=1, keepdim=True).clamp(min=1e-5)
        clipped = vectors * (self.config.max_norm / length).clamp(max=1.0)
        return lorentz.exp_map0(2 * clipped, self.config.curv)
