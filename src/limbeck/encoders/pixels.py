"""What the towers on pixels share: their size, crops of training pictures, and the check of their input."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from limbeck.encoders.backbone import Backbone, Inputs
from limbeck.encoders.config import AugmentConfig
from limbeck.encoders.transforms import random_crop
from limbeck.errors import LimbeckError
from limbeck.preprocess.pixels import PixelPreprocessor


class PixelBackbone(Backbone):
    """A tower that reads squares of ``image_size`` pixels.

    Attributes:
        image_size: the side of the square.
        augment: how training pictures are varied; None leaves them as they are.
    """

    reads = "pixels"
    image_size: int
    augment: AugmentConfig | None = None

    @property
    @abstractmethod
    def preprocessor(self) -> PixelPreprocessor:
        """What makes normalised squares of pictures."""

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

    def _checked(self, inputs: Inputs) -> Inputs:
        size = tuple(inputs["pixels"].shape[-2:])
        if size != (self.image_size, self.image_size):
            raise LimbeckError(
                f"pixels: {size[0]} x {size[1]}, but the tower reads squares of {self.image_size}",
                code="E-ARRAY-SHAPE",
            )
        return inputs
