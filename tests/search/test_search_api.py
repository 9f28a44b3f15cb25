"""`limbeck.Index` with tiny real models."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index.encoded import Encoded, read_skipped
from raising import raises_code

WORDS = ["red", "green", "blue", "dark"]
COLOURS = [(250, 20, 20), (20, 250, 20), (20, 20, 250), (20, 20, 20)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """40 pairs: 6-d features that follow the tag, pictures in a folder (three of them bad or missing)."""
    from limbeck.data.pairs import write_into
    from limbeck.files import atomic_dir

    root = tmp_path_factory.mktemp("data")
    kinds = [i % 4 for i in range(40)]
    rng = np.random.default_rng(0)
    (root / "media").mkdir()
    for i, kind in enumerate(kinds[:38]):
        Image.new("RGB", (20 + i, 30), COLOURS[kind]).save(root / f"media/{i}.png")
    (root / "media/7.png").write_bytes(b"no picture")
    features = np.eye(6, dtype=np.float32)[kinds] + rng.normal(0, 0.1, (40, 6)).astype(np.float32)
    with atomic_dir(root / "pairs") as aside:
        np.save(aside / "f.npy", features)
        columns = {
            "id": [f"p{i}" for i in range(40)],
            "image": [f"{i}.png" for i in range(40)],
            "feature_row": [None if i == 5 else i for i in range(40)],
            "tags": [[WORDS[kind]] for kind in kinds],
            "captions": [[f"a {WORDS[kind]} field"] for kind in kinds],
            "labels": [["colour"] if kind < 3 else [] for kind in kinds],
            "split": ["query" if i < 8 else "database" for i in range(40)],
        }
        meta = {
            "name": "colours",
            "label_names": ["colour"],
            "media": {"kind": "folder", "root": "../media"},
            "features": {"mobile": {"file": "f.npy", "scale": 1.0}},
        }
        write_into(aside, columns, meta)
    return limbeck.Pairs.open(root / "pairs")


def make(image, text, lift, images, texts):
    import torch

    from limbeck.encoders.config import TowerConfig
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoders.lifts import build_lift
    from limbeck.encoders.towers import Tower

    torch.manual_seed(0)
    towers = {
        "image": Tower(TowerConfig(backbone=image), "image"),
        "text": Tower(TowerConfig(backbone=text), "text"),
    }
    towers["image"].fit(images, seed=0)
    towers["text"].fit(texts, seed=0)
    return DualEncoder(
        towers["image"], towers["text"], build_lift(lift, {m: t.dim for m, t in towers.items()})
    ).eval()


@pytest.fixture(scope="module")
def feature_model(pairs):
    """A feature tower and a bag of words into 64-bit codes."""
    from limbeck.encoders.config import BagConfig, FeaturesConfig
    from limbeck.encoders.lift_config import HashConfig

    images = pairs.features("mobile", [i for i in range(40) if i != 5])
    return make(FeaturesConfig(name="mobile"), BagConfig(), HashConfig(bits=64), images, WORDS * 3)


@pytest.fixture(scope="module")
def pixel_model():
    """A tiny vision transformer and a bag of words onto a sphere."""
    from limbeck.encoders.config import BagConfig, ClipImageConfig
    from limbeck.encoders.lift_config import SphereConfig

    tower = ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2)
    return make(tower, BagConfig(), SphereConfig(dim=8), [], WORDS * 3)


@pytest.fixture(scope="module")
def index(pairs, feature_model, tmp_path_factory):
    """An index of the pairs' features, its model gone, opened anew."""
    root = tmp_path_factory.mktemp("index")
    feature_model.save(root / "model")
    skipped = []
    limbeck.Index.build(
        root / "i",
        pairs.path,
        model=root / "model",
        batch_size=7,
        on_skip=lambda *entry: skipped.append(entry),
    )
    assert skipped == [("p5", "has no features 'mobile'")]
    (root / "model").rename(root / "elsewhere")
    return limbeck.Index.open(root / "i")


