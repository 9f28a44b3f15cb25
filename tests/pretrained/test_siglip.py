"""SigLIP of `transformers`: equal embeddings, through codes and an index."""

from __future__ import annotations

from pathlib import Path

import numpy as np
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
    from transformers import AutoTokenizer, SiglipImageProcessorPil, SiglipModel

    oracle = SiglipModel.from_pretrained(siglip).eval()
    processor = SiglipImageProcessorPil(**read_json(siglip / "preprocessor_config.json"))
    tokenizer = AutoTokenizer.from_pretrained(siglip)
    ids = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=12, return_tensors="pt")
    with torch.no_grad():
        pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
        image = oracle.get_image_features(pixel_values=pixels).pooler_output
        text = oracle.get_text_features(input_ids=ids["input_ids"]).pooler_output
        logits = oracle(input_ids=ids["input_ids"], pixel_values=pixels).logits_per_image
    encoder = limbeck.load(siglip)
    ours = encoder.encode_image(pictures), encoder.encode_text(TEXTS)
    for found, wanted in zip(ours, (image, text), strict=True):
        unit = torch.nn.functional.normalize(wanted, dim=-1).numpy()
        np.testing.assert_allclose(found, unit, atol=1e-6)
    scaled = encoder.lift.logits(*map(torch.from_numpy, ours))
    torch.testing.assert_close(scaled - 3.0, logits, atol=1e-4, rtol=1e-4)  # the bias is left out


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
