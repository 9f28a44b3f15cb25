"""CLIP towers: built by size, read from a directory, and a whole CLIP equal to that of `transformers`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck
from hub_models import MEAN, STD
from limbeck.encoders.config import AugmentConfig, ClipImageConfig, ClipTextConfig, TokenizerConfig
from limbeck.encoders.image import ClipImageBackbone
from limbeck.encoders.load import load_pretrained
from limbeck.encoders.text import ClipTextBackbone
from limbeck.encoders.tokenizer import train_tokenizer
from limbeck.encoders.transforms import random_crop
from limbeck.errors import LimbeckError
from limbeck.pictures import resize_center
from limbeck.preprocess.text import knows
from raising import raises_code

TEXTS = ["a red cat", "dog", "a dog, a cat and a red dog with a very long tail indeed", "cat"]


def tensor_of(output: Any) -> torch.Tensor:
    """`get_image_features` gives a tensor, or (transformers 5) an output that holds it."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


@pytest.mark.parametrize("projection", [False, True])
def test_towers_by_size(pictures: list[Image.Image], projection: bool) -> None:
    sizes: dict[str, Any] = {"width": 16, "layers": 1, "heads": 2, "projection": projection}
    image = ClipImageBackbone(ClipImageConfig(image_size=16, patch_size=8, **sizes)).eval()
    pixels = image.collate(pictures)["pixels"]
    assert pixels.shape == (8, 3, 16, 16)
    assert image({"pixels": pixels}).shape == (8, image.dim) == (8, 16)
    text = ClipTextBackbone(ClipTextConfig(context=8, **sizes))
    assert text.dim == 16
    text.fit(TEXTS, seed=0)
    text.eval()
    inputs = text.collate(TEXTS)
    assert inputs["input_ids"].shape == (4, 8)
    assert (inputs["input_ids"][2, -1], inputs["attention_mask"][3].sum()) == (text.end, 3)
    whole = text(inputs)
    alone = torch.cat([text(text.collate([t])) for t in TEXTS])
    torch.testing.assert_close(whole, alone, atol=1e-5, rtol=1e-5)  # padding changes nothing
    assert not text.pristine
    assert not text.frozen


