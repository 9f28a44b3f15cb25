"""Pictures, examples, embeddings, traversals and the disk."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from PIL import Image

import limbeck
from limbeck.encoders.config import BagConfig, FeaturesConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import PolarConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.index.writer import StoreMeta
from limbeck.search import Term
from limbeck.serve.app import create_app
from limbeck.serve.disk import on_disk
from limbeck.spaces import Lorentz

NAME = "größe a/0002.png"


def test_a_thumbnail_is_the_picture_of_the_item_made_small(client: TestClient, pictures: Path):
    answer = client.get(f"/thumbnails/{NAME}", params={"size": 16})
    small = Image.open(io.BytesIO(answer.content))
    assert (answer.status_code, answer.headers["content-type"], max(small.size)) == (200, "image/webp", 16)
    original = limbeck.Index.open(pictures)
    expected = original.picture(original.item(NAME)).resize(small.size)
    assert np.abs(np.asarray(small, int) - np.asarray(expected, int)).mean() < 20
    again = client.get(
        f"/thumbnails/{NAME}", params={"size": 16}, headers={"If-None-Match": answer.headers["ETag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    other = client.get(f"/thumbnails/{NAME}", params={"size": 17})
    assert other.headers["ETag"] != answer.headers["ETag"]


def test_a_picture_is_not_enlarged_and_loses_its_metadata(client: TestClient):
    picture = Image.open(io.BytesIO(client.get("/pictures/0007.png").content))
    assert picture.size == (20, 30) and not picture.getexif()


def test_a_hit_names_its_picture(client: TestClient):
    hit = client.get("/items/0007.png").json()
    assert client.get(hit["thumbnail"]).status_code == client.get(hit["picture"]).status_code == 200


def test_a_stored_path_cannot_leave_the_media_folder(tmp_path: Path):
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    (tmp_path / "media").mkdir()
    paths = ["../outside.png", str(tmp_path / "outside.png"), "none.png", None]
    items = {"id": ["up", "absolute", "gone", "without"], "path": paths}
    space = limbeck.spaces.Hamming(8)
    meta = StoreMeta(space, media_root=str(tmp_path / "media"))
    points = np.arange(4, dtype=np.uint8)[:, None]
    limbeck.index.store.IndexStore.build(tmp_path / "index", [(points, items)], meta)
    with TestClient(create_app([tmp_path / "index"]), "http://localhost") as client:
        answers = {name: client.get(f"/thumbnails/{name}") for name in (*items["id"], "strange")}
    assert {name: (one.status_code, one.json()["error"]["code"]) for name, one in answers.items()} == {
        "up": (404, "E-PICTURE-MISSING"),
        "absolute": (404, "E-PICTURE-MISSING"),
        "gone": (404, "E-PICTURE-MISSING"),
        "without": (404, "E-INDEX-MEDIA"),
        "strange": (404, "E-ID-UNKNOWN"),
    }


def test_embeddings_are_the_numbers_whose_signs_are_the_codes(client: TestClient, pictures: Path):
    index = limbeck.Index.open(pictures)
    sent = {"input": ["red", "dark green"], "model": "pictures"}
    answer = client.post("/v1/embeddings", json=sent).json()
    expected = index.encode_queries([[Term("red")], [Term("dark green")]], asymmetric=True)[0]
    vectors = np.array([one["embedding"] for one in answer["data"]], np.float32)
    assert np.array_equal(vectors, expected.astype(np.float32)) and answer["model"] == "pictures"
    assert np.array_equal(np.packbits(vectors > 0, axis=1), index.encode(["red", "dark green"]))
    short = client.post("/v1/embeddings", json={**sent, "encoding_format": "base64"}).json()["data"]
    assert np.array_equal(np.frombuffer(base64.b64decode(short[1]["embedding"]), "<f4"), vectors[1])
    file = base64.b64encode((pictures.parent / "media" / "0007.png").read_bytes()).decode()
    pixels = client.post("/v1/embeddings", json={"input": [{"image": file}]}).json()["data"]
    assert np.array_equal(
        np.packbits(np.array(pixels[0]["embedding"]) > 0), index.store.point(index.item("0007.png").row)[0]
    )
    assert client.post("/v1/embeddings", json={"input": []}).status_code == 422


def test_examples_are_of_the_collection_and_stay(client: TestClient):
    answer = client.get("/examples", params={"items": 5}).json()
    assert len({item["id"] for item in answer["items"]}) == 5 and answer["texts"] == []
    assert client.get("/examples", params={"items": 5}).json() == answer


def test_an_index_without_cones_has_no_hierarchy(client: TestClient):
    for path in ("/traverse?like=0007.png", "/hierarchy?like=0007.png"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "E-SPACE-CONES")


@pytest.fixture(scope="module")
def cones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index in a hyperbolic plane of a model whose texts are near the root, and its items far out."""
    torch.manual_seed(0)
    image = Tower(TowerConfig(backbone=FeaturesConfig(name="f")), "image")
    text = Tower(TowerConfig(backbone=BagConfig()), "text")
    image.fit([np.eye(3, dtype=np.float32)[0]], seed=0)
    text.fit(["sea", "sky", "sea at night"] * 2, seed=0)
    lift = build_lift(
        PolarConfig(dim=2, min_radius=0.12, radius=0.15, max_radius=3.0),
        {"image": image.dim, "text": text.dim},
    )
    model = DualEncoder(image, text, lift).eval().requires_grad_(False)
    turn = np.linspace(0, 6, 8)
    points = np.stack([np.cos(turn), np.sin(turn)], 1).astype(np.float32)
    items = {"id": [f"i/{n}" for n in range(8)], "captions": [["sea", "sky"], ["sea at night"]] * 4}
    path = tmp_path_factory.mktemp("cones") / "plane"
    limbeck.Index.build(path, points, model=model, items=items, space=model.space)
    return path


