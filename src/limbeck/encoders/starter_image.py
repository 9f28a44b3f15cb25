"""The image tower of the starter model (see `limbeck.encoders.starter`)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import StarterImageConfig
from limbeck.encoders.efficientnet import FEATURES, build_network, feature_map, square_preprocessor
from limbeck.preprocess.pixels import PixelPreprocessor

SIDE, CLASSES, WIDTH = 224, 1000, 384
POWER = 0.5  # of the class probabilities
SHARE = 0.45  # of the class embeddings in a picture's vector


class StarterImage(Backbone):
    """EfficientNet-Lite2 with ImageNet weights and the two maps into the sentence space."""

    reads = "pixels"
    config: StarterImageConfig
    dim = WIDTH
    image_size = SIDE
    class_vectors: torch.Tensor
    feature_map: torch.Tensor

    def __init__(self, config: StarterImageConfig) -> None:
        super().__init__(config)
        self.model: nn.Module = build_network("lite2")
        self.register_buffer("class_vectors", torch.zeros(CLASSES, WIDTH))
        self.register_buffer("feature_map", torch.zeros(FEATURES, WIDTH))

    @property
    def preprocessor(self) -> PixelPreprocessor:
        """The preprocessing of EfficientNet-Lite at 224 pixels."""
        return square_preprocessor(SIDE)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 384): the sum of two unit vectors with the weights `SHARE` and 1 − `SHARE`."""
        features = feature_map(self.model, inputs["pixels"]).mean((2, 3))
        probabilities = torch.softmax(self.model.get_submodule("_fc")(features), dim=1) ** POWER
        named = F.normalize(probabilities @ self.class_vectors, dim=1)
        mapped = F.normalize(F.normalize(features, dim=1) @ self.feature_map, dim=1)
        return SHARE * named + (1 - SHARE) * mapped
