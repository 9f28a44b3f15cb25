"""Resizing of pictures: to the central square of the models, or as a whole into a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

# A picture up to this many times as long as wide is resized whole, as in models' training. A longer one is
# cropped first, because its resized form would be far larger than the square that is kept.
WHOLE_ASPECT = 8
_SUPPORT = 2  # the radius of the bicubic filter, in pixels of the coarser picture


@dataclass(frozen=True)
class SquarePlan:
    """The steps from a picture to its central square.

    Attributes:
        crop: (left, top, right, bottom) that is first cut out of the picture; None for all of it.
        box: (left, top, right, bottom) within the crop, in fractional pixels, that is resized; None for all.
        resized: (width, height) after resizing.
        offset: (left, top) of the square in the resized picture.
    """

    crop: tuple[int, int, int, int] | None
    box: tuple[float, float, float, float] | None
    resized: tuple[int, int]
    offset: tuple[int, int]


def square_plan(width: int, height: int, size: int) -> SquarePlan:
    """Return the plan of `resize_center`; no step exceeds 8 times the square, or the source."""
    scale = size / min(width, height)
    resized = (max(size, round(width * scale)), max(size, round(height * scale)))
    offset = ((resized[0] - size) // 2, (resized[1] - size) // 2)
    if max(resized) <= WHOLE_ASPECT * size:
        return SquarePlan(None, None, resized, offset)
    crop, box = [], []
    for side, long, start in zip((width, height), resized, offset, strict=True):
        ratio = side / long
        low, high = start * ratio, (start + size) * ratio
        margin = _SUPPORT * max(1.0, ratio) + 1
        first, last = max(0, math.floor(low - margin)), min(side, math.ceil(high + margin))
        crop.append((first, last))
        box.append((low - first, min(high - first, last - first)))
    (left, right), (top, bottom) = crop
    (west, east), (north, south) = box
    return SquarePlan((left, top, right, bottom), (west, north, east, south), (size, size), (0, 0))


def resize_center(image: Image.Image, size: int) -> Image.Image:
    """Resize the short side to ``size`` (bicubic), then crop the central square."""
    if image.size == (size, size):
        return image
    plan = square_plan(image.width, image.height, size)
    if plan.crop is not None:
        image = image.crop(plan.crop)
    image = image.resize(plan.resized, Image.Resampling.BICUBIC, box=plan.box)
    left, top = plan.offset
    return image.crop((left, top, left + size, top + size))


def contain(image: Image.Image, width: int, height: int) -> Image.Image:
    """Resize the whole picture to the largest size that fits into a frame; a side has at least a pixel."""
    scale = min(width / image.width, height / image.height)
    sides = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(sides, Image.Resampling.BICUBIC)
