"""Paths of encode's tables: another spelling of a path is found, another path is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from limbeck.data.pairs import Pairs
from limbeck.encoding import open_source
from limbeck.encoding.places import Places
from limbeck.errors import InputNote, LimbeckError
from tiny_encoder import write_pictures

NFC, NFD = "caf\u00e9", "cafe\u0301"


def places(folder: Path, files: list[str], paths: list[str]) -> list[str]:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    found = Places(folder, lambda: paths)
    return [found.find(path) for path in paths]


@pytest.mark.filterwarnings("ignore::limbeck.errors.InputNote")
def test_another_spelling_of_a_path_is_found(tmp_path):
    files = ["cats/1.jpg", "dogs/1.jpg", f"{NFD}/{NFD}.png", "IMG 2.png", "IMG  2.png", "a\u202f1.png"]
    asked = ["cats\\1.jpg", ".\\dogs\\1.jpg", f"{NFC}/{NFC}.png", "IMG 2.png", "IMG  2.png", "a\u202f1.png"]
    assert places(tmp_path, files, asked) == files


def test_no_other_path_is_taken_for_one_that_is_missing(tmp_path):
    asked = ["val/1.jpg", "1.jpg", "a 1.png", "x/../y.png", "\0"]
    assert places(tmp_path, ["train/1.jpg", "a  1.png"], asked) == asked
    both = [f"{NFC}.png", f"{NFD}.png"]
    assert places(tmp_path / "u", both[:1], both) == both  # the second file is gone


def test_the_path_of_the_file_comes_back_with_a_hit(tmp_path):
    write_pictures(tmp_path / "p", range(2))
    (tmp_path / "t.csv").write_text("path,note\np\\0000.png,a\np/0001.png,b\n")
    source = open_source(tmp_path / "t.csv")
    with pytest.warns(InputNote, match="1 once separators and prefixes were normalised"):
        assert source.open_image(0).size == source.open_image(1).size
    rows = source.items([0, 1]).to_pylist()
    assert [row["path"] for row in rows] == ["p/0000.png", "p/0001.png"]
    assert [row["id"] for row in rows] == ["p\\0000.png", "p/0001.png"]


@pytest.mark.parametrize("inside", ["../secret.png", "/etc/hostname", "a/../../secret.png"])
def test_pairs_open_nothing_outside_of_their_pictures(tmp_path, inside):
    (tmp_path / "secret.png").touch()
    (tmp_path / "photos").mkdir()
    media = {"kind": "folder", "root": str(tmp_path / "photos")}
    Pairs.write(tmp_path / "pairs", {"id": ["1"], "image": [inside]}, {"name": "x", "media": media})
    with pytest.raises(LimbeckError, match="is outside"):
        Pairs.open(tmp_path / "pairs").image_bytes(0)
