"""The verb `traverse`, run as a user runs it, over an index of a tiny model with cones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import limbeck
from limbeck.data.pairs import Pairs
from limbeck.encoders.config import BagConfig, ClipImageConfig, FeaturesConfig, TowerConfig
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.lift_config import PolarConfig
from limbeck.encoders.lifts import build_lift
from limbeck.encoders.towers import Tower
from limbeck.index.texts import read_texts, stored_texts
from limbeck.traversal import ROOT, STEPS
from raising import raises_code
from tiny import DIM, write_pairs

WORDS = ["sea", "sky", "sea at night", "sky at night"]


def encoder(backbone, items=(), texts=WORDS * 2) -> DualEncoder:
    """Texts near the root, pictures far out, in two dimensions: many texts hold a picture."""
    torch.manual_seed(0)
    image, text = (
        Tower(TowerConfig(backbone=backbone), "image"),
        Tower(TowerConfig(backbone=BagConfig()), "text"),
    )
    image.fit(items, seed=0)
    text.fit(texts, seed=0)
    config = PolarConfig(dim=2, min_radius=0.12, radius=0.15, max_radius=3.0)
    model = DualEncoder(image, text, build_lift(config, {"image": image.dim, "text": text.dim}))
    torch.nn.init.constant_(model.lift.heads["image"].radius.bias, 1.0)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with an index of pictures with captions, its model, the pictures and a list of texts."""
    folder = tmp_path_factory.mktemp("traverse")
    (folder / "media").mkdir()
    for i in range(6):
        Image.new("RGB", (40, 20 + 10 * i), (40 * i, 100, 200)).save(folder / f"media/{i}.png")
    model = encoder(ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2))
    paths = [f"{i}.png" for i in range(6)]
    points = model.encode_image([folder / "media" / name for name in paths])
    items = {"id": paths, "path": paths, "captions": [[WORDS[i % 4], "zebra $x$"] for i in range(6)]}
    limbeck.Index.build(folder / "i", points, items=items, space=model.space, model=model)
    limbeck.Index.build(folder / "bare", points, items={"id": paths}, space=model.space, model=model)
    limbeck.Index.build(folder / "without", points, items=items, space=model.space)
    (folder / "texts.txt").write_text("sea\n\nsky at night\nsea\n", encoding="utf-8")
    return folder


def test_from_a_picture_to_a_table_json_and_a_figure(run, pictures, tmp_path):
    name = "2.png"
    words = ["--json", tmp_path / "t.json", "--figure", tmp_path / "t.png", "--media", pictures / "media"]
    status, out, err = run("traverse", pictures / "i", "--like", name, *words)
    assert status == 0 and not err
    value = json.loads((tmp_path / "t.json").read_text())
    index = limbeck.Index.open(pictures / "i")
    point, places = index.store.point(2)[0], index.encode(WORDS)
    held = [text for text, place in zip(WORDS, places, strict=True) if index.space.entails(place, point)]
    assert held  # of a model made for it
    assert value["space"]["name"] == "lorentz" and value["start"] == name and value["texts"] == 4
    assert value["unknown"] == ["zebra $x$"] and "left out" in out and "zebra" in out
    assert value["steps"][0]["entailing"] == len(held) and len(value["steps"]) == STEPS
    distances = index.space.rescore(point, index.encode(held))
    assert value["chain"][0]["text"] == held[int(distances.argmin())] and value["chain"][-1]["text"] == ROOT
    assert all(step["text"] in out for step in value["chain"])
    assert f"{len(held)} of 4 texts" in out and f"radius {value['radius']:.3f}" in out
    with Image.open(tmp_path / "t.png") as figure:
        assert figure.width == 1290 and figure.getextrema() != ((255, 255),) * 3

    status, out, _ = run(
        "traverse", pictures / "i", "--image", pictures / f"media/{name}", "--json", tmp_path / "u.json"
    )
    assert status == 0
    again = json.loads((tmp_path / "u.json").read_text())
    assert [step["text"] for step in again["chain"]] == [step["text"] for step in value["chain"]]


def test_texts_of_a_file_of_pairs_and_from_python(run, pictures, tmp_path):
    assert read_texts(pictures / "texts.txt") == ["sea", "sky at night"]
    words = ["--texts", pictures / "texts.txt", "--steps", 7, "--json", tmp_path / "t.json"]
    assert run("traverse", pictures / "bare", "--like", "0.png", *words)[0] == 0
    value = json.loads((tmp_path / "t.json").read_text())
    assert value["texts"] == 2 and len(value["steps"]) == 7
    columns = {"id": ["a"], "captions": [["sea", "zebra"]], "tags": [["sky"]], "labels": [["night_sea"]]}
    columns["path"] = [["sky", "sky_at_night"]]
    Pairs.write(tmp_path / "pairs", columns, {"name": "p", "label_names": ["night_sea"]})
    words = ["--data", tmp_path / "pairs", "--json", tmp_path / "t.json"]
    assert run("traverse", pictures / "bare", "--like", "0.png", *words)[0] == 0
    assert json.loads((tmp_path / "t.json").read_text())["texts"] == 4  # sea, sky, night sea, sky at night

    index = limbeck.Index.open(pictures / "i")
    assert stored_texts(index.store) == ["sea", "zebra $x$", "sky", "sea at night", "sky at night"]
    picture = Image.open(pictures / "media/1.png")
    seen, like = index.traverse(image=picture), index.traverse(like="1.png")
    assert [step.text for step in seen.steps] == [step.text for step in like.steps]
    (root,) = index.traverse("sea", texts=["sea"], steps=2).chain[1:]
    assert root.text == ROOT  # a text entails itself


