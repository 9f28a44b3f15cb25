from __future__ import annotations

import io
import multiprocessing
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_samples import picture
from PIL import Image

from limbeck import archives
from limbeck.errors import LimbeckError
from limbeck.pictures import normalize_text, open_picture


def saved(image: Image.Image, file: Path, **options: object) -> Image.Image:
    image.save(file, **options)
    return open_picture(file)


def refused(*args: object, **options: object) -> str:
    with pytest.raises(LimbeckError) as caught:
        open_picture(*args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(tmp_path, orientation):
    marked = Image.new("RGB", (40, 20), "black")
    marked.paste("white", (0, 0, 10, 10))  # a white corner at the top left of the upright picture
    stored = {
        1: marked,
        2: marked.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: marked.transpose(Image.Transpose.ROTATE_180),
        4: marked.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: marked.transpose(Image.Transpose.TRANSPOSE),
        6: marked.transpose(Image.Transpose.ROTATE_90),
        7: marked.transpose(Image.Transpose.TRANSVERSE),
        8: marked.transpose(Image.Transpose.ROTATE_270),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = saved(stored, tmp_path / "a.png", exif=exif)
    assert np.array_equal(np.asarray(shown), np.asarray(marked))


def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    shown = saved(picture(1), tmp_path / "a.jpg", exif=b"Exif\x00\x00garbage that is no TIFF header")
    assert shown.size == (40, 30)


def test_cmyk_becomes_rgb(tmp_path):
    colour = Image.new("RGB", (16, 16), (200, 40, 40)).convert("CMYK")
    shown = saved(colour, tmp_path / "a.jpg", quality=95)
    assert shown.mode == "RGB"
    assert np.abs(np.asarray(shown).mean(axis=(0, 1)) - (200, 40, 40)).max() < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_put_on_white(tmp_path, mode):
    clear = Image.new("RGBA", (8, 8), (10, 10, 10, 0))
    clear.paste((10, 10, 10, 255), (0, 0, 4, 8))
    pixels = np.asarray(saved(clear.convert(mode), tmp_path / "a.png"))
    assert pixels[0, 0].tolist() == [10, 10, 10] and pixels[0, 7].tolist() == [255, 255, 255]


def test_palette_with_transparency_is_put_on_white(tmp_path):
    indexed = Image.new("P", (4, 4), 1)
    indexed.putpalette([0, 0, 0, 200, 0, 0, 0, 0, 200])
    indexed.putpixel((0, 0), 2)
    pixels = np.asarray(saved(indexed, tmp_path / "a.png", transparency=2))
    assert pixels[0, 0].tolist() == [255, 255, 255] and pixels[3, 3].tolist() == [200, 0, 0]


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    pixels = np.asarray(open_picture(tmp_path / "a.png"))[..., 0]
    assert np.abs(pixels.astype(float) - ramp / 257.0).max() <= 1.0
    assert len(np.unique(pixels)) == 64


@pytest.mark.parametrize("top", [1.0, 255.0, 4000.0])
def test_float_grey_is_scaled(tmp_path, top):
    Image.fromarray(np.linspace(0, top, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "a.tif")
    pixels = np.asarray(open_picture(tmp_path / "a.tif"))
    assert pixels.min() == 0 and pixels.max() == 255


def test_of_an_animation_the_first_frame_is_shown(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.asarray(open_picture(tmp_path / "a.gif"))[0, 0].tolist() == [255, 0, 0]


def test_a_jpeg_is_decoded_small_when_a_size_is_given(tmp_path):
    picture(2, (800, 400)).save(tmp_path / "a.jpg")
    small = open_picture(tmp_path / "a.jpg", size=96)
    assert small.size == (200, 100) and small.mode == "RGB"
    assert open_picture(tmp_path / "a.jpg").size == (800, 400)


def test_bomb_truncated_missing_and_foreign_files_are_named(tmp_path, monkeypatch):
    picture(3, (300, 200)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    assert "a.png: has more than 20,000 pixels" in refused(tmp_path / "a.png")
    monkeypatch.undo()
    for name in ("a.png", "b.jpg"):
        picture(3, (300, 200)).save(tmp_path / name)
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        assert f"{name}: cannot read the picture" in refused(tmp_path / name)
    assert "no.png: cannot open the picture (No such file" in refused(tmp_path / "no.png")
    (tmp_path / "t.jpg").write_text("no picture")
    assert "(not a picture)" in refused(tmp_path / "t.jpg")
    (tmp_path / "empty.jpg").touch()
    assert "empty.jpg" in refused(tmp_path / "empty.jpg")


def make_zip(file: Path, count: int = 3) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for i in range(count):
            data = io.BytesIO()
            picture(i).save(data, "PNG")
            archive.writestr(f"in/p{i}.png", data.getvalue())
    return file


def test_members_of_a_zip(tmp_path, monkeypatch):
    archive = make_zip(tmp_path / "a.zip")
    assert np.array_equal(np.asarray(open_picture("in/p1.png", archive=archive)), np.asarray(picture(1)))
    assert "a.zip: contains no 'in/p9.png'" in refused("in/p9.png", archive=archive)
    monkeypatch.setattr(archives, "MAX_MEMBER_BYTES", 10)
    assert "too many to read" in refused("in/p1.png", archive=archive)
    monkeypatch.undo()
    make_zip(archive, 5)  # a changed archive is opened anew
    assert open_picture("in/p4.png", archive=archive).size == (40, 30)
    data = bytearray(archive.read_bytes())
    data[200] ^= 255
    archive.write_bytes(data)
    assert "in/p0.png is damaged" in refused("in/p0.png", archive=archive)
    archive.write_bytes(b"PK")
    assert "not a zip file" in refused("in/p0.png", archive=archive)
    assert "no.zip" in refused("x.png", archive=tmp_path / "no.zip")


def test_a_zip_is_read_by_threads_and_forked_processes_at_once(tmp_path):
    archive = make_zip(tmp_path / "a.zip", 8)
    wrong: list[int] = []

    def read() -> None:
        for i in range(40):
            shown = np.asarray(open_picture(f"in/p{i % 8}.png", archive=archive))
            if not np.array_equal(shown, np.asarray(picture(i % 8))):
                wrong.append(i)

    def child() -> None:
        read()
        raise SystemExit(len(wrong))

    processes = [multiprocessing.get_context("fork").Process(target=child) for _ in range(2)]
    for process in processes:
        process.start()
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in processes:
        process.join()
    assert not wrong and [process.exitcode for process in processes] == [0, 0]


def test_text_is_composed_and_its_blanks_are_single():
    assert normalize_text("  cafe\u0301 \t au\nlait\u00a0 ") == "café au lait"
