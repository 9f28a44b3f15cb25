"""KDPH (Absorbing Gradient Conflicts: Kent Distribution Proxy Hashing, 2026), from its public code.

A class is a Kent distribution on the sphere, wider along one axis than across it, so that its items need not
meet in one point. With x a code at unit length and mu, g1, g2 the class's orthonormal axes, its score is

    s_c(x) = kappa mu·x + b1 (g1·x)^2 - b2 (g2·x)^2 - (kappa + b1 + b2) / 2        (`kent_scores`)

    L = sum over modalities of mean over (class n that an item lacks, class p it has) of [s_n - s_p + margin]+
        + irrelevant ( R(U, U) + R(V, V) + R(U, V) ) + contrast InfoNCE(cos(u, v); 0.07)
        - noise ( mean u·a(u) + mean v·a(v) )

R as in DSPH (`irrelevant_margin`). a assigns to each code one of B random codes of ±1, so that the sum of the
distances is least: bits become even and independent. Values are those of the public code for
MIRFlickr at 64 bits (Senmo996/KDPH-official-code).

mu, g1 and g2 are made orthonormal by Gram and Schmidt, one of three ways in that code. This omits a learning
rate for them alone, and CLIP's towers, which are a matter of the recipe.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import cosine, griesmer_threshold, info_nce, irrelevant_margin, kent_scores, rank_classes
from limbeck.methods.base import LabeledEmbeddings, Losses, Setup, SupervisedMethod, TrainState
from limbeck.methods.monitors import code_monitors
from limbeck.optional_deps import require


class Kdph(SupervisedMethod):
    """KDPH (2026): proxies that are Kent distributions, contrast of pairs, and codes near random ones."""

    class Config(Strict):
        """Options; the defaults are those of the public code for MIRFlickr at 64 bits.

        At 16 bits it has ``margin`` 0.3, ``irrelevant`` 41, ``contrast`` 0.29 and ``noise`` 0.1.
        """

        margin: float = Field(default=1.0, ge=0)
        irrelevant: float = Field(default=26.0, ge=0)
        contrast: float = Field(default=0.2, ge=0)
        temperature: float = Field(default=0.07, gt=0)
        noise: float = Field(default=0.5, ge=0)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        require("scipy.optimize")
        bits, classes = encoder.lift.dim, setup.classes
        self.axes = nn.Parameter(torch.randn(classes, 3, bits))  # mu, g1, g2 before they are orthonormal
        self.log_scales = nn.Parameter(torch.zeros(classes, 3))  # of kappa, b1, b2
        self.threshold = griesmer_threshold(bits, classes)

    def loss(self, outputs: LabeledEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the module defines."""
        u, v, labels, config = outputs.image, outputs.text, outputs.labels, self.config
        scales = self.log_scales.clamp(-10, 10).exp()
        classes = sum(rank_classes(kent_scores(x, self.axes, scales), labels, config.margin) for x in (u, v))
        pairs = ((u, u), (v, v), (u, v))
        apart = sum(irrelevant_margin(cosine(a, b), labels, self.threshold) for a, b in pairs)
        random = 2.0 * torch.randint(2, u.shape, generator=state.generator()).to(u) - 1
        near = sum((x * random[assigned(x, random)]).sum(1).mean() for x in (u, v))
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v),
            classes=(1.0, torch.as_tensor(classes)),
            irrelevant=(config.irrelevant, torch.as_tensor(apart)),
            contrast=(config.contrast, info_nce(cosine(u, v) / config.temperature)),
            noise=(-config.noise, torch.as_tensor(near)),
        )


@torch.no_grad()
def assigned(codes: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return one row of ``targets`` (B, b) per code (B, b), each once, with the least sum of distances."""
    distances = torch.cdist(codes.float(), targets.float()).cpu().numpy()
    rows = require("scipy.optimize").linear_sum_assignment(distances)[1]
    return torch.as_tensor(rows, device=codes.device)
