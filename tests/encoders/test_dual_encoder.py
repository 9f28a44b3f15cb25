"""A dual encoder saved and loaded gives identical points, whatever its towers are made of."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import TypeAdapter

import limbeck
from hub_models import write_bert, write_clip
from limbeck.encoders.cache import BackboneCache
from limbeck.encoders.config import BackboneConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import LiftConfig
from limbeck.encoders.lifts import BinaryLift, build_lift
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.encoders.towers import RunBackbone, Tower
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.onnx import OnnxEncoder
from raising import raises_code

TEXTS = ["a red cat", "dog", "cat and dog", "a cat", "the red dog", "dog", "cats", "red", "a b", "d c b"]
FEATURES = np.abs(np.random.default_rng(0).standard_normal((20, 6))).astype(np.float32)
LABELS = [["cat"], ["dog"], ["cat", "dog"], [], ["dog"]]
SMALL = {"width": 16, "layers": 1, "heads": 2}
Build = Callable[..., DualEncoder]


def tower(modality: str, backbone: dict[str, Any], items: Any, **options: Any) -> Tower:
    config: Any = TypeAdapter(BackboneConfig).validate_python(backbone)
    built = Tower(TowerConfig(backbone=config, **options), modality)
    if isinstance(built.backbone, RunBackbone):
        built.backbone.load_from(limbeck.load(built.backbone.config.path))
    built.fit(items, seed=0)
    if options.get("freeze_backbone"):
        built.backbone.requires_grad_(False)
    return built


def build(
    image: dict[str, Any], text: dict[str, Any], lift: dict[str, Any] | None = None, **options: Any
) -> DualEncoder:
    torch.manual_seed(0)
    reads_labels = text["kind"] == "multihot"
    pair = {
        "image": tower("image", image, FEATURES, **options),
        "text": tower("text", text, LABELS if reads_labels else TEXTS, **options),
    }
    config: Any = TypeAdapter(LiftConfig).validate_python(lift or {"kind": "hash", "bits": 16})
    return DualEncoder(pair["image"], pair["text"], build_lift(config, {m: t.dim for m, t in pair.items()}))


def encoded(model: DualEncoder, pictures: list[Image.Image]) -> tuple[np.ndarray, np.ndarray]:
    images: Any = pictures if model.image_input == "pixels" else FEATURES
    labels = model.towers["text"].backbone.reads == "labels"
    if not labels:
        return model.encode_image(images), model.encode_text(TEXTS)
    with torch.no_grad():  # labels are no texts: there is no public way to ask by them
        embedded = model.eval().embed("text", model.towers["text"].backbone.collate(LABELS))
    return model.encode_image(images), model.lift.to_storage(embedded)


def kinds(clip: Path, bert: Path, run: Path) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Image and text backbone by name."""
    features: dict[str, Any] = {"kind": "features", "name": "cnn", "log1p": True, "pca": 4}
    bag = {"kind": "bag"}
    sentence = {"kind": "sentence", "source": str(bert)}
    clip_text = {"kind": "clip_text", "context": 8, **SMALL}
    return {
        "features, bag": (features, bag),
        "features, multihot": (features, {"kind": "multihot"}),
        "features, sentence": (features, sentence),
        "features, concat": (features, {"kind": "concat", "parts": [bag, sentence, clip_text]}),
        "own clip": ({"kind": "clip_image", "image_size": 16, "patch_size": 8, **SMALL}, clip_text),
        "pretrained clip": (
            {"kind": "clip_image", "source": str(clip), "projection": False},
            {"kind": "clip_text", "source": str(clip), "projection": True},
        ),
        "run embeddings": ({"kind": "run", "path": str(run)}, {"kind": "run", "path": str(run)}),
        "run features": ({"kind": "run", "path": str(run), "output": "features"}, bag),
    }


NAMES = list(kinds(Path(), Path(), Path()))


