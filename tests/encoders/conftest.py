"""Tiny pretrained models and pictures for the encoder tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from hub_models import write_bert, write_clip


@pytest.fixture(scope="session")
def clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="session")
def bert_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Five pictures of the model's own size and three of other shapes."""
    import numpy as np

    rng = np.random.default_rng(0)
    shapes = [(16, 16)] * 5 + [(20, 33), (40, 17), (9, 12)]
    return [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
