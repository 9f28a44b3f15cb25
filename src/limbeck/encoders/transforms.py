"""Random crops, parts, mirrors and jitter of training pictures. Each crop has its own generator (ours)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from PIL import Image, ImageEnhance

from limbeck.encoders.config import AugmentConfig
from limbeck.pictures import resize_center


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
    box = _box(image, augment.crop, area_share, aspect, across, down)
    image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if augment.flip and mirror < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _jitter(image, augment.jitter, generator)


def random_part(image: Image.Image, area: Sequence[float], generator: torch.Generator) -> Image.Image:
    """Cut out a random part with a share of the area from ``area`` (min, max), unresized.

    It is drawn as in `random_crop`: with a generator of the same seed, the part lies inside that crop, if its
    area is not larger.
    """
    area_share, aspect, across, down, _ = torch.rand(5, generator=generator).tolist()
    return image.crop(_box(image, area, area_share, aspect, across, down))


def _box(
    image: Image.Image, area: Sequence[float], area_share: float, aspect: float, across: float, down: float
) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of a crop from four numbers between 0 and 1."""
    low, high = area
    pixels = (low + (high - low) * area_share) * image.width * image.height
    ratio = math.exp(math.log(3 / 4) + (math.log(4 / 3) - math.log(3 / 4)) * aspect)
    width = min(image.width, max(1, round(math.sqrt(pixels * ratio))))
    height = min(image.height, max(1, round(math.sqrt(pixels / ratio))))
    left, top = round(across * (image.width - width)), round(down * (image.height - height))
    return left, top, left + width, top + height


def _jitter(image: Image.Image, jitter: float, generator: torch.Generator) -> Image.Image:
    """Scale brightness, contrast, saturation, in this order, by factors from 1 - jitter to 1 + jitter."""
    if jitter:
        shifts = torch.rand(3, generator=generator).tolist()
        for enhance, shift in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), shifts, strict=True
        ):
            image = enhance(image).enhance(1 + jitter * (2 * shift - 1))
    return image