@pytest.fixture
def sources(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A CLIP, a sentence encoder, and a run on top of both's kinds, all of which may be deleted."""
    clip, bert, run = write_clip(tmp_path / "clip"), write_bert(tmp_path / "bert"), tmp_path / "run"
    first = kinds(clip, bert, run)["pretrained clip"]
    build(*first, hidden=[5], freeze_backbone=True).save(run / "model")
    return clip, bert, run


LIFTS: list[dict[str, Any]] = [
    {"kind": "hash", "bits": 16},
    {"kind": "sphere", "dim": 6},
    {"kind": "euclid", "dim": 6},
    {"kind": "tangent", "dim": 6},
    {"kind": "polar", "dim": 6},
]
LONG = [*TEXTS, "a b c d e f g h a b c d e f g h a b c d", "cat"]  # over the context, and over two widths


@pytest.mark.parametrize("lift", LIFTS, ids=lambda lift: lift["kind"])
@pytest.mark.parametrize("name", NAMES)
def test_onnx_graphs_equal_torch(
    tmp_path: Path,
    sources: tuple[Path, Path, Path],
    pictures: list[Image.Image],
    name: str,
    lift: dict[str, Any],
) -> None:
    model = build(*kinds(*sources)[name], lift, hidden=[7], freeze_backbone=True)
    model.save(tmp_path / "saved", bundle=True)
    model.save_onnx(tmp_path / "saved")
    onnx = OnnxEncoder.open(tmp_path / "saved")
    assert onnx is not None
    assert (onnx.space, onnx.space_id, onnx.kept) == (model.space, model.space_id, model.kept)
    assert onnx.inputs == model.inputs
    images: Any = pictures if model.image_input == "pixels" else FEATURES
    for modality, items in (("image", images), ("text", LONG)):
        if modality not in model.inputs:
            continue
        for some in (items, items[:1]):
            wanted = model.encode(modality, some, "embeddings", "floats")
            for mine, theirs in zip(onnx.encode(modality, some, "embeddings", "floats"), wanted, strict=True):
                np.testing.assert_allclose(mine, theirs, atol=1e-5 * max(1, np.abs(theirs).max()))
    if "text" in model.inputs:
        model.check_query("dog"), onnx.check_query("dog")
        with pytest.raises(LimbeckError, match="the model knows none of its words"):
            onnx.check_query("")


@pytest.mark.parametrize("bundle", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_gives_identical_points(
    tmp_path: Path, sources: tuple[Path, Path, Path], pictures: list[Image.Image], name: str, bundle: bool
) -> None:
    model = build(*kinds(*sources)[name], hidden=[7], dropout=0.5, freeze_backbone=True)
    expected = encoded(model, pictures)
    model.save(tmp_path / "saved", bundle=bundle)
    references = read_json(tmp_path / "saved/model.json")["references"]
    shutil.rmtree(sources[2])  # a run is never needed again
    if bundle:
        assert not references
        for source in sources[:2]:
            shutil.rmtree(source)
    again = limbeck.load(tmp_path / "saved")
    for wanted, found in zip(expected, encoded(again, pictures), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert again.space_id == model.space_id == read_json(tmp_path / "saved/model.json")["space_id"]
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())
    again.save(tmp_path / "twice", bundle=bundle)
    one, two = (tmp_path / f / "model.safetensors" for f in ("saved", "twice"))
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize(
    "lift", [{"kind": "sphere", "dim": 5}, {"kind": "binary", "bits": 8, "rotation": "random"}]
)
def test_every_lift_comes_back(tmp_path: Path, lift: dict[str, Any]) -> None:
    model = build({"kind": "features", "name": "cnn"}, {"kind": "bag"}, lift, hidden=[8])
    if isinstance(model.lift, BinaryLift):
        model.lift.fit({m: torch.randn(20, 8) for m in ("image", "text")}, seed=0)
    model.save(tmp_path / "m")
    again = DualEncoder.load(tmp_path / "m")
    np.testing.assert_array_equal(again.encode_image(FEATURES), model.encode_image(FEATURES))
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))
    assert again.space == model.space


def test_untouched_weights_are_stored_by_reference_and_checked(
    tmp_path: Path, sources: tuple[Path, Path, Path]
) -> None:
    clip, bert, run = sources
    model = build(*kinds(clip, bert, run)["features, sentence"], hidden=[7], freeze_backbone=True)
    model.save(tmp_path / "small")
    assert not [n for n in load_tensors(tmp_path / "small/model.safetensors") if ".model." in n]
    write_bert(bert, seed=1)
    with raises_code("E-MODEL-DAMAGED", "bert:") as found:
        DualEncoder.load(tmp_path / "small")
    assert "\n" not in str(found.value)
    shutil.rmtree(bert)
    with raises_code("E-MODEL-MISSING", "small:") as found:
        DualEncoder.load(tmp_path / "small")
    assert "\n" not in str(found.value)


