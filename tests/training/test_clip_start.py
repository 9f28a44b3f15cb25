"""A tower from a CLIP directory starts at CLIP's own embeddings, its temperature and its preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck
from hub_models import write_clip
from limbeck.encoders.config import ClipImageConfig, ClipTextConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.files import read_json
from limbeck.training import train
from tiny import write_pairs, write_protocol

TEXTS = ["a red cat", "dog", "a dog, a cat and a red dog with a tail indeed", "cat"]
DIM = 10


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs with pictures, and a CLIP directory with a temperature of its own."""
    from transformers import CLIPModel

    folder = tmp_path_factory.mktemp("clip-start")
    write_pairs(folder, pictures=16)
    write_protocol(folder, "retrieval")
    write_clip(folder / "clip")
    clip = CLIPModel.from_pretrained(folder / "clip")
    with torch.no_grad():
        clip.logit_scale.fill_(3.5)
    clip.save_pretrained(folder / "clip")
    return folder


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shapes = [(16, 16), (20, 33), (40, 17), (61, 90)]
    return [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]


def recipe(place: Path, steps: int = 0, **changes: Any) -> dict[str, Any]:
    source = str(place / "clip")
    tree: dict[str, Any] = {
        "name": "tiny/clip",
        "data": {"pairs": str(place / "pairs"), "protocol": str(place / "retrieval.yaml")},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "lift": {"kind": "sphere", "dim": DIM},
        "towers": {
            "image": {"backbone": {"kind": "clip_image", "source": source}},
            "text": {"backbone": {"kind": "clip_text", "source": source}},
        },
        "optim": {"lr": 1e-9, "warmup": 0.0, "weight_decay": 0.0},
        "schedule": {"steps": steps, "batch_size": 16, "select": "last", "log_every": 1},
        "stages": {"tune": {"method": {"name": "clip"}}},
    }
    return tree | changes


def own(folder: Path, pictures: list[Image.Image]) -> dict[str, np.ndarray]:
    """What `transformers` itself says of the pictures and texts, its own processor and tokenizer included."""
    from transformers import AutoTokenizer, CLIPImageProcessorPil, CLIPModel

    clip = CLIPModel.from_pretrained(folder).eval()
    told = read_json(folder / "preprocessor_config.json")
    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    processor = CLIPImageProcessorPil(**(sizes | told))
    tokens = AutoTokenizer.from_pretrained(folder)(
        TEXTS, padding=True, truncation=True, max_length=12, return_tensors="pt"
    )
    with torch.no_grad():
        image = clip.get_image_features(**processor(images=pictures, return_tensors="pt"))
        text = clip.get_text_features(**tokens)
    found = {"image": image, "text": text}
    tensors = {m: o if isinstance(o, torch.Tensor) else o.pooler_output for m, o in found.items()}
    return {m: torch.nn.functional.normalize(o, dim=-1).numpy() for m, o in tensors.items()}


def cosines(model: DualEncoder, place: Path, pictures: list[Image.Image]) -> dict[str, float]:
    """The least cosine with CLIP's own embeddings, by modality."""
    wanted = own(place / "clip", pictures)
    found = {"image": model.encode_image(pictures), "text": model.encode_text(TEXTS)}
    return {m: float((found[m] * wanted[m]).sum(1).min()) for m in found}


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("steps", [0, 2])
def test_a_fine_tuned_clip_starts_as_clip(
    place: Path, tmp_path: Path, pictures: list[Image.Image], frozen: bool, steps: int
) -> None:
    tree = recipe(place, steps)
    for tower in tree["towers"].values():
        tower["freeze_backbone"] = frozen
    model = limbeck.load(train(tree, out=tmp_path / "run"))
    least = cosines(model, place, pictures)
    assert min(least.values()) >= 0.99999, least
    assert float(model.lift.logit_scale) == pytest.approx(np.exp(3.5), rel=1e-5)
    references = read_json(tmp_path / "run/model/model.json")["references"]
    assert len(references) == (2 if frozen else 0)


@pytest.mark.parametrize("lift", [{"kind": "tangent"}, {"kind": "polar"}, {"kind": "euclid"}])
def test_every_lift_with_a_direction_starts_at_clips(
    place: Path, tmp_path: Path, pictures: list[Image.Image], lift: dict[str, Any]
) -> None:
    model = limbeck.load(train(recipe(place, lift=lift | {"dim": DIM}), out=tmp_path / "run"))
    wanted = own(place / "clip", pictures)
    for modality, points in (
        ("image", model.encode_image(pictures, output="embeddings")),
        ("text", model.encode_text(TEXTS, output="embeddings")),
    ):
        direction = points / np.linalg.norm(points, axis=1, keepdims=True)
        np.testing.assert_allclose(direction, wanted[modality], atol=2e-4)


