"""Image towers on pixels: CLIP's vision transformer at any size, or that of a pretrained dual encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from limbeck.encoders.backbone import Inputs, PixelBackbone
from limbeck.encoders.config import ClipImageConfig
from limbeck.encoders.networks import vision_network
from limbeck.encoders.networks.transformer import tiles_of
from limbeck.encoders.pretrained import image_part
from limbeck.encoders.sizes import check_size
from limbeck.files import read_json, write_json
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.resize import CLIP_MEAN, CLIP_STD, Resize, resize_from_json
from limbeck.typed import Json


class ClipImageBackbone(PixelBackbone):
    """CLIP's image tower with the sizes of its configuration, or the image tower of a pretrained source.

    The input ``keep``, (B, K) int64 patch numbers of each picture in raster order, sends only those patches
    and the class token through the transformer. Positions are added first, then patches are dropped (FLIP, Li
    et al. 2023), so that the computation shrinks with K. `limbeck.encoders.masking` draws the numbers.
    """

    config: ClipImageConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None

    def __init__(self, config: ClipImageConfig, *, empty: bool = False) -> None:
        """Build the tower; ``empty`` skips the pretrained weights because others are loaded next."""
        super().__init__(config)
        self.source, self.augment = config.source, config.augment
        self.mean, self.std = CLIP_MEAN, CLIP_STD
        if config.source is None:
            self._build(
                {
                    "model_type": "clip_vision_model",
                    "hidden_size": config.width,
                    "intermediate_size": 4 * config.width,
                    "num_hidden_layers": config.layers,
                    "num_attention_heads": config.heads,
                    "image_size": config.image_size,
                    "patch_size": config.patch_size,
                    "projection_dim": config.width,
                }
            )
        elif not empty:
            part = image_part(config.source, projection=config.projection)
            self._use(part.model)
            self.pristine = True
            self.resize = part.preprocessing.resize
            self.mean, self.std = part.preprocessing.mean, part.preprocessing.std

    def _build(self, stored: dict[str, Json]) -> None:
        self._use(vision_network(str(stored["model_type"])).build(stored, self.config.projection))

    def _use(self, model: Any) -> None:
        self.model = model
        self.network = vision_network(model.config.model_type)
        self.image_size = int(model.config.image_size)
        self.dim = self.network.dim(model, self.config.projection)
        side = getattr(model.config, "patch_size", None)
        self.grid = 0 if side is None else self.image_size // int(side)
        self.patches = self.grid**2
        self.maskable = self.patches > 0
        self.tile = 0 if side is None else 3 * int(side) ** 2

    @property
    def worth_caching(self) -> bool:
        """True when it is frozen; the network of a source may have no parameters (ONNX)."""
        return self.frozen

    @property
    def preprocessor(self) -> PixelPreprocessor:
        """Makes squares by the source's rule; models without its files (new sizes, older ones) use ours."""
        return PixelPreprocessor(self.image_size, self.mean, self.std, self.resize)

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim): the feature of the whole picture, or its projection."""
        return self.network.forward(self.model, self._checked(inputs))

    def tokens(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, dim): the whole picture, then every patch (see the network)."""
        return self.network.tokens(self.model, self._checked(inputs))

    def attended(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the attention of the whole picture to each patch (see the network)."""
        return self.network.attended(self.model, self._checked(inputs))

    def tiles(self, inputs: Inputs) -> torch.Tensor:
        """Cut the pixels along the grid; drop what the grid does not cover."""
        return tiles_of(inputs["pixels"], int(self.model.config.patch_size))

    def save_assets(self, folder: Path) -> None:
        """Write the transformer's configuration and the preprocessing."""
        stored = {"config": self.model.config.to_dict(), "mean": self.mean, "std": self.std}
        if self.resize is not None:
            stored["resize"] = self.resize.to_json()
        write_json(folder / "image.json", stored)

    def load_assets(self, folder: Path) -> None:
        """Rebuild the transformer without its weights."""
        stored = read_json(folder / "image.json")
        check_size(folder / "image.json", stored)
        self._build(stored["config"])
        self.mean, self.std = tuple(stored["mean"]), tuple(stored["std"])
        self.resize = resize_from_json(stored["resize"]) if "resize" in stored else None

    def reference(self) -> str | None:
        """Return the pretrained source."""
        return self.source

    def from_source(self, source: str) -> torch.nn.Module:
        """Load the network of a source that is on this machine."""
        return image_part(source, projection=self.config.projection, network=False).model

    def embeds(self) -> str | None:
        """Return the source where the tower includes its projection, else None."""
        return self.source if self.config.projection else None
