"""SSAH (Li et al., Self-Supervised Adversarial Hashing, CVPR 2018): a network of the labels teaches the rest.

The label network maps the label vector to semantic features F_l and codes H_l; picture and text learn
features F_m and codes H_m beside them. With NLL the likelihood of S and C the predicted labels, for * the
label network itself and each modality m:

    L_* = alpha NLL(F_*, F_l) + gamma NLL(H_*, H_l) + eta |B - H_*|^2 + beta |C_* - labels|^2     (eqs. 1, 4)

and a discriminator per modality tells F_m from F_l while the modality fools it (eq. 6). Weights are those of
the public code, all 1, on means.

Left out: alternation (the discriminators' gradient is reversed on its way to the towers; the label network
moves with the rest; no gradient of a modality reaches it); multi-scale fusion of texts; the paper's networks;
the public code's form of the likelihood (a squared difference).
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from limbeck.encoders.config import Strict
from limbeck.losses import pairwise_likelihood, quantization, shared_label
from limbeck.methods.base import Batch, Losses, Method, Reps, State, code_monitors, sign

SIDES = ("image", "text")


class Ssah(Method):
    """SSAH (CVPR 2018): a network of the label vector teaches both modalities, adversarially."""

    supervised = True

    class Config(Strict):
        """Weights (the public code: all 1) and width of the semantic features (paper: 512)."""

        semantic: int = Field(default=512, ge=1)
        features: float = Field(default=1.0, ge=0)
        codes: float = Field(default=1.0, ge=0)
        quantization: float = Field(default=1.0, ge=0)
        labels: float = Field(default=1.0, ge=0)
        adversarial: float = Field(default=1.0, ge=0)

    def enrol(self, rows: int, classes: int) -> None:
        """Label network, semantic heads, classifiers and discriminators."""
        width, bits = self.config.semantic, self.encoder.lift.dim
        self.label_net = nn.Sequential(
            nn.Linear(classes, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh()
        )
        self.label_code = nn.Sequential(nn.Linear(width, bits), nn.Tanh())
        self.semantic = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(self.encoder.towers[m].dim, width), nn.Tanh()) for m in SIDES}
        )
        self.classify = nn.ModuleDict({name: nn.Linear(width, classes) for name in (*SIDES, "label")})
        self.judge = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)) for m in SIDES}
        )

    def represent(self, batch: Batch) -> Reps:
        """Codes, semantic features, predicted labels of both modalities and of the label network; verdicts.

        A verdict is what a discriminator says of a modality's features, whose gradient is reversed, and of
        the label network's, which get none.
        """
        labels = batch["labels"]
        of_labels = self.label_net(labels)
        reps = {"labels": labels, "label": self.label_code(of_labels), "label_semantic": of_labels}
        for m in SIDES:
            features = self.encoder.towers[m](batch[m])
            reps[m] = self.encoder.lift(features, m)
            reps[f"{m}_semantic"] = own = self.semantic[m](features)
            reps[f"{m}_verdict"] = self.judge[m](2 * own.detach() - own)
            reps[f"{m}_verdict_label"] = self.judge[m](of_labels.detach())
        for name, classify in self.classify.items():
            reps[f"{name}_predicted"] = classify(reps[f"{name}_semantic"])
        return reps

    def objective(self, reps: Reps, state: State) -> Losses:
        """The losses above, of the label network and both modalities."""
        labels, taught = reps["labels"], (reps["label_semantic"], reps["label"])
        similar = shared_label(labels, labels)
        scale = self.encoder.lift.config.theta / self.config.semantic**0.5
        common = sign(reps["image"] + reps["text"] + reps["label"])
        parts = {name: labels.new_zeros(()) for name in ("features", "codes", "quantization", "labels")}
        for name in ("label", *SIDES):
            f, h = reps[f"{name}_semantic"], reps[name]
            # No gradient of a modality reaches the label network.
            guide, guide_codes = taught if name == "label" else (own.detach() for own in taught)
            parts["features"] = parts["features"] + pairwise_likelihood(scale * f @ guide.T, similar)
            parts["codes"] = parts["codes"] + pairwise_likelihood(
                self.encoder.lift.logits(h, guide_codes), similar
            )
            parts["quantization"] = parts["quantization"] + quantization(h, common)
            parts["labels"] = parts["labels"] + (reps[f"{name}_predicted"] - labels).square().mean()
        fooled = sum(told_apart(reps[f"{m}_verdict"], reps[f"{m}_verdict_label"]) for m in SIDES)
        return Losses.weighted(
            monitors=code_monitors(**{m: reps[m] for m in SIDES}),
            adversarial=(self.config.adversarial, labels.new_zeros(()) + fooled),
            **{name: (getattr(self.config, name), value) for name, value in parts.items()},
        )


def told_apart(of_modality: torch.Tensor, of_labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of telling features of labels (1) from those of a modality (0), from verdicts (B, 1).

    The discriminator goes down it, the modality up: its gradient is reversed on the way.
    """
    return F.softplus(of_modality).mean() + F.softplus(-of_labels).mean()