def test_references_hold_from_any_working_directory(
    tmp_path: Path, sources: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    backbones = kinds(Path("clip"), Path("bert"), sources[2])["features, sentence"]
    model = build(*backbones, freeze_backbone=True)
    model.save("m")
    monkeypatch.chdir("/")
    again = DualEncoder.load(tmp_path / "m")
    np.testing.assert_array_equal(again.encode_text(TEXTS), model.encode_text(TEXTS))


def test_tuned_weights_are_stored_whole(tmp_path: Path, sources: tuple[Path, Path, Path]) -> None:
    clip, bert, run = sources
    model = build(*kinds(clip, bert, run)["features, sentence"], hidden=[7])  # not frozen
    with torch.no_grad():
        next(model.towers["text"].backbone.model.parameters()).add_(1.0)
    expected = model.encode_text(TEXTS)
    model.save(tmp_path / "m")
    shutil.rmtree(bert)
    np.testing.assert_array_equal(DualEncoder.load(tmp_path / "m").encode_text(TEXTS), expected)


def simple() -> DualEncoder:
    return build({"kind": "features", "name": "cnn"}, {"kind": "bag"}, hidden=[6], dropout=0.5)


def test_space_id_follows_the_image_side_alone() -> None:
    model = simple()
    before = model.space_id
    with torch.no_grad():
        model.towers["text"].trunk[0].weight.add_(1.0)  # type: ignore[index, operator, union-attr]
        model.lift.head("text").weight.mul_(2.0)  # type: ignore[operator, union-attr]
    assert model.space_id == before
    ids = {before}
    for part in (model.towers["image"].trunk, model.towers["image"].backbone, model.lift.head("image")):
        with torch.no_grad():
            next(iter(part.state_dict().values())).add_(1.0)
        ids.add(model.space_id)
    assert len(ids) == 4
    other = build(
        {"kind": "features", "name": "cnn"}, {"kind": "bag"}, {"kind": "hash", "bits": 8}, hidden=[6]
    )
    assert other.space_id not in ids


def test_outputs_and_batches_agree() -> None:
    model = simple().train()
    points = model.encode_text(TEXTS)
    assert (points.dtype, points.shape) == (np.uint8, (10, 2))
    np.testing.assert_array_equal(model.encode_text(TEXTS, batch_size=3), points)  # no dropout
    assert model.training
    embeddings = model.encode_text(TEXTS, output="embeddings")
    features = model.encode_text(TEXTS, output="features")
    assert (embeddings.shape, features.shape) == ((10, 16), (10, 6))
    assert embeddings.dtype == features.dtype == np.float32
    np.testing.assert_array_equal(model.lift.to_storage(torch.from_numpy(embeddings)), points)
    for output, width in (("points", 2), ("embeddings", 16), ("features", 6)):
        empty = model.encode_text([], output=output)  # type: ignore[arg-type]
        assert empty.shape == (0, width)
    assert model.encode_text([]).dtype == np.uint8
    with pytest.raises(LimbeckError, match="choose points, embeddings, features or floats"):
        model.encode_text(TEXTS, output="codes")  # type: ignore[arg-type]
    with raises_code("E-INPUT-TYPE", "encode_text:"):
        model.encode_text("a red cat")  # type: ignore[arg-type]
    with raises_code("E-INPUT-TYPE", "encode_image:"):
        model.encode_image("cat.jpg")
    with raises_code("E-ARRAY-SHAPE", "features:"):
        model.encode_image(FEATURES[:, :3])


def test_equal_texts_are_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = simple()
    seen: list[str] = []
    backbone = model.towers["text"].backbone
    original = backbone.collate

    def recorded(items: Any, generators: Any = None) -> Any:
        seen.extend(items)
        return original(items, generators)

    monkeypatch.setattr(backbone, "collate", recorded)
    points = model.encode_text(["dog", "red", "dog", "dog", "cat"])
    assert seen == ["dog", "red", "cat"]
    np.testing.assert_array_equal(points[[0, 0]], points[[2, 3]])


def test_the_cache_changes_nothing(
    tmp_path: Path, sources: tuple[Path, Path, Path], pictures: list[Image.Image]
) -> None:
    clip, bert, run = sources
    image, text = (
        kinds(clip, bert, run)["pretrained clip"][0],
        kinds(clip, bert, run)["features, sentence"][1],
    )
    model = build(image, text, {"kind": "sphere", "dim": 5}, hidden=[7], freeze_backbone=True)
    plain = encoded(model, pictures)
    model.cache = BackboneCache(tmp_path / "cache")
    for _ in range(2):
        for wanted, found in zip(plain, encoded(model, pictures), strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 2
    with torch.no_grad():
        model.towers["image"].backbone.model.embeddings.class_embedding.copy_(torch.randn(24))
    assert not np.allclose(model.encode_image(pictures), plain[0])
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 3


def test_towers_refuse_what_they_cannot_read() -> None:
    with raises_code("E-CONFIG-VALUE", "towers.image", "'bag'"):
        Tower(TowerConfig.model_validate({"backbone": {"kind": "bag"}}), "image")
    with raises_code("E-CONFIG-VALUE", "towers.text", "'features'"):
        Tower(TowerConfig.model_validate({"backbone": {"kind": "features", "name": "cnn"}}), "text")
    patches = {"kind": "run", "path": "x", "output": "patches"}
    with raises_code("E-CONFIG-VALUE", "towers.image.backbone.output"):
        Tower(TowerConfig.model_validate({"backbone": patches}), "image")


def test_a_query_is_known_when_one_part_knows_it(sources: tuple[Path, Path, Path]) -> None:
    clip, bert, run = sources
    model = build(*kinds(clip, bert, run)["features, concat"])
    model.check_query("and zzz")  # the bag knows it, the sentence encoder does not
    with pytest.raises(LimbeckError, match="the model knows none of its words"):
        model.check_query("zzz qqq")


def test_models_of_one_directory_can_be_saved_over(tmp_path: Path) -> None:
    model = simple()
    model.save(tmp_path / "m")
    model.save(tmp_path / "m")
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith("limbeck")) == ["m"]
    save_tensors(tmp_path / "x.safetensors", {"a": torch.arange(6).reshape(2, 3).T})
    assert load_tensors(tmp_path / "x.safetensors")["a"].tolist() == [[0, 3], [1, 4], [2, 5]]