def test_one_side_from_clip_and_one_fresh(
    place: Path, tmp_path: Path, pictures: list[Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    tree = recipe(place)
    tree["towers"]["text"] = {"backbone": {"kind": "bag"}}
    model = limbeck.load(train(tree, out=tmp_path / "run"))
    found = (model.encode_image(pictures) * own(place / "clip", pictures)["image"]).sum(1)
    assert found.min() >= 0.99999
    assert float(model.lift.logit_scale) == pytest.approx(1 / 0.07)
    assert "towers.image starts from the embeddings of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("dim", "said"),
    [
        (32, f"by a random isometry from {DIM} to 32 dimensions, which keeps their cosines"),
        (
            6,
            f"by a random projection from {DIM} to 6 dimensions, which changes their cosines; lift.dim={DIM}",
        ),
    ],
)
def test_other_widths_start_with_one_orthonormal_map(
    place: Path,
    tmp_path: Path,
    pictures: list[Image.Image],
    capsys: pytest.CaptureFixture[str],
    dim: int,
    said: str,
) -> None:
    tree = recipe(place, lift={"kind": "sphere", "dim": dim})
    model = limbeck.load(train(tree, out=tmp_path / "run"))
    heads = [model.lift.matrix(m) for m in ("image", "text")]
    assert heads[0] is not None
    assert heads[1] is not None
    weight = heads[0].weight.detach()
    assert torch.equal(weight, heads[1].weight)
    gram = weight.T @ weight if dim > DIM else weight @ weight.T
    torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)
    if dim > DIM:
        wanted = own(place / "clip", pictures)
        image, text = model.encode_image(pictures), model.encode_text(TEXTS)
        np.testing.assert_allclose(image @ text.T, wanted["image"] @ wanted["text"].T, atol=1e-4)
        np.testing.assert_allclose(image @ image.T, wanted["image"] @ wanted["image"].T, atol=1e-4)
    assert said in capsys.readouterr().err


def test_the_recipe_may_say_otherwise(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = recipe(place, lift={"kind": "sphere", "dim": DIM, "logit_scale": 5.0})
    for tower in tree["towers"].values():
        tower["backbone"]["projection"] = False
    model = limbeck.load(train(tree, out=tmp_path / "run"))
    assert {m: t.dim for m, t in model.towers.items()} == {"image": 24, "text": 16}
    assert float(model.lift.logit_scale) == pytest.approx(5.0)
    assert "without its projection" in capsys.readouterr().err


def test_init_takes_clip_as_it_is(place: Path, tmp_path: Path, pictures: list[Image.Image]) -> None:
    tree = recipe(place)
    tree["stages"]["tune"]["init"] = {"image": str(place / "clip"), "text": str(place / "clip")}
    model = limbeck.load(train(tree, out=tmp_path / "run"))
    assert min(cosines(model, place, pictures).values()) >= 0.99999
    assert float(model.lift.logit_scale) == pytest.approx(np.exp(3.5), rel=1e-5)


def test_what_models_of_before_wrote_is_read_as_it_was() -> None:
    """A saved tower says `projection: false`, and one of own sizes has none by default."""
    stored = {"kind": "clip_image", "source": "clip", "projection": False}
    assert not ClipImageConfig.model_validate(stored).projection
    assert not ClipTextConfig(source="clip", projection=False).projection
    assert ClipTextConfig(source="clip").projection
    assert not ClipImageConfig().projection
    assert ClipImageConfig().model_dump()["projection"] is False


@pytest.mark.parametrize(
    "told",
    [
        {"resample": 2},
        {"size": {"shortest_edge": 24}},
        {"size": {"height": 16, "width": 16}, "do_center_crop": False},
        {"size": 16, "crop_size": 16, "rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1]},
        {"do_normalize": False},
    ],
)
def test_the_preprocessing_of_the_source_is_kept(
    place: Path, tmp_path: Path, pictures: list[Image.Image], told: dict[str, Any]
) -> None:
    from transformers import CLIPImageProcessorPil

    from limbeck.preprocess.pixels import PixelPreprocessor
    from limbeck.preprocess.resize import read_preprocessing

    sizes = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}}
    processor = CLIPImageProcessorPil(**(sizes | told))
    wanted = processor(images=pictures, return_tensors="pt")["pixel_values"]
    for name in ("preprocessor_config.json", "processor_config.json"):
        tree = told if name.startswith("pre") else {"image_processor": sizes | told}
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text(json.dumps(tree))
        plan = read_preprocessing(folder, 16)
        pixels = PixelPreprocessor(plan.resize.side, plan.mean, plan.std, plan.resize)(pictures)
        found = torch.from_numpy(pixels["pixels"])
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("short", "family"), [(True, "CLIP"), (False, "SigLIP")])
def test_preprocessing_without_its_file_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], short: bool, family: str
) -> None:
    from limbeck.preprocess.resize import read_preprocessing

    plan = read_preprocessing(tmp_path, 16, short=short)
    assert plan.resize.short == (16 if short else None)
    said = "".join(capsys.readouterr().err.split("\n"))
    assert (
        f"preprocessor_config.json is missing; pictures are read as {family} reads them, at 16 x 16" in said
    )
    (tmp_path / "preprocessor_config.json").write_text("{}")
    read_preprocessing(tmp_path, 16, short=short)
    assert not capsys.readouterr().err


def test_of_a_very_long_picture_only_the_centre_is_resized() -> None:
    from limbeck.preprocess.resize import Resize

    picture = Image.new("RGB", (60_000, 2), (255, 0, 0))
    picture.paste((0, 255, 0), (29_990, 0, 30_010, 2))
    assert Resize(224, 224)(picture).getcolors() == [(224 * 224, (0, 255, 0))]


@pytest.mark.parametrize(
    "told",
    [
        {"crop_size": 32},
        {"size": {"shortest_edge": 8}},
        {"do_center_crop": False},
        {"do_resize": False},
        {"resample": 9},
        {"size": {"longest_edge": 16}},
        [1],
    ],
)
def test_preprocessing_that_the_tower_cannot_read_is_refused(
    tmp_path: Path, told: dict[str, Any] | list[int]
) -> None:
    from limbeck.preprocess.resize import read_preprocessing

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(told))
    with pytest.raises(limbeck.LimbeckError, match=r"preprocessor_config\.json: "):
        read_preprocessing(tmp_path, 16)
