"""`--replace` and leftovers: what limbeck did not write is there afterwards, byte by byte, for every verb."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limbeck.encoders.cache import BackboneCache
from limbeck.encoding import encode_source
from limbeck.index.encoded import Encoded
from limbeck.search import Index
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures

pytestmark = pytest.mark.filterwarnings("ignore::limbeck.errors.InputNote")


def tree(root: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(root.rglob("*"))
        if "cache" not in path.parts[len(root.parts)]
    }


@pytest.fixture(scope="module")
def encoder():
    return pixel_encoder()


@pytest.fixture(scope="module")
def model(encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "m"
    encoder.save(folder, graphs=True)
    return folder


@pytest.fixture
def photos(tmp_path):
    write_pictures(tmp_path / "photos", range(3))
    (tmp_path / "photos/captions.csv").write_text("image,caption\n0000.png,a\n0001.png,b\n0002.png,c\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/thesis.txt").write_text("mine")
    return tmp_path / "photos"


def test_no_verb_replaces_what_limbeck_did_not_write(run, photos, tmp_path, model):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe/recipe.yaml").write_text("name: mine\n")
    docs = tmp_path / "docs"
    before = tree(tmp_path)
    for words in (
        ("data", "import", "folder", photos, photos, "--replace"),
        ("data", "import", "folder", photos, docs, "--replace"),
        ("data", "import", "folder", photos, photos / "..", "--replace"),
        ("data", "import", "folder", photos, docs / "thesis.txt", "--replace"),
        ("data", "scenes", docs, "--n", 12, "--replace"),
        ("encode", model, photos, "--out", docs, "--replace"),
        ("encode", model, photos, "--out", photos, "--replace"),
        ("encode", model, photos, "--out", tmp_path, "--replace"),
        ("encode", model, photos, "--out", model, "--replace"),
        ("index", "build", photos, "--model", model, "--out", photos, "--replace"),
        ("index", "build", photos, "--model", model, "--out", docs, "--replace"),
        ("index", "build", photos, "--model", model, "--out", tmp_path, "--replace"),
        ("train", "demo/student-clip", "--data", photos, "--out", docs),
        ("demo", "--out", docs),
        ("demo", "--out", docs / "thesis.txt"),
    ):
        status, _, err = run(*words)
        assert status == 1 and err.startswith("limbeck: ") and err.count("\n") == 1, (words, err)
        assert tree(tmp_path) == before, words
    assert sorted(file.name for file in model.iterdir()) == [
        "image",
        "model.json",
        "model.safetensors",
        "onnx",
        "text",
    ]


def test_a_place_is_refused_by_name(run, tmp_path, monkeypatch, photos):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    before = tree(tmp_path)
    for out, says in ((".", "the current directory"), ("-", "standard output"), ("x" * 300, "300 bytes")):
        for words in (("data", "import", "folder", photos, out), ("data", "scenes", out, "--n", 12)):
            status, _, err = run(*words)
            assert status == 1 and says in err, (words, err)
    np.save(tmp_path / "codes.npy", np.zeros((1, 1), np.uint8))
    (tmp_path / "ids.txt").write_text("a\n")
    codes = ("--codes", tmp_path / "codes.npy", "--ids", tmp_path / "ids.txt")
    for words in (
        ("index", "build", *codes, "--out", "x" * 300),
        ("index", "build", "y" * 300, "--model", "z" * 300, "--out", "i"),
        ("search", "x" * 300, "words"),
        ("train", "demo/student-clip", "--data", photos, "--out", "x" * 300),
        ("data", "check", "x" * 300),
        ("evaluate", "x" * 300),
        ("compare", "x" * 300),
    ):
        status, _, err = run(*words)
        assert status == 1 and err.startswith("limbeck: ") and err.count("\n") == 1, (words, err)
        assert "300 bytes" in err or "File name too long" in err or "no such" in err, (words, err)
    assert {name for name in tree(tmp_path) if name not in before} == {"codes.npy", "ids.txt"}


def test_what_limbeck_wrote_is_replaced(run, photos, tmp_path, model):
    for _ in range(2):
        out = tmp_path / "pairs"
        assert run("data", "import", "folder", photos, out, "--replace")[0] == 0
        assert run("encode", model, photos, "--out", tmp_path / "set", "--replace")[0] == 0
    (tmp_path / "pairs/notes.txt").write_text("mine")
    status, _, err = run("data", "import", "folder", photos, tmp_path / "pairs", "--replace")
    assert status == 1 and "contains notes.txt, which limbeck did not write" in err
    assert (tmp_path / "pairs/notes.txt").read_text() == "mine"
    assert len(Encoded.open(tmp_path / "set")) == 3


def test_a_model_is_saved_over_a_model_alone(encoder, tmp_path):
    (tmp_path / "models/mine").mkdir(parents=True)
    (tmp_path / "models/mine/weights.bin").write_bytes(b"mine")
    before = tree(tmp_path)
    with raises_code("E-PATH-EXISTS", "models:"):
        encoder.save(tmp_path / "models")
    assert tree(tmp_path) == before
    encoder.save(tmp_path / "m")
    encoder.save(tmp_path / "m")  # its own may be
    Image.new("RGB", (2, 2)).save(tmp_path / "m/image/mine.png")
    before = tree(tmp_path)
    with raises_code("E-PATH-EXISTS", "image/mine.png"):
        encoder.save(tmp_path / "m")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    "names",
    [
        ["mine.txt"],
        ["progress.json"],
        ["000000/photo.jpg"],
        ["writer.lock", "mine/a.txt"],
        ["000000.jsonl", "b.jsonl"],
    ],
)
def test_a_folder_named_part_that_is_no_encoding_stays(encoder, photos, tmp_path, names):
    for name in names:
        (tmp_path / "set.part" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set.part" / name).write_text('{"mine": 1}')
    before = tree(tmp_path)
    with raises_code("E-ENCODE-UNFINISHED", "set.part"):
        encode_source(encoder, photos, tmp_path / "set")
    assert tree(tmp_path) == before


def test_a_link_named_part_is_refused(encoder, photos, tmp_path):
    (tmp_path / "set.part").symlink_to(tmp_path / "docs")
    with raises_code("E-ENCODE-UNFINISHED", "set.part:"):
        encode_source(encoder, photos, tmp_path / "set")
    assert tree(tmp_path / "docs") == {"thesis.txt": b"mine"}


def test_what_a_killed_encoding_left_is_taken_up(encoder, photos, tmp_path):
    (tmp_path / "set.part/.000000.0123abcd.tmp").mkdir(parents=True)
    (tmp_path / "set.part/.000000.0123abcd.tmp/points.npy").write_bytes(b"half")
    (tmp_path / "set.part/writer.lock").touch()
    assert len(encode_source(encoder, photos, tmp_path / "set")) == 3
    assert not (tmp_path / "set.part").exists()


def test_pruning_removes_what_the_cache_wrote_alone(tmp_path):
    folder, outside = tmp_path / "kept", tmp_path / "outside"
    (folder / ("texts-" + "a" * 32)).mkdir(parents=True)
    (folder / "texts-mine").mkdir()
    outside.mkdir()
    ours = ["0" * 32 + ".npy", "texts-" + "a" * 32 + "/" + "b" * 16 + ".npz"]
    theirs = [
        "mine.npy",
        "features.npy",
        "A" * 32 + ".npy",
        "texts-mine/a.npz",
        ours[1] + ".bak",
        ".mine.tmp",
    ]
    for name in [*ours, *theirs]:
        np.save(folder / "x.npy", np.zeros(2))
        (folder / "x.npy").rename(folder / name)
    (outside / ("c" * 16 + ".npz")).write_bytes(b"mine")
    (folder / ("texts-" + "d" * 32)).symlink_to(outside)
    (folder / ("e" * 32 + ".npy")).symlink_to(folder / "mine.npy")
    for file in folder.rglob("*"):
        if not file.is_symlink():
            os.utime(file, (0, 0))
    cache = BackboneCache(folder)
    assert {file.relative_to(folder).as_posix() for file in cache.prune(1)} == set(ours)
    cache.sweep()
    assert all((folder / name).exists() for name in theirs) and len(list(outside.iterdir())) == 1
    assert not any((folder / name).exists() for name in ours)


def test_an_index_in_a_folder_of_pictures(encoder, tmp_path):
    """A user's folders `segments` and `encoders`, of pictures, under the --out that is asked for."""
    write_pictures(tmp_path / "proj/segments", range(2))
    write_pictures(tmp_path / "proj/encoders", range(2))
    before = tree(tmp_path)
    for source in (tmp_path / "proj/segments", tmp_path / "proj"):
        with raises_code("E-PATH-OVERLAP", "proj:"):
            Index.build(tmp_path / "proj", source, model=encoder, replace=True)
        assert tree(tmp_path) == before
