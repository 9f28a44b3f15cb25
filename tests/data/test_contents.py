"""What lies behind a pairs table: any change is named, a copy is none."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from limbeck.data import contents as module
from limbeck.data import digests
from limbeck.data.contents import Contents
from limbeck.data.pairs import Pairs
from limbeck.data.protocols import load_protocol
from limbeck.files import sha256_file
from raising import raises_code
from tiny import write_pairs

PROTOCOL = load_protocol("folder/hashing")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "own", rows=20, pictures=8)


def look(pairs: Path, rows: int = 20) -> Contents:
    return Contents.of(Pairs.open(pairs), PROTOCOL, [np.arange(rows)])


def test_what_is_saved_is_read_again(tmp_path: Path, own: Path) -> None:
    found = look(own)
    assert len(found.pictures) == 20
    assert found.features["cnn"]["sha256"] == sha256_file(tmp_path / "own/cnn.npy")
    (tmp_path / "run").mkdir()
    found.save(tmp_path / "run")
    assert Contents.load(tmp_path / "run") == found
    assert Contents.load(tmp_path) is None
    (tmp_path / "run/pictures.parquet").write_bytes(b"PAR1")
    with raises_code("E-RUN-DAMAGED", "data.json"):
        Contents.load(tmp_path / "run")


def test_pictures_of_other_rows_do_not_count(own: Path) -> None:
    assert list(look(own, 3).pictures) == ["0.png", "1.png", "2.png"]
    assert Contents.of(Pairs.open(own), PROTOCOL).pictures == {}


@pytest.mark.parametrize("read_all", [True, False])
def test_changes(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read_all: bool) -> None:
    if not read_all:
        monkeypatch.setattr(module, "READ_ALL", 0)
        monkeypatch.setattr(module, "SAMPLE", 4)
    media = tmp_path / "own/media"
    before = look(own)
    assert sum(digest is not None for *_, digest in before.pictures.values()) == (20 if read_all else 4)
    content = bytearray((media / "7.png").read_bytes())
    content[-20] ^= 1
    (media / "7.png").write_bytes(content)
    (media / "9.png").unlink()
    with (media / "11.png").open("ab") as stream:
        stream.write(b"x")
    found = before.changes(look(own))
    assert sorted(found.files) == ["11.png", "7.png", "9.png"]
    assert found.other == []


def test_new_dates_throughout_are_a_copy_unless_what_was_read_differs(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "READ_ALL", 0)
    monkeypatch.setattr(module, "SAMPLE", 4)
    media, before = tmp_path / "own/media", look(own)
    for picture in media.iterdir():
        os.utime(picture)
    found = before.changes(look(own))
    assert (found.files, found.copied, found.read) == ([], 16, 4)
    read = next(name for name, (*_, digest) in before.pictures.items() if digest is not None)
    content = bytearray((media / read).read_bytes())
    content[-20] ^= 1
    (media / read).write_bytes(content)
    assert before.changes(look(own)).files[:1] == [read]


def test_members_of_a_zip_by_their_checksums(tmp_path: Path, own: Path) -> None:
    def pack(change: str = "") -> None:
        with zipfile.ZipFile(tmp_path / "media.zip", "w") as archive:
            for picture in sorted((tmp_path / "own/media").iterdir()):
                content = bytearray(picture.read_bytes())
                content[-20] ^= picture.name == change
                archive.writestr(picture.name, bytes(content))

    pairs = Pairs.open(own)
    pairs.meta["media"] = {"kind": "zip", "root": str(tmp_path / "media.zip")}
    pack()
    before = Contents.of(pairs, PROTOCOL, [np.arange(20)])
    pack()
    assert before.changes(Contents.of(pairs, PROTOCOL, [np.arange(20)])).files == []
    pack("5.png")
    os.utime(tmp_path / "media.zip", ns=(1, 1))  # another time, so that it is opened again
    assert before.changes(Contents.of(pairs, PROTOCOL, [np.arange(20)])).files == ["5.png"]


def test_large_files_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "ALWAYS_READ", 3)
    file = tmp_path / "big.npy"
    file.write_bytes(b"12345")
    calls: list[Path] = []

    def counted(path: Path) -> str:
        calls.append(path)
        return sha256_file(path)

    monkeypatch.setattr(digests, "sha256_file", counted)
    one = digests.file_digest(file, tmp_path / "cache")
    assert digests.file_digest(file, tmp_path / "cache") == one == sha256_file(file)
    assert len(calls) == 1
    file.write_bytes(b"12346")
    os.utime(file, ns=(1, 1))
    assert digests.file_digest(file, tmp_path / "cache") == sha256_file(file) != one
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("no folder")
    assert digests.file_digest(file, tmp_path / "cache") == sha256_file(file)
