"""Pictures made to fit: the models' central square, and what fits whole into a field."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PIL import Image

# A picture up to this many times as long as wide is resized whole, as models are used to; of a longer one the
# centre is cut out first, since its resized form would be far larger than the square that is kept.
WHOLE_ASPECT = 8
_SUPPORT = 2  # of the bicubic filter, in pixels of the coarser picture


@dataclass(frozen=True)
class SquarePlan:
    """How the central square of a picture is made.

    Attributes:
        crop: (left, top, right, bottom) cut out of the picture at first; None for all of it.
        box: (left, top, right, bottom) within the crop, in real pixels, that is resized; None for all of it.
        resized: (width, height) that it is resized to.
        offset: (left, top) in the resized picture where the square begins.
    """

    crop: tuple[int, int, int, int] | None
    box: tuple[float, float, float, float] | None
    resized: tuple[int, int]
    offset: tuple[int, int]


def square_plan(width: int, height: int, size: int) -> SquarePlan:
    """The plan of `resize_center`; no picture on the way is larger than 8 times the square, or the source."""
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
    """Short side to ``size`` (bicubic), then the central square."""
    if image.size == (size, size):
        return image
    plan = square_plan(image.width, image.height, size)
    if plan.crop is not None:
        image = image.crop(plan.crop)
    image = image.resize(plan.resized, Image.Resampling.BICUBIC, box=plan.box)
    left, top = plan.offset
    return image.crop((left, top, left + size, top + size))


def contain(image: Image.Image, width: int, height: int) -> Image.Image:
    """The whole picture as large as fits into a field; no side is less than a pixel."""
    scale = min(width / image.width, height / image.height)
    sides = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(sides, Image.Resampling.BICUBIC)
