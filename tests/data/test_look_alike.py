"""The likeness of thumbnails against numpy's correlation, and what is found of an object on plain ground."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.data.look_alike import SIDE, Looks

RNG = np.random.default_rng(0)
PHOTOS = RNG.integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)


def on_white(top: int, left: int, height: int, width: int, seed: int = 1) -> np.ndarray:
    """A rectangle of dark noise on white."""
    picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
    noise = np.random.default_rng(seed).integers(0, 200, (height, width, 3), np.uint8)
    picture[top : top + height, left : left + width] = noise
    return picture


def pearson(one: np.ndarray, other: np.ndarray) -> float:
    """The correlation of all colours, each channel about its own mean."""
    x, y = (picture.reshape(-1, 3) - picture.reshape(-1, 3).mean(0) for picture in (one, other))
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1])


def test_photos_are_compared_by_their_correlation() -> None:
    blend = (PHOTOS[0] // 2 + PHOTOS[1] // 2).astype(np.uint8)
    thumbs = np.concatenate([PHOTOS, blend[None]])
    first, second = (pair.ravel() for pair in np.meshgrid(np.arange(5), np.arange(5)))
    looks = Looks.of(thumbs)
    assert not looks.grounded.any()
    wanted = [pearson(thumbs[a], thumbs[b]) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(looks.likeness(first, second), wanted, atol=1e-4)


def test_paler_and_darker_copies_stay_alike() -> None:
    paler = (PHOTOS[0] * 0.5 + [20, 60, 100]).astype(np.uint8)
    looks = Looks.of(np.stack([PHOTOS[0], paler]))
    assert looks.likeness(np.array([0]), np.array([1]))[0] > 0.9995


def test_an_object_on_white_is_found_to_the_pixel() -> None:
    looks = Looks.of(on_white(8, 6, 12, 10)[None])
    things, inside = np.zeros((SIDE, SIDE), bool), np.zeros((SIDE, SIDE), bool)
    things[8:20, 6:16] = True
    inside[9:19, 7:15] = True
    assert looks.grounded.tolist() == [True]
    np.testing.assert_array_equal(looks.things[0].reshape(SIDE, SIDE), things)
    np.testing.assert_array_equal(looks.inside[0].reshape(SIDE, SIDE), inside)


@pytest.mark.parametrize(
    ("other", "alike"), [((8, 6, 12, 10, 1), True), ((8, 6, 12, 10, 2), False), ((18, 20, 12, 10, 1), False)]
)
def test_objects_on_white_need_one_outline_and_one_content(other: tuple[int, ...], alike: bool) -> None:
    looks = Looks.of(np.stack([on_white(8, 6, 12, 10), on_white(*other)]))
    found = float(looks.likeness(np.array([0]), np.array([1]))[0])
    assert (found == pytest.approx(1, abs=1e-4)) if alike else found < 0.3
    assert (found == 0) == (other[:2] != (8, 6))


def test_no_pictures_have_no_looks() -> None:
    looks = Looks.of(np.empty((0, SIDE, SIDE, 3), np.uint8))
    assert looks.things.shape == (0, SIDE**2) and len(looks.likeness(np.arange(0), np.arange(0))) == 0
