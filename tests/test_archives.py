from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from limbeck.archives import open_archive, read_member
from raising import raises_code


def written(file: Path, names: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return file


def without_flag(file: Path) -> Path:
    """Clear the UTF-8 flag of every member, as older programs that write UTF-8 do."""
    data = bytearray(file.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = data.find(mark)
        while start >= 0:
            data[start + at + 1] &= ~0x08
            start = data.find(mark, start + 4)
    file.write_bytes(data)
    return file


def test_utf8_names_without_their_flag_are_read_as_utf8(tmp_path):
    file = without_flag(written(tmp_path / "a.zip", {"Fähre/猫.jpg": b"cat", "plain.jpg": b"p"}))
    assert zipfile.ZipFile(file).namelist()[0] != "Fähre/猫.jpg"  # what zipfile makes of it
    assert list(open_archive(file).members) == ["Fähre/猫.jpg", "plain.jpg"]
    assert read_member(file, "Fähre/猫.jpg") == b"cat"
    old = zipfile.ZipFile(file).namelist()[0]
    assert read_member(file, old) == b"cat"  # as pairs of earlier versions name it


def test_names_of_another_code_page_stay_as_zipfile_reads_them(tmp_path):
    file = tmp_path / "a.zip"
    written(file, {"xyz.jpg": b"1"})
    file.write_bytes(file.read_bytes().replace(b"xyz.jpg", b"x\x82z.jpg"))
    assert list(open_archive(file).members) == ["xéz.jpg"]


def test_backslashes_of_members_are_separators(tmp_path):
    file = written(tmp_path / "a.zip", {"cats\\1.jpg": b"cat", "dogs\\": b"", "dogs\\1.jpg": b"dog"})
    assert list(open_archive(file).members) == ["cats/1.jpg", "dogs/1.jpg"]
    assert (read_member(file, "dogs/1.jpg"), read_member(file, "cats\\1.jpg")) == (b"dog", b"cat")
    both = written(tmp_path / "b.zip", {"a/1.jpg": b"slash", "a\\1.jpg": b"back"})
    assert (read_member(both, "a/1.jpg"), read_member(both, "a\\1.jpg")) == (b"slash", b"back")


def test_of_members_of_one_name_the_last_counts_and_is_listed(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        file = written(tmp_path / "a.zip", {"1.jpg": b"old"})
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr("1.jpg", b"new")
    assert (open_archive(file).repeated, read_member(file, "1.jpg")) == (("1.jpg",), b"new")


def test_a_pipe_is_no_archive(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    with raises_code("E-PATH-KIND", "pipe.zip:"):
        open_archive(tmp_path / "pipe.zip")
