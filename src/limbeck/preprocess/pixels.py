"""Pictures to normalised pixels."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from limbeck.pictures import resize_center
from limbeck.preprocess.base import Arrays
from limbeck.preprocess.resize import Resize, resize_from_json
from limbeck.typed import Json


@functools.cache
def _levels(mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return the normalised value of each level, (3, 256): reading it takes a quarter of computing it."""
    level = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
    return np.ascontiguousarray(((level - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)).T)


@dataclass(frozen=True)
class PixelPreprocessor:
    """Resize a picture to a square, then (pixel / 255 − mean) / std per channel.

    Attributes:
        side: the side of the square, in pixels.
        mean: one number per channel.
        std: one number per channel.
        resize: the rule of a pretrained tower; None uses limbeck's own (`resize_center`).
    """

    side: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: Resize | None = None
    kind: ClassVar[str] = "pixels"

    def __call__(self, items: Sequence[Image.Image]) -> Arrays:
        """Return ``pixels`` (B, 3, side, side) float32."""
        return {"pixels": np.stack([self.normalized(self.square(image)) for image in items])}

    def square(self, image: Image.Image) -> Image.Image:
        """Resize and crop a picture to the square."""
        return resize_center(image, self.side) if self.resize is None else self.resize(image)

    def normalized(self, square: Image.Image) -> np.ndarray:
        """Return a square as (3, side, side) float32, normalised per channel."""
        table, values = _levels(self.mean, self.std), np.asarray(square)
        out = np.empty((3, *values.shape[:2]), np.float32)
        for channel in range(3):
            np.take(table[channel], values[..., channel], out=out[channel])
        return out

    def check_query(self, item: Image.Image) -> None:
        """Accept every picture."""

    def save(self, folder: Path) -> dict[str, Json]:
        """Return the settings; there are no files."""
        resize = None if self.resize is None else self.resize.to_json()
        return {
            "kind": self.kind,
            "side": self.side,
            "mean": list(self.mean),
            "std": list(self.std),
            "resize": resize,
        }

    @classmethod
    def load(cls, settings: dict[str, Any]) -> PixelPreprocessor:
        """Rebuild from the settings of `save`."""
        resize = None if settings["resize"] is None else resize_from_json(settings["resize"])
        mean, std = (tuple(map(float, settings[name])) for name in ("mean", "std"))
        return cls(int(settings["side"]), mean, std, resize)
