"""Image towers on pixels: CLIP's vision transformer of `transformers`, at any size, on chosen patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from limbeck.encoders.attention import class_attention
from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import ClipImageConfig
from limbeck.encoders.hub import attention, pretrained
from limbeck.encoders.sizes import check_size
from limbeck.encoders.sources import local_folder
from limbeck.encoders.transforms import random_crop
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.resize import CLIP_MEAN, CLIP_STD, Resize, read_preprocessing, resize_from_json


class ClipImageBackbone(Backbone):
    """CLIP's image tower: patches, transformer and class token, with its projection if ``projection`` is set.

    The input ``keep``, (B, K) int64 patch numbers of each picture in raster order, sends only those patches
    and the class token through the transformer. Positions are added first, then patches are dropped (FLIP, Li
    et al. 2023), so that the computation shrinks with K. `limbeck.encoders.masking` draws the numbers.
    """

    reads = "pixels"
    config: ClipImageConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None

    def __init__(self, config: ClipImageConfig, *, empty: bool = False) -> None:
        """Build the tower; ``empty`` skips the pretrained weights because others are loaded next."""
        super().__init__(config)
        from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

        self.source, self.augment = config.source, config.augment
        self.mean, self.std = CLIP_MEAN, CLIP_STD
        cls = CLIPVisionModelWithProjection if config.projection else CLIPVisionModel
        if config.source is None:
            shape = CLIPVisionConfig(
                hidden_size=config.width,
                intermediate_size=4 * config.width,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                image_size=config.image_size,
                patch_size=config.patch_size,
                projection_dim=config.width,
            )
            self.model = cls(shape)
        elif not empty:
            self.model = pretrained(cls, config.source)
            self.pristine = True
            preprocessing = read_preprocessing(local_folder(config.source), int(self.model.config.image_size))
            self.resize, self.mean, self.std = preprocessing.resize, preprocessing.mean, preprocessing.std
        if config.source is None or not empty:
            self._describe()

    def _describe(self) -> None:
        shape = self.model.config
        self.model.set_attn_implementation(attention())
        self.image_size = int(shape.image_size)
        self.dim = int(shape.projection_dim if self.config.projection else shape.hidden_size)
        self.grid = self.image_size // int(shape.patch_size)
        self.patches = self.grid**2
        self.tile = 3 * int(shape.patch_size) ** 2

    @property
    def preprocessor(self) -> PixelPreprocessor:
        """Makes squares by the source's rule; models without its files (new sizes, older ones) use ours."""
        return PixelPreprocessor(self.image_size, self.mean, self.std, self.resize)

    def collate(
        self, items: Sequence[Image.Image], generators: Sequence[torch.Generator] | None = None
    ) -> Inputs:
        """Return (B, 3, S, S) pixels; crop at random when generators are given and ``augment`` is set."""
        if generators is None or self.augment is None:
            return super().collate(items)
        pixels = self.preprocessor
        crops = [
            random_crop(image, self.image_size, self.augment, generator, pixels.square)
            for image, generator in zip(items, generators, strict=True)
        ]
        return {"pixels": torch.from_numpy(np.stack([pixels.normalized(crop) for crop in crops]))}

    def forward(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, dim): the class token after the last norm, or its projection."""
        return self._finish(self._hidden(inputs)[:, 0])

    def tokens(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, dim): class token and patches, each after the last norm, or its projection.

        CLIP normalises (and projects) its class token only; treating every patch alike is ours.
        """
        return self._finish(self._hidden(inputs))

    def attended(self, inputs: Inputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return `tokens` and the class token's attention, averaged over layers and heads (A-CLIP)."""
        with class_attention(self._vision.encoder.layers) as layers:
            tokens = self.tokens(inputs)
        return tokens, torch.stack(layers).mean(0)[:, 1:]

    def tiles(self, inputs: Inputs) -> torch.Tensor:
        """Cut the pixels along the grid; drop what the grid does not cover."""
        pixels, grid, side = inputs["pixels"], self.grid, int(self.model.config.patch_size)
        batch = len(pixels)
        tiles = pixels[..., : grid * side, : grid * side].reshape(batch, -1, grid, side, grid, side)
        return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch, self.patches, -1)

    @property
    def _vision(self) -> Any:
        # transformers 5.0 wraps the transformer in both classes, later releases in the projected one only.
        return getattr(self.model, "vision_model", self.model)

    def _hidden(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, width), the output before the last norm; without ``keep`` K is all patches."""
        vision, pixels = self._vision, inputs["pixels"]
        size = tuple(pixels.shape[-2:])
        if size != (self.image_size, self.image_size):
            raise LimbeckError(
                f"pixels: {size[0]} x {size[1]}, but the tower reads squares of {self.image_size}"
            )
        x = self._embed(inputs) if "keep" in inputs else vision.embeddings(pixels)
        hidden: torch.Tensor = vision.encoder(inputs_embeds=vision.pre_layrnorm(x)).last_hidden_state
        return hidden

    def _embed(self, inputs: Inputs) -> torch.Tensor:
        """Return (B, 1 + K, width): the network's embeddings of class token and kept patches.

        The patch convolution runs as a matrix product over the kept patches: half the patches take half its
        time.
        """
        embeddings, keep = self._vision.embeddings, inputs["keep"]
        weight, batch = embeddings.patch_embedding.weight, len(keep)
        tiles = self.tiles(inputs)[torch.arange(batch, device=keep.device)[:, None], keep].to(weight.dtype)
        patches = nn.functional.linear(tiles, weight.flatten(1)) + embeddings.position_embedding(keep + 1)
        start = embeddings.class_embedding + embeddings.position_embedding.weight[0]
        return torch.cat([start.expand(batch, 1, -1), patches], dim=1)

    def _finish(self, hidden: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self._vision.post_layernorm(hidden)
        return self.model.visual_projection(out) if self.config.projection else out

    def save_assets(self, folder: Path) -> None:
        """Write the transformer's configuration and the preprocessing."""
        stored = {"config": self.model.config.to_dict(), "mean": self.mean, "std": self.std}
        if self.resize is not None:
            stored["resize"] = self.resize.to_json()
        write_json(folder / "image.json", stored)

    def load_assets(self, folder: Path) -> None:
        """Rebuild the transformer without its weights."""
        from transformers import CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

        stored = read_json(folder / "image.json")
        check_size(folder / "image.json", stored)
        cls = CLIPVisionModelWithProjection if self.config.projection else CLIPVisionModel
        self.model = cls(CLIPVisionConfig.from_dict(stored["config"]))
        self.mean, self.std = tuple(stored["mean"]), tuple(stored["std"])
        self.resize = resize_from_json(stored["resize"]) if "resize" in stored else None
        self._describe()

    def reference(self) -> str | None:
        """Return the pretrained source."""
        return self.source

    def embeds(self) -> str | None:
        """Return the source where the tower includes its projection, else None."""
        return self.source if self.config.projection else None
