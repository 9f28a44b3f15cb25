"""What is no file, too large, or would take the memory: one error that says so, of a kind that is counted."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limbeck.errors import LimbeckError
from limbeck.pictures import Kind, PictureError, decode_picture, open_picture, to_rgb
from limbeck.pictures import open as opening
from limbeck.pictures.open import PixelBudget
from limbeck.regular import regular_file
from raising import raises_code


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A grey PNG of any size, its pixels not complete."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


def refused(data: bytes) -> PictureError:
    with pytest.raises(PictureError) as caught:
        decode_picture(io.BytesIO(data), "x.png")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("x.png: ")
    return caught.value


@pytest.mark.parametrize("shape", [(1_000_000, 1), (100_000_000, 1), (1, 300_000)])
def test_sides_have_a_limit_and_the_reason_is_said(shape):
    error = refused(png(*shape))
    assert (
        error.kind is Kind.TOO_LARGE
        and f"{shape[0]:,} × {shape[1]:,} pixels exceed the limit of 262,144 per side" in str(error)
    )


@pytest.mark.parametrize("shape", [(200_000, 200_000), (2**31 - 1, 2**31 - 1)])
def test_pixels_have_a_limit(shape):
    assert refused(png(*shape)).kind is Kind.TOO_LARGE


def test_kinds_of_faults(tmp_path):
    assert refused(b"no picture at all").kind is Kind.NOT_PICTURE
    assert refused(png(8, 8)).kind is Kind.DAMAGED
    assert refused(png(8, 8)[:40]).kind is Kind.DAMAGED
    assert (
        refused(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n").kind is Kind.NOT_PICTURE
    )
    with pytest.raises(PictureError) as caught:
        open_picture(tmp_path / "no.png")
    assert caught.value.kind is Kind.MISSING


def test_memory_that_runs_out_costs_one_picture(monkeypatch):
    def none_left(image: Image.Image) -> Image.Image:
        raise MemoryError

    monkeypatch.setattr(opening, "to_rgb", none_left)
    assert refused(png(1, 1, b"\0\0")).kind is Kind.TOO_LARGE


def test_devices_pipes_and_folders_are_refused_and_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for place, what in (
        (Path("/dev/zero"), "a device"),
        (tmp_path / "pipe.png", "a pipe"),
        (tmp_path, "a folder"),
    ):
        with pytest.raises(PictureError, match=f"is {what}, not a regular file") as caught:
            open_picture(place)
        assert caught.value.kind is Kind.NOT_REGULAR
        with pytest.raises(LimbeckError, match=what):
            regular_file(place)
    (tmp_path / "a").touch()
    (tmp_path / "b").symlink_to("a")
    assert regular_file(tmp_path / "b") == tmp_path / "b"


def test_a_member_far_larger_than_its_picture_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "PLAIN_BYTES", 1000)
    small = io.BytesIO()
    Image.new("RGB", (4, 4)).save(small, "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", small.getvalue() + bytes(100_000))
        archive.writestr("zeros.png", bytes(100_000))
        archive.writestr("good.png", small.getvalue() + bytes(900))
    unpacked: list[str] = []
    real = opening.read_member
    monkeypatch.setattr(
        opening, "read_member", lambda archive, member: (unpacked.append(member), real(archive, member))[1]
    )
    for name in ("bomb.png", "zeros.png"):
        with pytest.raises(PictureError, match="too many for its picture") as caught:
            open_picture(name, archive=tmp_path / "a.zip")
        assert caught.value.kind is Kind.TOO_LARGE
    assert open_picture("good.png", archive=tmp_path / "a.zip").size == (4, 4) and unpacked == ["good.png"]


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "La", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "I", "F"]
)
def test_strips_give_the_pixels_of_the_whole(mode, monkeypatch):
    rng = np.random.default_rng(1)
    if mode in ("I;16", "I", "F"):
        values = rng.integers(0, 65536, (37, 23))
        image = Image.fromarray(values.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    else:
        colours = Image.fromarray(rng.integers(0, 256, (37, 23, 4), dtype=np.uint8))
        image = (
            colours.convert("LA").convert("La")
            if mode == "La"
            else colours.convert(mode if mode in ("RGBA", "LA") else "RGB").convert(mode)
        )
    if mode == "P":
        image.info["transparency"] = 3
    whole = np.asarray(to_rgb(image))
    seen: list[int] = []
    real = Image.Image.convert
    monkeypatch.setattr(
        Image.Image, "convert", lambda strip, *mode: (seen.append(strip.height), real(strip, *mode))[1]
    )
    monkeypatch.setattr(opening, "STRIP_PIXELS", 100)
    assert np.array_equal(np.asarray(to_rgb(image)), whole)
    assert max(seen) <= 4 or mode == "RGB"


def test_deep_grey_is_scaled_without_a_float_copy_of_the_whole(monkeypatch):
    monkeypatch.setattr(opening, "STRIP_PIXELS", 1000)
    seen: list[int] = []
    real = np.nan_to_num
    monkeypatch.setattr(np, "nan_to_num", lambda x, **given: (seen.append(x.size), real(x, **given))[1])
    to_rgb(Image.fromarray(np.arange(10_000, dtype=np.uint16).reshape(100, 100)))
    assert sum(seen) == 20_000 and max(seen) <= 1000


def test_room_is_shared_and_a_picture_larger_than_it_waits_until_it_is_alone():
    room = PixelBudget(10)
    order: list[str] = []
    inside, leave = threading.Event(), threading.Event()

    def large() -> None:
        with room.hold(1000):
            order.append("large")

    def small() -> None:
        with room.hold(4), room.hold(9):  # a thread that holds some does not wait for itself
            inside.set()
            leave.wait(10)
            order.append("small")

    first = threading.Thread(target=small)
    first.start()
    assert inside.wait(10) and room.free == -3
    second = threading.Thread(target=large)
    second.start()
    leave.set()
    first.join(10)
    second.join(10)
    assert order == ["small", "large"] and room.free == 10


def test_room_is_kept_while_a_thread_works_on_with_its_pictures():
    room = PixelBudget(10)
    with room.keep():
        with room.hold(3):
            pass
        with room.keep(), room.hold(2):
            pass
        assert room.free == 5
    assert room.free == 10
    with pytest.raises(ValueError), room.keep(), room.hold(3):
        raise ValueError
    assert room.free == 10


@pytest.mark.parametrize("name", ["codes.npy", "codes.npz", "table.parquet"])
def test_arrays_and_tables_are_not_read_from_pipes(tmp_path, name):
    from limbeck.evaluation.codes_file import read_codes
    from limbeck.index.arrays import open_npy
    from limbeck.tables.arrow import open_parquet

    os.mkfifo(tmp_path / name)
    reader = {".npy": open_npy, ".npz": read_codes, ".parquet": open_parquet}[Path(name).suffix]
    with raises_code("E-PATH-KIND", name):
        reader(tmp_path / name)


def test_odd_exif_costs_no_picture_and_is_not_printed(tmp_path):
    """Pillow warns of it and names no file; in a process of its own, since pytest sets the filters anew."""
    file = tmp_path / "odd.jpg"
    exif = b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0"  # two entries are promised, the first is cut
    Image.new("RGB", (8, 8), "red").save(file, exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        Image.open(file).getexif()
    code = "import sys; from limbeck.pictures import open_picture; print(open_picture(sys.argv[1]).size)"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(8, 8)\n", "")
