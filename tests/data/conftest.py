"""The real data, and a small pairs directory, for the tests of the data package."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from data_samples import columns, picture

from limbeck.data.pairs import Pairs

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def shared_data() -> Path:
    """The real data beside the repository; tests that need it are skipped without."""
    place = Path(os.environ.get("LIMBECK_SHARED", REPO.parent / "shared")) / "data"
    if not (place / "mirflickr_96.zip").is_file():
        pytest.skip(f"real data not found at {place} (set LIMBECK_SHARED)")
    return place


@pytest.fixture
def pairs_dir(tmp_path: Path) -> Path:
    """Six pictures with captions, tags, labels, splits, and uint8 features ``f`` of scale 0.5."""
    media = tmp_path / "media"
    media.mkdir()
    for i in range(6):
        picture(i).save(media / f"p{i}.png")
    np.save(tmp_path / "f.npy", np.arange(12, dtype=np.uint8).reshape(6, 2) + 200)
    meta = {
        "name": "small",
        "label_names": ["tree", "sky"],
        "media": {"kind": "folder", "root": str(media)},
        "features": {"f": {"file": str(tmp_path / "f.npy"), "scale": 0.5}},
    }
    Pairs.write(tmp_path / "pairs", columns(), meta)
    return tmp_path / "pairs"