def test_points_are_those_of_the_encoder(index, pairs, feature_model):
    rows = [i for i in range(40) if i != 5]
    wanted = feature_model.encode_image(pairs.features("mobile", rows))
    assert np.array_equal(np.concatenate(index.store.points), wanted)
    item = index.store.metadata([0])[0]
    assert item == {
        "id": "p0", "path": "0.png", "labels": ["colour"], "tags": ["red"], "captions": ["a red field"],
    }  # fmt: skip


def test_search_by_words_features_item_and_points_agree_with_the_oracle(index, pairs, feature_model):
    items = np.concatenate(index.store.points)
    point = feature_model.encode_text(["blue"])
    near = index.space.similarity(point, items)[0]
    order = np.lexsort((np.arange(39), -near))
    hits = index.search("blue", 12)
    assert [hit.row for hit in hits] == order[:12].tolist()
    assert [-hit.score for hit in hits] == near[order[:12]].tolist() and index.score_name == "distance"
    assert [hit.id for hit in index.search(points=point[0], k=12)] == [hit.id for hit in hits]
    features = pairs.features("mobile", [3])
    assert index.search(features=features[0], k=1)[0].id == index.search(features=features, k=1)[0].id
    assert index.search(features=features, k=39)[0].score == 0
    assert len(index.search("blue", 1000)) == 39


def test_like_leaves_the_item_itself_out(index):
    for item_id in ("p0", "p39"):
        hits = index.search(like=item_id, k=38)
        row = index.store.row_of(item_id)
        near = index.space.similarity(index.store.point(row), np.concatenate(index.store.points))[0]
        order = [i for i in np.lexsort((np.arange(39), -near)) if i != row]
        assert [hit.row for hit in hits] == order
        assert [hit.row for hit in index.search(like=item_id, k=3)] == order[:3]


def test_like_among_equals(tmp_path):
    codes = np.zeros((6, 2), np.uint8)
    index = limbeck.Index.build(tmp_path / "i", codes, items={"id": list("abcdef")})
    assert [hit.id for hit in index.search(like="e", k=2)] == ["a", "b"]
    assert [hit.id for hit in index.search(like="a", k=9)] == list("bcdef")


def test_bad_queries_are_one_line(index):
    code = np.zeros(8, np.uint8)
    for arguments, message in [
        ({}, "give exactly one query"),
        ({"query": "red", "like": "p0"}, "not query and like"),
        ({"query": "zebra crossing"}, "the model knows none of its words"),
        ({"query": ""}, "the model knows none of its words"),
        ({"query": "red", "k": 0}, "k: 0 is not"),
        ({"like": "p0", "k": -1}, "k: -1 is not"),
        ({"like": "p0", "k": True}, "k: True is not"),
        ({"points": code, "k": 2.5}, "k: 2.5 is not"),
        ({"like": "p5"}, "no item with id 'p5'"),
        ({"points": code[:4]}, "width 4, expected 64-bit codes"),
        ({"points": code.astype(float)}, "float64"),
        ({"points": np.zeros((2, 8), np.uint8)}, "2 queries at once"),
        ({"features": np.zeros(5, np.float32)}, "give features of width 6"),
        ({"features": np.full(6, np.nan)}, "finite"),
        ({"features": np.array(["a"] * 6)}, "finite numbers"),
        (
            {"image": "x.jpg"},
            "this model reads features 'mobile', not pixels; use --features FILE or --like ID",
        ),
    ]:
        with pytest.raises(LimbeckError, match=message) as caught:
            index.search(**arguments)
        assert "\n" not in str(caught.value)


def test_the_split_of_a_protocol(pairs, feature_model, tmp_path):
    from limbeck.encoding import open_source

    rows = pairs.split_rows("database")
    index = limbeck.Index.build(tmp_path / "i", pairs, model=feature_model, rows=rows)
    assert [item["id"] for item in index.store.metadata(range(32))] == [f"p{i}" for i in range(8, 40)]
    with raises_code("E-ENCODE-EMPTY", "encode:"):
        limbeck.Index.build(tmp_path / "j", open_source(pairs), model=feature_model, rows=rows[:0])
    assert not (tmp_path / "j").exists()


