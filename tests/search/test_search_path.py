"""How many files of limbeck a question passes on its way to the hits.

The counting rule: the files of which a Python function runs in ``Index.search("text")`` of an opened index,
from the call to the returned hits, after a first search has loaded the encoder.
A compiled kernel does not count.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

import limbeck
from limbeck.index import query
from limbeck.index.scan_codes import scan_nearest

ROOT = Path(limbeck.__file__).parent
KERNELS = {Path(scan_nearest.py_func.__code__.co_filename)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[limbeck.Index]:
    """Sixteen items with a bag of words as query encoder, of 64 bits."""
    import torch

    from limbeck.encoders.config import BagConfig, FeaturesConfig, TowerConfig
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoders.lift_config import HashConfig
    from limbeck.encoders.lifts import build_lift
    from limbeck.encoders.towers import Tower

    torch.manual_seed(0)
    features = np.random.default_rng(0).standard_normal((16, 6)).astype(np.float32)
    texts = ["a red field", "a green field"] * 8
    towers = {
        "image": Tower(TowerConfig(backbone=FeaturesConfig(name="mobile")), "image"),
        "text": Tower(TowerConfig(backbone=BagConfig()), "text"),
    }
    towers["image"].fit(features, seed=0)
    towers["text"].fit(texts, seed=0)
    lift = build_lift(HashConfig(bits=64), {side: tower.dim for side, tower in towers.items()})
    encoder = DualEncoder(towers["image"], towers["text"], lift).eval()
    items = {"id": [f"i{n}" for n in range(16)], "captions": [[text] for text in texts]}
    folder = tmp_path_factory.mktemp("path") / "ix"
    limbeck.Index.build(folder, encoder.encode_image(features), model=encoder, items=items)
    yield limbeck.Index.open(folder)


def passed(index: limbeck.Index) -> set[str]:
    """The files that a search passes."""
    files: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        file = Path(frame.f_code.co_filename)
        if event == "call" and ROOT in file.parents and file not in KERNELS:
            files.add(file.relative_to(ROOT).as_posix())

    index.search("red")
    sys.setprofile(note)
    try:
        hits = index.search("red")
    finally:
        sys.setprofile(None)
    assert len(hits) == 10
    return files


def test_a_text_passes_at_most_fifteen_files(index: limbeck.Index, monkeypatch: pytest.MonkeyPatch) -> None:
    small = passed(index)
    assert "search/index.py" in small and "index/segments.py" in small
    assert len(small) <= 14, sorted(small)
    monkeypatch.setattr(query, "SMALL_ROWS", 0)  # as in an index of more codes
    large = passed(index)
    assert "index/exact.py" in large and len(large) <= 15, sorted(large)
