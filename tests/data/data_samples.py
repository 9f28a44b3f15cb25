"""Small pictures and columns that several tests of the data package share."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture of smooth random blobs: unlike every other seed's, also when made small."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return coarse.resize(size, Image.Resampling.BICUBIC)


def columns(n: int = 6) -> dict[str, list[Any]]:
    """Columns of a small table with all that a row can have."""
    return {
        "id": [f"p{i}" for i in range(n)],
        "image": [f"p{i}.png" for i in range(n)],
        "feature_row": list(range(n))[::-1],
        "captions": [[f"caption {i}", f"more of {i}"] for i in range(n)],
        "tags": [["tag", f"t{i}"] for i in range(n)],
        "labels": [["sky"] if i % 2 else ["sky", "tree"] for i in range(n)],
        "split": ["query" if i < 2 else "train" for i in range(n)],
    }