def test_pictures_of_a_folder_bad_ones_skipped(pairs, pixel_model, tmp_path):
    from limbeck.encoding import encode_source

    media = pairs.path.parent / "media"
    encoded = encode_source(pixel_model, media, tmp_path / "e", batch_size=5)
    assert len(encoded) == 37 and encoded.meta.media_root == str(media.resolve())
    assert [entry["id"] for entry in read_skipped(tmp_path / "e")] == ["7.png"]
    assert "not a picture" in read_skipped(tmp_path / "e")[0]["reason"]
    index = limbeck.Index.build(tmp_path / "i", tmp_path / "e", model=pixel_model)
    hit = index.search(image=media / "0.png", k=1)[0]
    assert hit.id == "0.png" and hit.score == pytest.approx(1, abs=1e-5)
    again = limbeck.Index.open(tmp_path / "i")
    assert again.search(image=Image.open(media / "0.png"), k=1)[0].id == "0.png"
    assert again.picture(hit).size == (20, 30)
    media.rename(media.with_name("moved"))
    try:
        with raises_code("E-PICTURE-MISSING", "0.png"):
            again.picture(hit)
        assert again.picture(hit, media=media.with_name("moved")).size == (20, 30)
    finally:
        media.with_name("moved").rename(media)
    with raises_code("E-MODEL-INPUT", "--image"):
        again.search(features=np.zeros(6))


def test_pairs_through_a_pixel_tower(pairs, pixel_model, tmp_path):
    skipped = []
    index = limbeck.Index.build(
        tmp_path / "i", pairs, model=pixel_model, on_skip=lambda item, reason: skipped.append(item)
    )
    assert len(index) == 37 and skipped == ["p7", "p38", "p39"]
    assert index.picture(index.search(like="p0", k=1)[0]).mode == "RGB"


def test_sources_that_cannot_be(pairs, feature_model, pixel_model, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/a.jpg").write_bytes(b"x")
    codes = np.zeros((2, 8), np.uint8)
    for source, options, message in [
        (tmp_path / "none", {"model": pixel_model}, "no such directory"),
        (tmp_path / "empty", {"model": pixel_model}, "holds no pictures"),
        (tmp_path / "bad", {"model": pixel_model}, "none of 1 items could be read"),
        (pairs.path.parent / "media", {"model": feature_model}, "reads features 'mobile', not pixels"),
        (pairs.path, {}, "give a model"),
        (codes, {}, "give one id per row"),
        (codes, {"items": {"id": ["a"]}}, "2 points but 1 ids"),
        (codes, {"items": {"id": ["a", "a"]}}, "'a' appears more than once"),
        (codes[0], {"items": {"id": ["a"]}}, "give codes"),
        (codes.astype(np.int64), {"items": {"id": ["a", "b"]}}, "other than -1 and .1"),
        (codes[:0], {"items": {"id": []}}, "no items"),
    ]:
        with pytest.raises(LimbeckError, match=message):
            limbeck.Index.build(tmp_path / "i", source, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "empty"]


def test_a_model_of_another_space_is_refused(pairs, feature_model, pixel_model, tmp_path):
    from limbeck.encoding import encode_source

    encode_source(feature_model, pairs, tmp_path / "e")
    with pytest.raises(LimbeckError, match="encoded by another model or space"):
        limbeck.Index.build(tmp_path / "i", Encoded.open(tmp_path / "e"), model=pixel_model)
    index = limbeck.Index.build(tmp_path / "i", tmp_path / "e")
    with raises_code("E-INDEX-MODEL", "--model"):
        index.search("red")
    assert index.search(like="p0")


def test_torch_is_never_imported_to_search(index):
    folder, queries = str(index.store.path), str(index.store.path.parent / "q.npy")
    np.save(queries, np.zeros((2, 8), np.uint8))
    script = f"""
import sys, numpy as np, limbeck
from limbeck.cli import main
index = limbeck.Index.open({folder!r})
assert index.search(points=np.zeros(8, np.uint8)) and index.search(like="p0")
sys.argv = ["limbeck", "search", {folder!r}, "--codes", {queries!r}]
try:
    main()
except SystemExit as end:
    assert not end.code
assert not {{"torch", "transformers"}} & set(sys.modules)
assert index.search("red") and not {{"torch", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, timeout=60)