@pytest.fixture
def plane(cones: Path) -> Iterator[TestClient]:
    with TestClient(create_app([cones]), "http://localhost") as client:
        yield client


def test_a_traversal_is_that_of_the_index(plane: TestClient, cones: Path):
    answer = plane.get("/traverse", params={"like": "i/3", "steps": 5}).json()
    expected = limbeck.Index.open(cones).traverse(like="i/3", steps=5).to_json()
    assert answer["steps"] == expected["steps"] and answer["steps"][-1]["text"] == "[ROOT]"
    assert plane.get("/traverse").json()["error"]["code"] == "E-QUERY-FORM"


def test_the_disk_shows_true_radii_and_what_entails_what(plane: TestClient, cones: Path):
    answer = plane.get("/hierarchy", params={"q": "sea", "k": 3, "texts": 2}).json()
    index = limbeck.Index.open(cones)
    points = answer["points"]
    assert [point["kind"] for point in points] == ["root", "query", "item", "item", "item", "text", "text"]
    assert [point["id"] for point in points[2:5]] == [hit.id for hit in index.search("sea", 3)]
    for point in points[2:5]:
        stored = index.store.point(index.item(point["id"]).row)
        assert point["radius"] == pytest.approx(float(index.space.radius(stored)[0]))
        away = np.hypot(point["x"], point["y"])
        assert away == pytest.approx(np.tanh(np.sqrt(answer["curv"]) * point["radius"] / 2))
        assert point["entailed"] == bool(index.space.entails(index.encode("sea"), stored)[0])
        assert point["entails"] == bool(index.space.entails(stored, index.encode("sea"))[0])


def test_angles_are_those_of_the_two_main_axes():
    space = Lorentz(3, 1.0)
    points = np.array([[2, 0, 0.1], [-2, 0, 0.1], [0, 1, -0.1], [0, -1, -0.1]], np.float32)
    spots = on_disk(space, points, ["item"] * 4)
    turn = np.arctan2(spots[:, 1], spots[:, 0])
    between = np.abs(np.angle(np.exp(1j * (turn[[1, 2, 3]] - turn[0]))))
    assert between == pytest.approx([np.pi, np.pi / 2, np.pi / 2], abs=0.1)
    assert np.hypot(*spots.T) == pytest.approx(np.tanh(space.radius(points) / 2))
