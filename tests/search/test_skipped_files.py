"""Odd pictures in a folder: each is in the index, or named with its reason; the rest of the build goes on."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

import limbeck
from limbeck.index.encoded import read_skipped
from limbeck.pictures import Kind, resize_center
from tiny_encoder import pixel_encoder, write_pictures


def header_of(width: int, height: int) -> bytes:
    """A PNG without pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return start + bytes(4) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_pictures(folder, range(3))
    Image.new("L", (60_000, 1), 200).save(folder / "long.png")
    Image.new("L", (1_000_000, 1), 200).save(folder / "longer.png")
    (folder / "longest.png").write_bytes(header_of(100_000_000, 1))
    Image.effect_noise((64, 64), 90).save(folder / "cut.png")
    (folder / "cut.png").write_bytes((folder / "cut.png").read_bytes()[:2000])
    (folder / "text.jpg").write_text("no picture")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").touch()
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    (folder / "here").symlink_to(folder)
    Image.new("RGB", (20, 30)).save(folder / "odd.jfif")
    return folder


IN = ["0000.png", "0001.png", "0002.png", "long.png", "odd.jfif"]
SKIPPED = "4 item(s) skipped (2 too large, 1 damaged, 1 not a picture)"
PASSED = (
    "photos: skipped: 1 not a picture (notes.txt), 1 hidden (.hidden.png), 1 linked folder (here), "
    "1 broken link (gone.png)"
)


def test_build_add_and_encode_count_what_is_not_taken(run, photos, tmp_path):
    pixel_encoder().save(tmp_path / "model")
    status, out, err = run("encode", tmp_path / "model", photos, "--out", tmp_path / "e")
    assert status == 0 and "5 items" in out and PASSED in err
    assert f"{SKIPPED}, listed in {tmp_path / 'e' / 'skipped.jsonl'}" in err
    kinds = {entry["id"]: entry["kind"] for entry in read_skipped(tmp_path / "e")}
    assert kinds == {
        "cut.png": "damaged", "longer.png": "too large", "longest.png": "too large",
        "text.jpg": "not a picture",
    }  # fmt: skip
    model = ("--model", tmp_path / "model")
    status, out, err = run("index", "build", photos, *model, "--out", tmp_path / "i")
    assert status == 0 and "5 items" in out and SKIPPED in err and PASSED in err
    assert (
        "skipped longer.png" in err
        and "1,000,000 × 1 pixels exceed the limit of 262,144 per side; scale it down" in err
    )
    index = limbeck.Index.open(tmp_path / "i")
    assert [item["id"] for item in index.store.metadata(range(5))] == IN
    status, out, err = run("index", "add", tmp_path / "i", photos, "--replace")
    assert (
        status == 0
        and "5 item(s) added, 5 of them replaced older ones" in out
        and SKIPPED in err
        and PASSED in err
    )
    status, out, _ = run("search", tmp_path / "i", "--image", photos / "odd.jfif", "-k", 1)
    assert status == 0 and "odd.jfif" in out
    status, _, err = run("search", tmp_path / "i", "--image", "/dev/zero")
    assert status == 1 and "/dev/zero: is a device, not a regular file" in err


def test_memory_that_runs_out_on_one_picture_is_its_reason_only(photos, tmp_path, monkeypatch):
    def scarce(image: Image.Image, size: int) -> Image.Image:
        if image.width == 60_000:
            raise MemoryError
        return resize_center(image, size)

    monkeypatch.setattr("limbeck.preprocess.pixels.resize_center", scarce)
    skipped = {}
    index = limbeck.Index.build(tmp_path / "i", photos, model=pixel_encoder(), on_skip=skipped.setdefault)
    assert len(index) == 4 and skipped["long.png"].kind is Kind.TOO_LARGE
    assert "not enough memory" in skipped["long.png"]
