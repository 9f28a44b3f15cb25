"""Exports as immich, transformers.js and transformers read them, each against the model in torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

import limbeck
from hub_models import write_clip
from limbeck.encoders.config import ClipImageConfig, ClipTextConfig, RunConfig, TokenizerConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import HashConfig, PolarConfig, SphereConfig
from limbeck.encoders.lifts import SphereLift, build_lift
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.encoders.transformers_clip import save_clip_model
from limbeck.errors import LimbeckError
from limbeck.evaluation.onnx_parity import Items, export_and_compare
from limbeck.onnx.layouts import LAYOUTS, ClipLike
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.resize import Resize
from pretrained_models import TEXTS, write_open_clip_siglip, write_siglip
from tiny_encoder import pixel_encoder

Run = Callable[..., tuple[int, str, str]]
OWN = ["a red cat", "a dog and a very long tail", "two red dogs of the cat"]


def own(lift: SphereConfig | HashConfig | PolarConfig, **trunk: object) -> DualEncoder:
    """Small towers of our own, with a tokenizer that pads by a token of its own."""
    torch.manual_seed(3)
    image = ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2)
    text = ClipTextConfig(width=24, layers=2, heads=2, context=10, tokenizer=TokenizerConfig(kind="word"))
    towers = {
        "image": Tower(TowerConfig.model_validate({"backbone": image, **trunk}), "image"),
        "text": Tower(TowerConfig(backbone=text), "text"),
    }
    for modality, items in (("image", []), ("text", OWN)):
        towers[modality].fit(items, seed=0)
    dims = {modality: tower.dim for modality, tower in towers.items()}
    return DualEncoder(towers["image"], towers["text"], build_lift(lift, dims)).eval().requires_grad_(False)


def squares() -> list[Image.Image]:
    """Pictures of the size of every tower here, which no preprocessing changes."""
    rng = np.random.default_rng(5)
    return [Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)) for _ in range(3)]


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((unit(a) * unit(b)).sum(1))


MODELS: dict[str, Callable[[Path], DualEncoder]] = {
    "clip": lambda folder: limbeck.load(write_clip(folder)),
    "siglip": lambda folder: limbeck.load(write_siglip(folder)),
    "open_clip": lambda folder: limbeck.load(write_open_clip_siglip(folder)),
    "own": lambda folder: own(SphereConfig(dim=8)),
    "codes": lambda folder: own(HashConfig(bits=16)),
}


@pytest.mark.parametrize("layout", ["immich", "transformers.js"])
@pytest.mark.parametrize("name", MODELS)
def test_a_layout_reads_back_as_the_model(tmp_path: Path, layout: str, name: str) -> None:
    model = MODELS[name](tmp_path / "source")
    export_and_compare(model, tmp_path / "out", ["fp32"], Items.built_in(model), LAYOUTS[layout])
    again = limbeck.load(tmp_path / "out")
    for texts in (TEXTS, OWN):
        wanted = model.encode_text(texts, output="embeddings")
        np.testing.assert_allclose(again.encode_text(texts), unit(wanted), atol=3e-6)
    wanted = model.encode_image(squares(), output="embeddings")
    np.testing.assert_allclose(again.encode_image(squares()), unit(wanted), atol=3e-6)


def test_graphs_take_what_the_programs_give(tmp_path: Path) -> None:
    """The names and types of the two programs, fed by hand, with tokens padded as each pads them."""
    from transformers import AutoTokenizer

    model = own(HashConfig(bits=16))
    wanted = model.encode_text(OWN, output="embeddings")
    preprocess = model.towers["image"].backbone.preprocessor
    assert isinstance(preprocess, PixelPreprocessor)
    pixels = preprocess(squares())["pixels"]
    pictures = model.encode_image(squares(), output="embeddings")
    for name, layout in LAYOUTS.items():
        folder = tmp_path / name
        export_and_compare(model, folder, ["fp32"], Items.built_in(model), layout)
        text, image = (
            onnxruntime.InferenceSession(str(folder / layout.graphs[one])) for one in ("text", "image")
        )
        place = folder / ("textual" if name == "immich" else "")
        told = AutoTokenizer.from_pretrained(place)(OWN, padding="max_length", truncation=True)
        ids = np.array(told["input_ids"])
        assert ids.shape == (3, 10)
        if name == "immich":
            feeds, into = {"text": ids.astype(np.int32)}, "image"
        else:
            feeds = {"input_ids": ids, "attention_mask": np.array(told["attention_mask"])}
            into = "pixel_values"
        outputs = [one.name for one in (*text.get_outputs(), *image.get_outputs())]
        assert outputs == (["embedding"] * 2 if name == "immich" else ["text_embeds", "image_embeds"])
        np.testing.assert_allclose(text.run(None, feeds)[0], wanted, atol=1e-5)
        np.testing.assert_allclose(image.run(None, {into: pixels})[0], pictures, atol=1e-5)
        np.testing.assert_allclose(image.run(None, {into: pixels[:1]})[0], pictures[:1], atol=1e-5)


def test_other_precisions_lie_beside_with_the_names_of_transformers_js(limbeck: Run, tmp_path: Path) -> None:
    own(SphereConfig(dim=8)).save(tmp_path / "m")
    words = (
        "--layout",
        "transformers.js",
        "--precision",
        "fp32",
        "--precision",
        "fp16",
        "--precision",
        "int8",
    )
    code, out, err = limbeck("export", tmp_path / "m", "--onnx", tmp_path / "x", *words)
    assert code == 0, err
    assert "int8" in out
    graphs = {"model", "model_fp16", "model_quantized"}
    names = {p.relative_to(tmp_path / "x").as_posix() for p in (tmp_path / "x").rglob("*.*")}
    assert names == {
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        *(f"onnx/{side}_{graph}.onnx" for side in ("text", "vision") for graph in graphs),
    }


def clip_model_embeddings(folder: Path, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings by `transformers` alone: its tokenizer, its picture processor, its model."""
    from transformers import AutoTokenizer, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    clip = CLIPModel.from_pretrained(folder).eval()
    told = AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, truncation=True, max_length=clip.config.text_config.max_position_embeddings,
        return_tensors="pt",
    )  # fmt: skip
    processor: Any = CLIPImageProcessorPil.from_pretrained(folder)
    pixels = processor(squares(), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        found = clip(input_ids=told["input_ids"], attention_mask=told["attention_mask"], pixel_values=pixels)
    return found.text_embeds.numpy(), found.image_embeds.numpy()


@pytest.mark.parametrize("name", ["clip", "own"])
def test_a_clip_model_of_transformers_gives_the_embeddings(tmp_path: Path, name: str) -> None:
    model = MODELS[name](tmp_path / "source")
    save_clip_model(model, tmp_path / "out")
    texts = [TEXTS[0], TEXTS[1], TEXTS[3]]
    text, image = clip_model_embeddings(tmp_path / "out", texts)
    assert cosines(text, model.encode_text(texts)).min() >= 0.99999
    assert cosines(image, model.encode_image(squares())).min() >= 0.99999
    again = limbeck.load(tmp_path / "out")
    assert isinstance(again.lift, SphereLift) and isinstance(model.lift, SphereLift)
    assert float(again.lift.logit_scale) == pytest.approx(float(model.lift.logit_scale))
    np.testing.assert_allclose(again.encode_text(TEXTS), model.encode_text(TEXTS), atol=3e-6)
    assert "/" not in (tmp_path / "out/config.json").read_text()  # no machine path


def test_heads_on_a_fine_tuned_clip_become_one_projection(tmp_path: Path) -> None:
    """Towers on the unit vectors of a CLIP with its projection, and another sphere of fewer dimensions."""
    clip = limbeck.load(write_clip(tmp_path / "clip"))
    with torch.no_grad():
        for parameter in clip.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    towers = {}
    for modality in ("image", "text"):
        towers[modality] = Tower(TowerConfig(backbone=RunConfig(path="clip")), modality)
        assert isinstance(towers[modality].backbone, RunBackbone)
        towers[modality].backbone.load_from(clip)
    lift = build_lift(SphereConfig(dim=6), {"image": 10, "text": 10})
    model = DualEncoder(towers["image"], towers["text"], lift).eval()
    save_clip_model(model, tmp_path / "out")
    text, image = clip_model_embeddings(tmp_path / "out", TEXTS[:2])
    assert text.shape[1] == 6
    assert cosines(text, model.encode_text(TEXTS[:2])).min() >= 0.99999
    assert cosines(image, model.encode_image(squares())).min() >= 0.99999


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: own(PolarConfig(dim=8)), "a lift of kind polar, only the sphere"),
        (lambda: own(HashConfig(bits=16)), "a lift of kind hash, only the sphere"),
        (lambda: own(SphereConfig(dim=8), hidden=[12]), r"layers between tower and head \(image: hidden"),
        (pixel_encoder, "the text tower 'bag'"),
    ],
)
def test_what_transformers_has_no_class_for(
    tmp_path: Path, model: Callable[[], DualEncoder], said: str
) -> None:
    with pytest.raises(LimbeckError, match=f"--layout transformers: it has no class for {said}"):
        save_clip_model(model(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_siglip_is_no_clip_model(tmp_path: Path) -> None:
    model = limbeck.load(write_siglip(tmp_path / "siglip"))
    with pytest.raises(LimbeckError, match="the image tower of type siglip_vision_model"):
        save_clip_model(model, tmp_path / "out")


@pytest.mark.parametrize(
    ("model", "words", "said"),
    [
        (pixel_encoder, ("--layout", "transformers.js"), "token ids, but this one reads counts of words"),
        (
            lambda: own(PolarConfig(dim=8)),
            ("--layout", "immich"),
            "by cosine, but this model's space is lorentz",
        ),
        (
            pixel_encoder,
            ("--layout", "coreml"),
            "choose one of limbeck, immich, transformers.js, transformers",
        ),
        (
            lambda: own(SphereConfig(dim=8)),
            ("--layout", "immich", "--precision", "fp32", "--precision", "int8"),
            "one graph per tower",
        ),
        (
            lambda: own(SphereConfig(dim=8)),
            ("--layout", "transformers", "--precision", "int8"),
            "leave out --precision",
        ),
    ],
)
def test_bad_layouts_are_one_line(
    limbeck: Run, tmp_path: Path, model: Callable[[], DualEncoder], words: tuple[str, ...], said: str
) -> None:
    model().save(tmp_path / "m")
    code, _, err = limbeck("export", tmp_path / "m", "--onnx", tmp_path / "x", *words)
    assert code == 1 and said in err and err.count("\n") == 1 and not (tmp_path / "x").exists()


def test_the_command_writes_a_clip_model(limbeck: Run, tmp_path: Path) -> None:
    own(SphereConfig(dim=8)).save(tmp_path / "m")
    words = ("--out", tmp_path / "x", "--layout", "transformers")
    code, out, err = limbeck("export", tmp_path / "m", *words)
    assert code == 0 and "CLIPModel of transformers" in out, err
    assert (tmp_path / "x/model.safetensors").is_file()
    code, _, err = limbeck("export", tmp_path / "m", *words)
    assert code == 1 and str(tmp_path / "x") in err


def test_a_preprocessing_that_a_layout_cannot_express_is_refused(tmp_path: Path) -> None:
    model = own(SphereConfig(dim=8))
    text = model.towers["text"].backbone.preprocessor
    for resize, layout, said in (
        (Resize(16, None, fill=0), "transformers.js", "cannot pad a picture"),
        (Resize(16, 20), "immich", "resizes the short side"),
    ):
        image = PixelPreprocessor(16, (0.5,) * 3, (0.5,) * 3, resize)
        clip_like = ClipLike.of({"text": text, "image": image}, model.space, 8, layout)
        with pytest.raises(LimbeckError, match=said):
            LAYOUTS[layout].write_files(clip_like, tmp_path)
