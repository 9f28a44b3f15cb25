"""Crops that stay in place, jitter of the colours, and the random numbers that older recipes rely on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from pydantic import ValidationError

from limbeck.encoders.config import AugmentConfig
from limbeck.encoders.identity import identity
from limbeck.encoders.transforms import random_crop
from limbeck.pictures import resize_center


@pytest.fixture
def picture() -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (30, 44, 3), dtype=np.uint8))


def crop(picture: Image.Image, seed: int, **augment: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    return np.asarray(random_crop(picture, 16, AugmentConfig(**augment), generator))


def test_a_crop_that_keeps_places_is_the_evaluation_transform(picture: Image.Image) -> None:
    whole = AugmentConfig(crop=[1.0, 1.0])
    assert whole.keeps_place
    assert not AugmentConfig(crop=[1.0, 1.0], flip=True).keeps_place
    assert not AugmentConfig(crop=[0.9, 1.0]).keeps_place
    for seed in range(5):
        np.testing.assert_array_equal(
            crop(picture, seed, crop=[1.0, 1.0]), np.asarray(resize_center(picture, 16))
        )


def test_jitter_leaves_the_crop_as_it_was(picture: Image.Image) -> None:
    # Pinned: crops of recipes that were trained before jitter was there.
    box = crop(picture, 3, crop=[0.2, 0.9], flip=True)
    assert box.shape == (16, 16, 3)
    pinned = [[212, 160, 219], [159, 98, 183], [78, 202, 212]]
    assert np.abs(box[[0, 7, 15], [0, 7, 15]].astype(int) - pinned).max() <= 1
    # A jitter that rounds to nothing shows the same crop.
    np.testing.assert_array_equal(crop(picture, 3, crop=[0.2, 0.9], flip=True, jitter=1e-9), box)


def test_jitter_is_brightness_contrast_saturation_within_its_bounds(picture: Image.Image) -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        torch.rand(5, generator=generator)
        factors = 1 + 0.4 * (2 * torch.rand(3, generator=generator) - 1)
        assert 0.6 <= factors.min() <= factors.max() <= 1.4
        wanted = resize_center(picture, 16)
        for enhance, factor in zip(
            (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color),
            factors.tolist(),
            strict=True,
        ):
            wanted = enhance(wanted).enhance(factor)
        found = crop(picture, seed, crop=[1.0, 1.0], jitter=0.4).astype(int)
        assert np.abs(found - np.asarray(wanted)).max() <= 1


def test_jitter_varies_and_repeats(picture: Image.Image) -> None:
    seen = [crop(picture, seed, crop=[1.0, 1.0], jitter=0.4) for seed in range(10)]
    assert len({s.tobytes() for s in seen}) == 10
    np.testing.assert_array_equal(crop(picture, 4, crop=[1.0, 1.0], jitter=0.4), seen[4])


@pytest.mark.parametrize("jitter", [-0.1, 1.0])
def test_bad_jitter_is_refused(jitter: float) -> None:
    with pytest.raises(ValidationError, match="jitter"):
        AugmentConfig(jitter=jitter)


def test_no_jitter_is_hashed_as_before_there_was_one() -> None:
    """The space id of a saved model hashes its configuration: it must not change."""
    assert identity(AugmentConfig().model_dump(mode="json")) == {"crop": [0.6, 1.0], "flip": False}
    for jitter in (0.0, 0.3):
        augment = AugmentConfig(jitter=jitter)
        assert AugmentConfig.model_validate(augment.model_dump(mode="json")) == augment
