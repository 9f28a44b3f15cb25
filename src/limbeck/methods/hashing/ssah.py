"""SSAH (Li et al., Self-Supervised Adversarial Hashing, CVPR 2018): a network of the labels teaches the rest.

The label network maps the label vector to semantic features F_l and codes H_l; picture and text learn
features F_m and codes H_m beside them. C are the predicted labels, B = sign(H_l + H_image + H_text), and
NLL(X, Y) = mean_ij [ log(1 + e^Theta_ij) - S_ij Theta_ij ] with Theta = theta / sqrt(width) X Y'. For * the
label network itself and each modality m:

    L_* = alpha NLL(F_*, F_l) + gamma NLL(H_*, H_l) + eta |B - H_*|^2 + beta |C_* - labels|^2     (eqs. 1, 4)

and a discriminator per modality tells F_m from F_l while the modality fools it (eq. 6, as the cross-entropy
of the public code). Weights are those of the public code, all 1, on means.

This omits alternation (the discriminators' gradient is reversed on its way to the towers; the label network
moves with the rest; no gradient of a modality reaches it); multi-scale fusion of texts; the paper's networks,
and the public code's sigmoid of C; the public code's form of the likelihood (a squared difference).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional as F

from limbeck.data.batches import Batch
from limbeck.encoders.config import Strict
from limbeck.encoders.dual import DualEncoder
from limbeck.losses import pairwise_likelihood, quantization, scaled_logits, shared_label
from limbeck.methods.base import LabeledEmbeddings, Losses, Method, Setup, TrainState
from limbeck.methods.monitors import code_monitors, sign
from limbeck.methods.soda import theta

SIDES = ("image", "text")


@dataclass
class NetworkOutputs:
    """What one network (label, image or text) gives per pair."""

    codes: torch.Tensor
    semantic: torch.Tensor
    predicted: torch.Tensor


@dataclass(kw_only=True)
class SsahOutputs(LabeledEmbeddings):
    """Codes H_*, semantic features F_* and predicted labels C_* of three networks, and the verdicts (B, 1).

    ``image`` and ``text`` are H of the modalities. A verdict is a discriminator's output for a modality's
    features, whose gradient is reversed, or for the label network's features, which get no gradient.
    """

    label_codes: torch.Tensor
    label_semantic: torch.Tensor
    image_semantic: torch.Tensor
    text_semantic: torch.Tensor
    label_predicted: torch.Tensor
    image_predicted: torch.Tensor
    text_predicted: torch.Tensor
    image_verdict: torch.Tensor
    text_verdict: torch.Tensor
    image_label_verdict: torch.Tensor
    text_label_verdict: torch.Tensor

    def networks(self) -> tuple[NetworkOutputs, NetworkOutputs, NetworkOutputs]:
        """Return the outputs of the label network, the pictures' and the texts'."""
        return (
            NetworkOutputs(self.label_codes, self.label_semantic, self.label_predicted),
            NetworkOutputs(self.image, self.image_semantic, self.image_predicted),
            NetworkOutputs(self.text, self.text_semantic, self.text_predicted),
        )


class Ssah(Method[SsahOutputs]):
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

    config: Config

    def __init__(self, encoder: DualEncoder, config: Config, setup: Setup) -> None:
        super().__init__(encoder, config, setup)
        width, bits, classes = config.semantic, encoder.lift.dim, setup.classes
        self.label_net = nn.Sequential(
            nn.Linear(classes, width), nn.ReLU(), nn.Linear(width, width), nn.Tanh()
        )
        self.label_code = nn.Sequential(nn.Linear(width, bits), nn.Tanh())
        self.semantic = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(encoder.towers[m].dim, width), nn.Tanh()) for m in SIDES}
        )
        self.classify = nn.ModuleDict({name: nn.Linear(width, classes) for name in (*SIDES, "label")})
        self.judge = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)) for m in SIDES}
        )

    def encode_batch(self, batch: Batch) -> SsahOutputs:
        """Return the outputs of the label network and both modalities, and the discriminators' verdicts."""
        labels = batch.known_labels
        of_labels = self.label_net(labels)
        label_codes = self.label_code(of_labels)
        codes, semantic, verdicts, label_verdicts = {}, {"label": of_labels}, {}, {}
        for m in SIDES:
            features = self.encoder.towers[m](batch.inputs[m])
            codes[m] = self.encoder.lift(features, m)
            semantic[m] = own = self.semantic[m](features)
            verdicts[m] = self.judge[m](2 * own.detach() - own)
            label_verdicts[m] = self.judge[m](of_labels.detach())
        predicted = {name: classify(semantic[name]) for name, classify in self.classify.items()}
        return SsahOutputs(
            image=codes["image"],
            text=codes["text"],
            labels=labels,
            label_codes=label_codes,
            **{f"{name}_semantic": rows for name, rows in semantic.items()},
            **{f"{name}_predicted": rows for name, rows in predicted.items()},
            **{f"{m}_verdict": rows for m, rows in verdicts.items()},
            **{f"{m}_label_verdict": rows for m, rows in label_verdicts.items()},
        )

    def loss(self, outputs: SsahOutputs, state: TrainState) -> Losses:
        """Return the losses of the module docstring, summed over the label network and both modalities."""
        labels, lift = outputs.labels, self.encoder.lift
        similar = shared_label(labels, labels)
        common = sign(outputs.image + outputs.text + outputs.label_codes)
        guide = outputs.networks()[0]
        features = codes = spread = classes = labels.new_zeros(())
        for network in outputs.networks():
            # No gradient of a modality reaches the label network.
            own = network.codes is guide.codes
            of_features, of_codes = (x if own else x.detach() for x in (guide.semantic, guide.codes))
            theta_f = scaled_logits(network.semantic, of_features, lift.config.theta)
            features = features + pairwise_likelihood(theta_f, similar)
            codes = codes + pairwise_likelihood(theta(lift, network.codes, of_codes), similar)
            spread = spread + quantization(network.codes, common)
            classes = classes + (network.predicted - labels).square().mean()
        fooled = told_apart(outputs.image_verdict, outputs.image_label_verdict) + told_apart(
            outputs.text_verdict, outputs.text_label_verdict
        )
        return Losses.weighted(
            monitors=code_monitors(image=outputs.image, text=outputs.text),
            adversarial=(self.config.adversarial, fooled),
            features=(self.config.features, features),
            codes=(self.config.codes, codes),
            quantization=(self.config.quantization, spread),
            labels=(self.config.labels, classes),
        )


def told_apart(of_modality: torch.Tensor, of_labels: torch.Tensor) -> torch.Tensor:
    """Return the loss of a discriminator of label features (1) and modality features (0), (B, 1) each.

    The discriminator goes down it, the modality up: its gradient is reversed on the way.
    """
    return F.softplus(of_modality).mean() + F.softplus(-of_labels).mean()
