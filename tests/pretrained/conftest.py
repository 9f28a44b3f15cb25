"""Pictures for the tests of pretrained models."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Pictures of the tiny models' own size and of other shapes."""
    rng = np.random.default_rng(0)
    shapes = [(16, 16), (16, 16), (20, 33), (41, 17), (9, 12), (64, 50)]
    return [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
