"""SigLIP of `transformers`: equal embeddings, through codes and an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracles
import pytest
import torch
from PIL import Image

import limbeck
from limbeck.encoders.config import ClipImageConfig
from limbeck.encoders.image import ClipImageBackbone
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from pretrained_models import TEXTS, write_siglip


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_siglip(tmp_path_factory.mktemp("siglip"))


def test_the_embeddings_are_those_of_transformers(siglip: Path, pictures: list[Image.Image]) -> None:
    encoder = limbeck.load(siglip)
    ours = encoder.encode_image(pictures), encoder.encode_text(TEXTS)
    wanted = oracles.transformers(siglip, pictures)
    for found, own in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(found, own, atol=1e-6)
    logits = encoder.lift.logits(*map(torch.from_numpy, ours))
    np.testing.assert_allclose(logits, np.exp(2.5) * wanted[0] @ wanted[1].T, atol=1e-4)


def test_a_saved_copy_gives_the_same(siglip: Path, pictures: list[Image.Image], tmp_path: Path) -> None:
    encoder = limbeck.load(siglip)
    for name, bundle in (("whole", True), ("by reference", False)):
        encoder.save(tmp_path / name, bundle=bundle)
        again = limbeck.load(tmp_path / name)
        assert again.space_id == encoder.space_id
        np.testing.assert_array_equal(again.encode_text(TEXTS), encoder.encode_text(TEXTS))
        np.testing.assert_array_equal(again.encode_image(pictures), encoder.encode_image(pictures))
    small = (tmp_path / "by reference/model.safetensors").stat().st_size
    assert small < (tmp_path / "whole/model.safetensors").stat().st_size / 4


def test_patches_and_attention(siglip: Path, pictures: list[Image.Image]) -> None:
    tower = ClipImageBackbone(ClipImageConfig(source=str(siglip))).eval()
    inputs = tower.collate(pictures[:3])
    tokens, attention = tower.attended(inputs)
    assert (tokens.shape, attention.shape, tower.patches) == ((3, 5, 16), (3, 4), 4)
    torch.testing.assert_close(tokens[:, 0], tower(inputs))
    torch.testing.assert_close(attention.sum(1), torch.ones(3))
    every = torch.arange(4).expand(3, 4)
    torch.testing.assert_close(tower(inputs | {"keep": every}), tower(inputs), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(tower(inputs | {"keep": every[:, :2]}), tower(inputs), atol=1e-3)


def test_siglip_2_lowers_texts(tmp_path: Path) -> None:
    cased = limbeck.load(write_siglip(tmp_path / "cased"))
    lowered = limbeck.load(write_siglip(tmp_path / "two", tokenizer_class="GemmaTokenizer"))
    upper, lower = cased.encode_text(["A CAT", "a cat"])
    assert not np.allclose(upper, lower, atol=1e-3)
    np.testing.assert_array_equal(*lowered.encode_text(["A CAT", "a cat"]))
    np.testing.assert_allclose(lowered.encode_text(["a cat"])[0], lower, atol=1e-6)


def test_other_variants_are_refused(tmp_path: Path) -> None:
    folder = write_siglip(tmp_path / "naflex")
    write_json(folder / "config.json", read_json(folder / "config.json") | {"model_type": "siglip2"})
    with pytest.raises(LimbeckError, match=r"variable resolution \(NaFlex\), which is not read"):
        limbeck.load(folder)
    whole = write_siglip(tmp_path / "whole")
    with pytest.raises(LimbeckError, match="end in the embedding; remove projection: false"):
        ClipImageBackbone(ClipImageConfig(source=str(whole), projection=False))
