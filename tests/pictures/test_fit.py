"""The models' square: today's pixels for normal pictures, the centre first for long ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limbeck.pictures import contain, resize_center
from limbeck.pictures.fit import WHOLE_ASPECT, square_plan


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def smooth(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / 9 + phase) + 60 * np.cos(y / 7 + phase) for phase in (0, 1, 2)]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


def whole_first(image: Image.Image, size: int) -> np.ndarray:
    """The definition: the short side to ``size``, then the central square."""
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    left, top = (width - size) // 2, (height - size) // 2
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(resized.crop((left, top, left + size, top + size)))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 40))
def test_the_square_is_that_of_the_whole_picture_resized(width, height, size):
    is_long = square_plan(width, height, size).crop is not None
    image = smooth(width, height) if is_long else noise(width, height)
    shown = np.asarray(resize_center(image, size)).astype(int)
    assert shown.shape == (size, size, 3)
    # Of a long picture Pillow may take its two passes in another order, and rounds between them.
    assert np.abs(shown - whole_first(image, size)).max() <= (2 if is_long else 0)


@pytest.mark.parametrize("shape", [(7, 1), (8, 1), (1, 8), (9, 1), (1, 9)])
def test_only_a_picture_longer_than_eight_times_its_width_is_cut_first(shape):
    assert (square_plan(*shape, 10).crop is not None) == (max(shape) > 8)


@pytest.mark.parametrize("shape", [(60_000, 1), (1, 60_000), (1_000_000, 1), (100_000, 100), (1, 9), (9, 2)])
@pytest.mark.parametrize("size", [1, 64, 224, 336])
def test_nothing_on_the_way_is_larger_than_eight_squares(shape, size):
    plan = square_plan(*shape, size)
    assert max(plan.resized) <= WHOLE_ASPECT * size
    if plan.crop is not None:
        left, top, right, bottom = plan.crop
        assert 0 <= left < right <= shape[0] and 0 <= top < bottom <= shape[1]
        ratio = max(1, min(shape) / size)
        assert max(right - left, bottom - top) <= size * ratio + 4 * ratio + 6


def test_of_a_long_picture_the_centre_is_shown():
    image = Image.new("RGB", (60_001, 1), "red")
    image.putpixel((30_000, 0), (0, 0, 255))
    shown = resize_center(image, 224)
    assert shown.getpixel((112, 112)) == (0, 0, 255)


@pytest.mark.parametrize("shape", [(60_000, 1), (1, 60_000), (30, 20), (20, 30), (1, 1)])
def test_contain_fits_whole_and_never_vanishes(shape):
    shown = contain(Image.new("RGB", shape), 168, 100)
    assert 1 <= shown.width <= 168 and 1 <= shown.height <= 100
    assert shown.width == 168 or shown.height == 100
