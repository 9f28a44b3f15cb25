"""DSPH (Huo et al., Deep Semantic-aware Proxy Hashing for multi-label cross-modal retrieval, TCSVT 2023).

Every class has a learnt proxy p_c; both modalities gather around the proxies of their labels, and items with
several labels and none in common are kept apart, since no proxy does that. With t a threshold of the cosine:

    L = sum over modalities of [ mean_has (1 - cos(u, p)) + mean_lacks [cos(u, p) - t]+ ]            (HyP)
        + alpha ( R(U, U) + R(V, V) + R(U, V) ),   R = mean over irrelevant pairs of [cos - t]+

t comes from the length and the number of classes (`griesmer_threshold`); alpha = 0.8 (public code:
QinLab-WFU/CLIP-based-Cross-Modal-Hashing).

This omits the transformer encoder of the head; a learning rate of its own for the proxies.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn

from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import cosine, griesmer_threshold, irrelevant_margin, proxy_margin
from limbeck.methods.base import LabeledEmbeddings, Losses, Setup, SupervisedMethod, TrainState
from limbeck.methods.monitors import code_monitors


class Dsph(SupervisedMethod):
    """DSPH (TCSVT 2023): class proxies, and a margin between items that share no label."""

    class Config(Strict):
        """alpha (the public code: 0.8)."""

        irrelevant: float = Field(default=0.8, ge=0)

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        bits = encoder.lift.dim
        self.proxies = nn.Parameter(torch.randn(setup.classes, bits) * (2 / setup.classes) ** 0.5)
        self.threshold = griesmer_threshold(bits, setup.classes)

    def loss(self, outputs: LabeledEmbeddings, state: TrainState) -> Losses:
        """Return the loss that the docstring of the class defines."""
        u, v, labels, t = outputs.image, outputs.text, outputs.labels, self.threshold
        apart = sum(irrelevant_margin(cosine(a, b), labels, t) for a, b in ((u, u), (v, v), (u, v)))
        return Losses.weighted(
            monitors=code_monitors(image=u, text=v),
            image_proxies=(1.0, proxy_margin(cosine(u, self.proxies), labels, t)),
            text_proxies=(1.0, proxy_margin(cosine(v, self.proxies), labels, t)),
            irrelevant=(self.config.irrelevant, torch.as_tensor(apart)),
        )