def test_texts_of_many_widths_are_as_each_alone() -> None:
    texts = ["dog", " ".join(["a red cat"] * 20), "a dog, a cat", " ".join(["cat"] * 20), "a red dog"]
    tower = ClipTextBackbone(ClipTextConfig(context=64, width=16, layers=2, heads=2))
    tower.fit(texts, seed=0)
    inputs = tower.collate(texts)
    assert sorted(set((-(-inputs["attention_mask"].sum(1) // 16)).tolist())) == [1, 2, 4]

    def backward(features: torch.Tensor) -> list[torch.Tensor]:
        tower.zero_grad()
        (features * torch.linspace(-1, 1, 16)).square().sum().backward()
        return [p.grad.clone() for p in tower.parameters() if p.grad is not None]

    split, alone = tower(inputs), torch.cat([tower(tower.collate([text])) for text in texts])
    torch.testing.assert_close(split, alone, atol=1e-5, rtol=1e-5)
    for one, other in zip(backward(split), backward(alone), strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_trained_tokenizers_depend_on_the_texts_alone(kind: Any) -> None:
    config = TokenizerConfig(kind=kind, vocabulary_size=40)
    one, other = train_tokenizer(TEXTS, config), train_tokenizer(TEXTS[::-1], config)
    assert one.get_vocab() == other.get_vocab()
    assert one.encode("A Red CAT").ids == one.encode("a red cat").ids
    assert one.encode("cafe\u0301").ids == one.encode("caf\u00e9").ids
    assert one.encode("cat").tokens[0] == "[SOS]"
    assert one.encode("cat").tokens[-1] == "[EOS]"
    assert knows(one, "unknown cat")
    assert not knows(one, "ЖЖ")


def test_text_query_without_a_known_word() -> None:
    text = ClipTextBackbone(ClipTextConfig(width=16, layers=1, heads=2))
    text.fit(TEXTS, seed=0)
    text.check_query("zebra cat")
    with raises_code("E-QUERY-WORDS", "'zebra'"):
        text.check_query("zebra")


def test_a_clip_directory_gives_the_embeddings_of_transformers(
    clip_dir: Path, pictures: list[Image.Image]
) -> None:
    from transformers import AutoTokenizer, CLIPModel

    oracle = CLIPModel.from_pretrained(clip_dir).eval()
    encoder = limbeck.load(clip_dir)
    assert (encoder.image_input, encoder.space.to_json()) == ("pixels", {"name": "sphere", "dim": 10})
    square = pictures[:5]
    raw = np.stack([(np.asarray(p, np.float32) / 255 - MEAN) / STD for p in square]).transpose(0, 3, 1, 2)
    tokenizer = AutoTokenizer.from_pretrained(clip_dir)
    tokens = tokenizer(TEXTS, padding=True, truncation=True, max_length=12, return_tensors="pt")
    with torch.no_grad():
        image = tensor_of(oracle.get_image_features(pixel_values=torch.from_numpy(raw).float()))
        text = tensor_of(oracle.get_text_features(**tokens))
        logits = oracle(**tokens, pixel_values=torch.from_numpy(raw).float()).logits_per_image
    expected = {"image": image, "text": text}
    for name, found in (("image", encoder.encode_image(square)), ("text", encoder.encode_text(TEXTS))):
        wanted = torch.nn.functional.normalize(expected[name], dim=-1).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-5, err_msg=name)
    points = [torch.from_numpy(encoder.encode_image(square)), torch.from_numpy(encoder.encode_text(TEXTS))]
    torch.testing.assert_close(encoder.lift.logits(*points), logits, atol=1e-4, rtol=1e-4)
    assert not any(p.requires_grad for p in encoder.parameters())


def test_projected_towers_are_those_of_transformers(clip_dir: Path, pictures: list[Image.Image]) -> None:
    from transformers import CLIPModel

    oracle = CLIPModel.from_pretrained(clip_dir).eval()
    image = ClipImageBackbone(ClipImageConfig(source=str(clip_dir), projection=True)).eval()
    text = ClipTextBackbone(ClipTextConfig(source=str(clip_dir), projection=True)).eval()
    assert (image.dim, text.dim, text.context) == (10, 10, 12)
    assert image.pristine
    assert text.pristine
    inputs, tokens = image.collate(pictures[:2]), text.collate(TEXTS)
    with torch.no_grad():
        wanted = tensor_of(oracle.get_image_features(pixel_values=inputs["pixels"]))
        torch.testing.assert_close(image(inputs), wanted, atol=1e-5, rtol=1e-5)
        wanted = tensor_of(oracle.get_text_features(**tokens))
        torch.testing.assert_close(text(tokens), wanted, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_loaded_is_one_line(tmp_path: Path, clip_dir: Path) -> None:
    def refused(source: str | Path) -> str:
        with pytest.raises(LimbeckError) as found:
            limbeck.load(source)
        assert "\n" not in str(found.value)
        return str(found.value)

    assert "nobody/nothing: cannot be loaded" in refused("nobody/nothing")
    assert "contains no model" in refused(tmp_path)
    pickled = tmp_path / "pickled"
    shutil.copytree(clip_dir, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    assert "only pickled weights (.bin)" in refused(pickled)
    damaged = tmp_path / "damaged"
    shutil.copytree(clip_dir, damaged)
    file = damaged / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert "damaged: cannot be loaded" in refused(damaged)
    wordless = tmp_path / "wordless"
    shutil.copytree(clip_dir, wordless)
    for name in ("vocab.json", "merges.txt"):
        (wordless / name).unlink()
    assert "wordless: the directory is incomplete, it lacks its tokenizer" in refused(wordless)
    bad = tmp_path / "bad"
    shutil.copytree(clip_dir, bad)
    (bad / "preprocessor_config.json").write_text('{"image_mean": [1]}')
    assert "image_mean and image_std must hold three numbers" in refused(bad)


def test_other_models_and_packages_are_refused(bert_dir: Path) -> None:
    with pytest.raises(LimbeckError) as found:
        load_pretrained(str(bert_dir))
    assert "config.json is of a bert model, which is no dual encoder" in str(found.value)
    assert "\n" not in str(found.value)
    with raises_code("E-PACKAGE-MISSING", "package:"):
        ClipImageBackbone(ClipImageConfig(source="package:no-such-model"))


def test_pictures_are_cut_to_a_square(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        assert resize_center(picture, 16).size == (16, 16)
    assert resize_center(pictures[0], 16) is pictures[0]
    wide = Image.new("RGB", (90, 30), (255, 0, 0))
    wide.paste((0, 255, 0), (30, 0, 60, 30))
    assert resize_center(wide, 30).getcolors() == [(900, (0, 255, 0))]


def test_crops_stay_inside_and_follow_their_generator() -> None:
    picture = Image.fromarray(np.arange(30 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(30, 40, 3))
    augment = AugmentConfig(crop=[0.01, 1.0], flip=True)
    crops = [random_crop(picture, 8, augment, torch.Generator().manual_seed(s)) for s in range(40)]
    assert {c.size for c in crops} == {(8, 8)}
    assert len({c.tobytes() for c in crops}) > 30
    again = random_crop(picture, 8, augment, torch.Generator().manual_seed(3))
    assert again.tobytes() == crops[3].tobytes()
