"""Impossible sizes in a saved model are refused by their names, before anything is allocated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limbeck.encoders.config import ClipImageConfig, ClipTextConfig, SentenceConfig
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.sizes import check_size
from limbeck.encoders.text import ClipTextBackbone, SentenceBackbone
from limbeck.errors import LimbeckError
from limbeck.files import write_json

HUGE = 10**9
TEXT = [
    ({"vocab_size": HUGE}, "vocab_size is 1,000,000,000, above the limit of 16,777,216"),
    ({"hidden_size": HUGE}, "hidden_size is 1,000,000,000, above the limit of 1,048,576"),
    ({"intermediate_size": HUGE}, "intermediate_size is 1,000,000,000, above the limit of 1,048,576"),
    (
        {"max_position_embeddings": HUGE},
        "max_position_embeddings is 1,000,000,000, above the limit of 1,048,576",
    ),
    ({"num_hidden_layers": HUGE}, "num_hidden_layers is 1,000,000,000, above the limit of 1,000"),
    (
        {"vocab_size": 10**7, "hidden_size": 10**5},
        "vocab_size × hidden_size is 1,000,000,000,000, above the limit of 4,294,967,296",
    ),
]
IMAGE = [
    *TEXT[1:3],
    ({"projection_dim": HUGE}, "projection_dim is 1,000,000,000, above the limit of 1,048,576"),
    ({"image_size": HUGE}, "image_size is 1,000,000,000, above the limit of 1,048,576"),
    (
        {"image_size": 65_536, "patch_size": 1},
        "the number of patches is 4,294,967,296, above the limit of 1,048,576",
    ),
    ({"patch_size": 100_000}, "the size of a patch × hidden_size is 23,040,000,000,000, above the limit of"),
    ({"num_channels": HUGE}, "num_channels is 1,000,000,000, above the limit of 1,048,576"),
]


def check(backbone: Any, file: Path, stored: Any, said: str) -> None:
    write_json(file, stored)
    with pytest.raises(LimbeckError) as caught:
        backbone.load_assets(file.parent)
    assert str(caught.value).startswith(f"{file}: {said}")


@pytest.mark.parametrize(("change", "said"), IMAGE)
def test_image_towers(tmp_path: Path, change: dict[str, int], said: str) -> None:
    shape = {"hidden_size": 768, "image_size": 224, "patch_size": 32, "num_channels": 3} | change
    backbone = ClipImageBackbone(ClipImageConfig(source="gone"), empty=True)
    check(backbone, tmp_path / "image.json", {"config": shape, "mean": [0] * 3, "std": [1] * 3}, said)


@pytest.mark.parametrize(("change", "said"), TEXT)
def test_text_towers(tmp_path: Path, change: dict[str, int], said: str) -> None:
    backbone = ClipTextBackbone(ClipTextConfig(source="gone"), empty=True)
    check(backbone, tmp_path / "text.json", change, said)


@pytest.mark.parametrize(("change", "said"), TEXT)
def test_sentence_towers(tmp_path: Path, change: dict[str, int], said: str) -> None:
    backbone = SentenceBackbone(SentenceConfig(source="gone"), empty=True)
    check(backbone, tmp_path / "text.json", {"model_type": "bert"} | change, said)


def test_sizes_of_large_networks_pass() -> None:
    giant = {"vocab_size": 256_000, "hidden_size": 8_192, "intermediate_size": 65_536, "rope_theta": 10**9}
    vision = {"hidden_size": 6_144, "image_size": 1_024, "patch_size": 14, "num_hidden_layers": 64}
    check_size(Path("x"), {"text": giant | {"eos_token_id": 255_999}, "parts": [vision]})
