"""The verbs `index`, `search` and `encode`, run as a user runs them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def files(tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, (30, 8), dtype=np.uint8)
    np.save(tmp_path / "codes.npy", codes)
    np.save(tmp_path / "queries.npy", codes[:2])
    (tmp_path / "ids.txt").write_text("".join(f"bild-{i}-ü\n" for i in range(30)), encoding="utf-8")
    return tmp_path


def build(run, files):
    return run(
        "index", "build", "--codes", files / "codes.npy", "--ids", files / "ids.txt", "--out", files / "i"
    )


def test_codes_from_elsewhere_from_file_to_hits(run, files):
    status, out, _ = build(run, files)
    assert status == 0 and "30 items" in out and "limbeck search" in out
    status, out, _ = run("index", "info", files / "i", "--json", files / "info.json")
    assert status == 0 and "hamming (64 bits)" in out
    assert json.loads((files / "info.json").read_text())["items"] == 30
    status, out, _ = run("index", "verify", files / "i")
    assert status == 0 and "3 files" in out
    status, out, _ = run(
        "search", files / "i", "--codes", files / "queries.npy", "-k", 3, "--json", files / "hits.json"
    )
    assert status == 0 and "bild-0-ü" in out and "distance" in out
    value = json.loads((files / "hits.json").read_text())
    assert [len(result["hits"]) for result in value["results"]] == [3, 3]
    assert value["results"][1]["hits"][0] == {"rank": 1, "id": "bild-1-ü", "score": 0, "metadata": {}}
    status, out, _ = run("search", files / "i", "--like", "bild-4-ü", "-k", 2)
    assert status == 0 and "bild-4-ü" not in out.split("rank")[1]


def test_failures_are_one_line_and_status_1(run, files):
    build(run, files)
    np.save(files / "narrow.npy", np.zeros((1, 4), np.uint8))
    (files / "short.txt").write_text("a\nb\n")
    (files / "twice.txt").write_text("a\n" * 30)
    (files / "gap.txt").write_text("a\n\n" + "b\n" * 28)
    (files / "latin.txt").write_bytes(b"\xe4\0\n" * 30)
    np.save(files / "objects.npy", np.array([{}]), allow_pickle=True)
    Image.new("RGB", (8, 8)).save(files / "picture.png")
    np.save(files / "bits.npy", np.eye(30, 64, dtype=np.uint8))
    new = ["--out", files / "new"]
    codes = ["--codes", files / "codes.npy"]
    for words, message in [
        (["search", files / "nothing", "--like", "x"], "no such index directory"),
        (["search", files / "i", "words"], "holds no query encoder"),
        (["search", files / "i", "--codes", files / "narrow.npy"], "width 4"),
        (["search", files / "i", "--codes", files / "objects.npy"], "objects.npy: is not readable"),
        (["search", files / "i", "--codes", files / "ids.txt"], "ids.txt: is not a .npy array"),
        (["search", files / "i", "--like", "bild-0-ü", "-k", 0], "k: 0"),
        (["search", files / "i", "--like", "nobody"], "no item with id 'nobody'"),
        (["search", files / "i", "--like", "bild-0-ü", "--gallery", files / "g.html"], "ends in .png"),
        (["index", "build", *codes, "--ids", files / "short.txt", *new], "2 ids, but"),
        (["index", "build", *codes, "--ids", files / "twice.txt", *new], "'a' is in lines 1 and 2"),
        (["index", "build", *codes, "--ids", files / "gap.txt", *new], "line 2 is empty"),
        (["index", "build", *codes, "--ids", files / "latin.txt", *new], "not a text file"),
        (["index", "build", *codes, "--ids", files / "ids.txt", "--out", files / "i"], "already exists"),
        (["index", "build", "--codes", files / "bits.npy", "--ids", files / "ids.txt", *new], "only 0 and 1"),
        (
            ["search", files / "i", "--like", "x", "--gallery", "g.png", "--media", files / "no"],
            "no such folder",
        ),
        (["search", files / "nodir" / "typo", "words"], "no such index directory"),
        (["encode", files / "typo", files, *new], "no such run or model directory"),
        (["index", "verify", files], "is not an index"),
    ]:
        status, _, err = run(*words)
        assert status == 1 and err.startswith("limbeck: ") and err.count("\n") == 1, (words, err)
        assert message in err
    assert not (files / "new").exists()


def test_bad_usage_is_status_2(run, files):
    for words in [
        ["search", files],
        ["search", files, "words", "--codes", "x"],
        ["search", files, "words", "--media", files],
        ["encode", files, files, "--split", "query", "--out", files / "x"],
        ["index", "build", files, "--model", files, "--split", "query", "--out", files / "x"],
        ["index", "build", "--out", files / "x"],
        ["index", "build", files, "--codes", files, "--ids", files, "--out", files / "x"],
        ["index", "build", "--codes", files, "--out", files / "x"],
        ["index", "build", "--codes", files, "--ids", files, "--model", files, "--out", files / "x"],
    ]:
        assert run(*words)[0] == 2


def test_verify_names_a_damaged_file(run, files):
    build(run, files)
    file = next((files / "i/segments").glob("*/points.npy"))
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    status, _, err = run("index", "verify", files / "i")
    assert status == 1 and file.relative_to(files / "i").as_posix() in err


def test_pictures_and_their_gallery(run, tmp_path):
    from limbeck.encoders.config import BagConfig, ClipImageConfig, TowerConfig
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoders.lift_config import SphereConfig
    from limbeck.encoders.lifts import build_lift
    from limbeck.encoders.towers import Tower

    (tmp_path / "media/deep").mkdir(parents=True)
    for i in range(6):
        Image.new("RGB", (40, 20 + 10 * i), (40 * i, 100, 200)).save(tmp_path / f"media/deep/{i}.png")
    (tmp_path / "media/broken.jpg").write_bytes(b"nothing")
    shape = ClipImageConfig(image_size=16, patch_size=8, width=16, layers=1, heads=2)
    image, text = (
        Tower(TowerConfig(backbone=shape), "image"),
        Tower(TowerConfig(backbone=BagConfig()), "text"),
    )
    image.fit([], seed=0)
    text.fit(["sea", "sky"] * 2, seed=0)
    model = DualEncoder(image, text, build_lift(SphereConfig(dim=8), {"image": image.dim, "text": text.dim}))
    model.save(tmp_path / "model")

    status, out, err = run("encode", tmp_path / "model", tmp_path / "media", "--out", tmp_path / "e")
    assert status == 0 and "6 items" in out and "1 item(s) skipped" in err and "broken.jpg" in err
    status, out, _ = run(
        "index", "build", tmp_path / "e", "--model", tmp_path / "model", "--out", tmp_path / "i"
    )
    assert status == 0
    gallery = tmp_path / "g.png"
    status, out, _ = run("search", tmp_path / "i", "the sea", "-k", 4, "--gallery", gallery)
    assert status == 0 and "similarity" in out and str(gallery) in out
    with Image.open(gallery) as sheet:
        assert sheet.width > 4 * 168 and sheet.getextrema() != ((255, 255),) * 3
    status, _, err = run("search", tmp_path / "i", "--image", tmp_path / "media/broken.jpg")
    assert status == 1 and "broken.jpg: cannot read the picture" in err
    status, out, _ = run("search", tmp_path / "i", "--image", tmp_path / "media/deep/2.png", "-k", 1)
    assert status == 0 and "deep/2.png" in out and "1.0000" in out
    status, _, err = run("search", tmp_path / "i", "zebra")
    assert status == 1 and "the model knows none of its words" in err
    status, _, err = run("encode", tmp_path / "model", tmp_path / "media", "--out", tmp_path / "e")
    assert status == 1 and "already exists" in err