def test_a_start_that_nothing_entails_is_said_to_be_one(run, pictures, tmp_path):
    index = limbeck.Index.open(pictures / "i")
    point, items = -4 * index.encode("sea"), {"id": ["x"], "captions": [["sea"]]}
    model = encoder(ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2))
    opposite = limbeck.Index.build(tmp_path / "i", point, items=items, space=index.space, model=model)
    status, out, _ = run("traverse", opposite.store.path, "--like", "x")
    assert status == 0 and "0 of 1 texts entail it" in out
    assert "only [ROOT] entails the start: 'sea' is nearest" in out and "--all takes" in out
    status, out, _ = run("traverse", opposite.store.path, "--like", "x", "--all")
    assert status == 0 and "only [ROOT] entails" in out and "--all takes" not in out


def test_pairs_with_features_from_build_to_root(run, tmp_path):
    pairs = write_pairs(tmp_path, rows=30)
    rows = np.load(tmp_path / "cnn.npy")
    model = encoder(FeaturesConfig(name="cnn"), rows, texts=["cat and dog", "sky no tree"] * 2)
    model.save(tmp_path / "model")
    assert run("index", "build", pairs, "--model", tmp_path / "model", "--out", tmp_path / "i")[0] == 0
    np.save(tmp_path / "one.npy", rows[3])
    np.save(tmp_path / "two.npy", rows[:2])
    for start in (["--features", tmp_path / "one.npy"], ["--like", "row3"]):
        status, _, _ = run("traverse", tmp_path / "i", *start, "--json", tmp_path / "t.json")
        value = json.loads((tmp_path / "t.json").read_text())
        assert status == 0 and value["steps"][0]["entailing"] > 1 and len(value["chain"]) > 1
        assert "extra3" in value["unknown"] and {"cat", "a cat and dog no 1"}.isdisjoint(value["unknown"])
    for words, message in [
        (["--features", tmp_path / "two.npy"], "two.npy: holds 2 rows; a traversal starts at one"),
        (["--features", tmp_path / "none.npy"], "none.npy: there is no such file"),
        (["--image", pairs], "reads features 'cnn', not pixels"),
        (["--like", "row3", "--figure", tmp_path / "t.png"], "has no picture recorded"),
    ]:
        status, _, err = run("traverse", tmp_path / "i", *words)
        assert status == 1 and message in err and err.count("\n") == 1, err
    assert rows.shape[1] == DIM


def test_failures_are_one_line_and_status_1(run, pictures, tmp_path):
    limbeck.Index.build(tmp_path / "codes", np.zeros((1, 2), np.uint8), items={"id": ["x"]})
    limbeck.Index.build(tmp_path / "sphere", np.eye(2, dtype=np.float32)[:1], items={"id": ["x"]})
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "latin.txt").write_bytes(b"\xe4\0\n")
    (tmp_path / "strange.txt").write_text("zebra\nlion\n")
    (tmp_path / "root.txt").write_text("sea [ROOT]\n[ROOT]\n")
    like, index = ["--like", "0.png"], pictures / "i"
    for words, message in [
        (
            [tmp_path / "codes", "--like", "x"],
            "Hamming(bits=16) has no entailment cones; use an index of a model",
        ),
        (
            [tmp_path / "sphere", "--like", "x"],
            "Sphere(dim=2) has no entailment cones; use an index of a model",
        ),
        ([tmp_path / "none", *like], "no such index directory"),
        ([index, "--like", "nobody"], "no item with id 'nobody'"),
        ([index, "--image", tmp_path / "none.png"], "none.png"),
        ([index, "--image", pictures / "texts.txt"], "cannot read the picture"),
        ([index, *like, "--steps", 1], "steps: 1 is not"),
        ([index, *like, "--texts", tmp_path / "none.txt"], "none.txt: there is no such file"),
        ([index, *like, "--texts", tmp_path], "is a folder"),
        ([index, *like, "--texts", tmp_path / "latin.txt"], "not a text file"),
        ([index, *like, "--texts", tmp_path / "empty.txt"], "empty.txt: is empty"),
        ([index, *like, "--texts", tmp_path / "strange.txt"], "knows no word of the 2 texts"),
        ([index, *like, "--data", tmp_path], "pairs.json"),
        ([index, *like, "--figure", "t.jpg"], "t.jpg: a figure is a picture; use a name that ends in .png"),
        ([index, *like, "--figure", "t.png", "--media", tmp_path / "no"], str(tmp_path / "no")),
        ([pictures / "bare", *like], "has no captions, tags, labels or class paths; give --texts FILE"),
        ([pictures / "without", *like], "holds no query encoder for text"),
        ([index, *like, "--texts", tmp_path / "root.txt"], "is the name of the root"),
        ([index, *like, "--json", tmp_path], "cannot write"),
    ]:
        status, _, err = run("traverse", *words)
        assert status == 1 and err.startswith("limbeck: ") and err.count("\n") == 1, (words, err)
        assert message in err, (words, err)


def test_bad_usage_is_status_2(run, pictures):
    like = ["--like", "0.png"]
    for words in [
        [],
        [*like, "--image", "x.png"],
        [*like, "--texts", "x", "--data", "y"],
        ["--features", "x.npy", "--figure", "t.png"],
        [*like, "--media", "x"],
        ["--image", "x.png", "--figure", "t.png", "--media", "x"],
    ]:
        assert run("traverse", pictures / "i", *words)[0] == 2


def test_from_python_one_start_is_wanted(pictures):
    index = limbeck.Index.open(pictures / "i")
    for start in ({}, {"query": "sea", "like": "0.png"}):
        with raises_code("E-QUERY-FORM", "traverse:"):
            index.traverse(**start)
    with raises_code("E-OPTION-CONFLICT", "texts:"):
        index.traverse(like="0.png", texts=[ROOT, "sea"])
