"""`limbeck index add`, `remove`, `compact` and `export`, run as a user runs them."""

from __future__ import annotations

import numpy as np
import pytest

import limbeck
from limbeck.encoding import encode_source
from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.search import add_items
from raising import raises_code
from tiny_encoder import pixel_encoder, write_pictures


@pytest.fixture(scope="module")
def encoder():
    return pixel_encoder()


@pytest.fixture
def index(tmp_path, encoder):
    """An index of the pictures 0 to 9 below ``photos/old``."""
    write_pictures(tmp_path / "photos/old", range(10))
    return limbeck.Index.build(tmp_path / "i", tmp_path / "photos", model=encoder).store.path


def test_a_folder_below_the_media_root_joins(run, index, tmp_path, encoder):
    write_pictures(tmp_path / "photos/new", range(10, 15))
    (tmp_path / "photos/new/bad.png").write_bytes(b"no")
    status, out, err = run("index", "add", index, tmp_path / "photos/new", "--batch-size", 2)
    assert status == 0 and "5 item(s) added" in out and "skipped new/bad.png: " in err
    store = IndexStore.open(index)
    assert [item["id"] for item in store.metadata(range(8, 12))] == [
        "old/0008.png", "old/0009.png", "new/0010.png", "new/0011.png",
    ]  # fmt: skip
    alone = encoder.encode_image([tmp_path / f"photos/new/00{i}.png" for i in range(10, 15)])
    np.testing.assert_allclose(store.points[1], alone, atol=1e-6)
    opened = limbeck.Index.open(index)
    hit = opened.search(image=tmp_path / "photos/new/0012.png", k=1)[0]
    assert hit.id == "new/0012.png" and opened.picture(hit).size == (20, 30)
    # the whole folder again: what is known is refused before anything is encoded
    status, _, err = run("index", "add", index, tmp_path / "photos")
    assert status == 1 and "15 ids ('new/0010.png'" in err and "--replace" in err and "%" not in err
    status, out, _ = run("index", "add", index, tmp_path / "photos", "--replace")
    assert status == 0 and "15 item(s) added, 15 of them replaced older ones" in out
    assert len(IndexStore.open(index)) == 15 and IndexStore.open(index).verify()


def test_pictures_from_elsewhere_and_their_mend(run, index, tmp_path):
    write_pictures(tmp_path / "more", range(3))
    status, _, err = run("index", "add", index, tmp_path / "more")
    assert status == 1 and f"limbeck index compact {index} --media-root {tmp_path} makes both" in err
    assert run("index", "compact", index, "--media-root", tmp_path)[0] == 0
    assert run("index", "add", index, tmp_path / "more")[0] == 0
    opened = limbeck.Index.open(index)
    assert {opened.picture(opened.item(name)).size for name in ("old/0003.png", "more/0001.png")} == {
        (20, 30)
    }
    status, out, _ = run("index", "info", index)
    assert status == 0 and "13 (image) in 2 segment(s), generation 3, format 1" in out


def test_an_encoded_set_joins_if_it_is_of_the_same_model(index, tmp_path, encoder):
    write_pictures(tmp_path / "photos/new", range(10, 13))
    encode_source(encoder, tmp_path / "photos/new", tmp_path / "e")
    assert add_items(index, tmp_path / "e").items == 3
    item = IndexStore.open(index).metadata([10], ["file_state"])[0]
    assert item == {"id": "0010.png", "path": "new/0010.png"}
    encode_source(pixel_encoder(seed=1), tmp_path / "photos/new", tmp_path / "e1")
    with pytest.raises(LimbeckError, match=r"are of space \w{8}, the new ones of space \w{8}; encode"):
        add_items(index, tmp_path / "e1")
    with pytest.raises(LimbeckError, match="encodes with its stored model"):
        add_items(index, tmp_path / "photos/new", model=encoder)


def test_points_join_with_the_model_that_made_them(index, tmp_path, encoder):
    points = encoder.encode_image([tmp_path / "photos/old/0001.png"])
    assert add_items(index, points, items={"id": ["a"]}, model=encoder).items == 1
    with pytest.raises(LimbeckError, match="the new ones of no known model"):
        add_items(index, points, items={"id": ["b"]})
    with raises_code("E-ARRAY-SHAPE", "width 4"):
        add_items(index, points[:, :4], items={"id": ["b"]}, model=encoder)
    with raises_code("E-TABLE-COLUMN", "index:"):
        add_items(index, points, model=encoder)


def test_codes_from_elsewhere(run, tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, (40, 8), dtype=np.uint8)
    for name, part in (("a", slice(0, 30)), ("b", slice(30, 40))):
        np.save(tmp_path / f"{name}.npy", codes[part])
        (tmp_path / f"{name}.txt").write_text("".join(f"n{i}\n" for i in range(40)[part]))
    given = {name: ("--codes", tmp_path / f"{name}.npy", "--ids", tmp_path / f"{name}.txt") for name in "ab"}
    assert run("index", "build", *given["a"], "--out", tmp_path / "i")[0] == 0
    assert run("index", "add", tmp_path / "i", *given["b"])[0] == 0
    status, _, err = run("index", "add", tmp_path / "i", *given["b"])
    assert status == 1 and "10 ids ('n30', 'n31', 'n32', 'n33', 'n34', …) are in it already" in err
    status, out, _ = run("index", "remove", tmp_path / "i", "n1", "n39")
    assert status == 0 and "2 item(s) removed" in out
    status, _, err = run("index", "remove", tmp_path / "i", "n1", "n2", "zero")
    assert status == 1 and "no item with id 'n1', 'zero'; nothing was removed" in err
    status, out, _ = run("index", "info", tmp_path / "i")
    assert "38 (image) in 2 segment(s)" in out and "2 row(s), on disk" in out
    status, out, _ = run("index", "compact", tmp_path / "i")
    assert status == 0 and "merged into one segment" in out
    assert "nothing to do" in run("index", "compact", tmp_path / "i")[1]
    (tmp_path / "gone.txt").write_text("n2\nn3\n")
    assert run("index", "remove", tmp_path / "i", "--ids", tmp_path / "gone.txt")[0] == 0
    assert "0 item(s) removed" in run("index", "remove", tmp_path / "i", "--where", "id = 'n2'")[1]
    for wrong in (
        ("remove",),
        ("remove", "a", "--where", "id = 'a'"),
        ("add",),
        ("add", tmp_path, "--model", "x"),
    ):
        assert run("index", wrong[0], tmp_path / "i", *wrong[1:])[0] == 2
    with pytest.raises(LimbeckError, match="holds no model to encode with"):
        write_pictures(tmp_path / "photos", range(1))
        add_items(tmp_path / "i", tmp_path / "photos")


def test_export_to_a_file(run, index, tmp_path):
    status, out, _ = run("index", "export", index, tmp_path / "out.npy")
    assert status == 0 and f"written to {tmp_path / 'out.npy'} and {tmp_path / 'out.ids.txt'}" in out
    assert np.load(tmp_path / "out.npy").shape == (10, 8)
