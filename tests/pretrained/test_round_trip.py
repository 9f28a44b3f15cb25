"""A model that limbeck exports in another library's layout is read again and gives the same embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import limbeck as package
from hub_models import write_clip
from pretrained_models import TEXTS


@pytest.mark.parametrize("layout", ["immich", "transformers.js"])
def test_an_exported_layout_is_read_again(
    layout: str, tmp_path: Path, pictures: list[Image.Image], limbeck: Callable[..., tuple[int, str, str]]
) -> None:
    clip, out = write_clip(tmp_path / "clip"), tmp_path / "out"
    status, _, err = limbeck("export", clip, "--out", out, "--layout", layout)
    assert status == 0, err
    own, again = package.load(clip), package.load(out)
    np.testing.assert_allclose(again.encode_text(TEXTS), own.encode_text(TEXTS), atol=1e-5)
    squares = pictures[:2]  # other shapes are cropped as each layout's library does
    np.testing.assert_allclose(again.encode_image(squares), own.encode_image(squares), atol=1e-5)
