"""Pictures to tensors: resize, crop, mirror, jitter, normalise. Each crop has its own generator (ours).

The module belongs to the encoders because a tower owns its preprocessing and is saved with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageEnhance

from limbeck.encoders.config import AugmentConfig
from limbeck.pictures import resize_center

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def to_tensor(image: Image.Image, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Return (3, H, W) float32, normalised per channel."""
    x: np.ndarray = np.asarray(image, np.float32) / 255.0
    x = (x - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(2, 0, 1)))


def random_crop(
    image: Image.Image,
    size: int,
    augment: AugmentConfig,
    generator: torch.Generator,
    still: Callable[[Image.Image], Image.Image] | None = None,
) -> Image.Image:
    """Crop a random area and aspect ratio (3/4 to 4/3), resize to a square, perhaps mirror and jitter.

    Where ``augment`` keeps places, the crop is that of ``still``, the tower's own transform (by default
    `resize_center`), so that patches stay aligned with it.
    """
    area_share, aspect, across, down, mirror = torch.rand(5, generator=generator).tolist()
    if augment.keeps_place:
        whole = resize_center(image, size) if still is None else still(image)
        return _jitter(whole, augment.jitter, generator)
    low, high = augment.crop
    area = (low + (high - low) * area_share) * image.width * image.height
    ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * aspect)
    width = min(image.width, max(1, round(math.sqrt(area * ratio))))
    height = min(image.height, max(1, round(math.sqrt(area / ratio))))
    left, top = round(across * (image.width - width)), round(down * (image.height - height))
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    if augment.flip and mirror < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _jitter(image, augment.jitter, generator)


def _jitter(image: Image.Image, jitter: float, generator: torch.Generator) -> Image.Image:
    """Scale brightness, contrast, saturation, in this order, by factors from 1 - jitter to 1 + jitter."""
    if jitter:
        shifts = torch.rand(3, generator=generator).tolist()
        for enhance, shift in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), shifts, strict=True
        ):
            image = enhance(image).enhance(1 + jitter * (2 * shift - 1))
    return image
