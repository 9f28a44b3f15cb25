"""Uploaded pictures: what is read, and what is refused before it costs anything."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from limbeck.serve.uploads import FORMATS, Uploads
from raising import raises_code

PIXELS = 10_000


def decode_upload(data: bytes, declared: str | None, pixels: int = PIXELS) -> Image.Image:
    return Uploads(pixels).admit(data, declared).decode()


def picture(width: int = 8, height: int = 4) -> Image.Image:
    """Red above, blue below."""
    values = np.zeros((height, width, 3), np.uint8)
    values[: height // 2, :, 0] = values[height // 2 :, :, 2] = 255
    return Image.fromarray(values)


def encoded(form: str, image: Image.Image | None = None, **options: object) -> bytes:
    out = io.BytesIO()
    (image or picture()).save(out, form, **options)
    return out.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize(("media", "form"), FORMATS.items())
def test_declared_and_undeclared_types_are_read(media: str, form: str) -> None:
    data = encoded(form)
    for declared in (media, f"{media.upper()}; q=1", None, "application/octet-stream"):
        image = decode_upload(data, declared)
        assert (image.mode, image.size) == ("RGB", (8, 4))
        red, _, blue = image.getpixel((4, 0))  # type: ignore[misc]
        assert red > blue


@pytest.mark.parametrize("declared", ["image/png", "image/svg+xml", "text/html", "image/tiff", "", "x"])
def test_a_type_that_is_not_the_declared_one_is_refused(declared: str) -> None:
    if not declared:
        assert decode_upload(encoded("JPEG"), declared)
        return
    with raises_code("E-REQUEST-TYPE", declared, "image/jpeg"):
        decode_upload(encoded("JPEG"), declared)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><script>1</script>",
        b"PK\x03\x04" + b"0" * 64,
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"RIFF\0\0\0\0WAVE",
        encoded("TIFF"),
        encoded("BMP"),
        encoded("PPM"),
    ],
)
def test_other_data_is_refused(data: bytes) -> None:
    for declared in (None, "image/png"):
        with raises_code("E-REQUEST-TYPE"):
            decode_upload(data, declared)


@pytest.mark.parametrize("size", [(101, 100), (50_000, 50_000), (2**31 - 1, 2**31 - 1), (1, 2**18 + 1)])
def test_the_header_decides_on_the_size(size: tuple[int, int]) -> None:
    with raises_code("E-PICTURE-SIZE"):
        decode_upload(png_header(*size), None)
    assert decode_upload(encoded("PNG", picture(100, 100)), None).size == (100, 100)


@pytest.mark.parametrize("form", FORMATS.values())
def test_damaged_pictures_are_refused(form: str) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = encoded(form, noise)
    for cut in (16, len(data) // 2):
        with raises_code("E-PICTURE-READ"):
            decode_upload(data[:cut], None)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    data = encoded("JPEG", picture(64, 64), progressive=True)
    assert decode_upload(data, None).size == (64, 64)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with raises_code("E-PICTURE-SIZE", "scans"):
        decode_upload(data[:-2] + scan * 200 + data[-2:], None)


def test_cmyk_alpha_palettes_and_deep_grey_become_rgb() -> None:
    cmyk = decode_upload(encoded("JPEG", picture().convert("CMYK")), None)
    clear = decode_upload(encoded("PNG", Image.new("RGBA", (3, 3), (0, 0, 0, 0))), None)
    deep = Image.fromarray(np.full((3, 3), 65535, np.uint16))
    assert cmyk.mode == "RGB" and cmyk.getpixel((4, 0))[0] > 200  # type: ignore[index]
    assert clear.getpixel((1, 1)) == (255, 255, 255)
    assert decode_upload(encoded("PNG", deep), None).getpixel((1, 1)) == (255, 255, 255)


def test_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    turned = decode_upload(encoded("PNG", exif=exif), "image/png")
    assert turned.getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_animations_give_their_first_frame(form: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    data = encoded(form, frames[0], save_all=True, append_images=frames[1:])
    red, green, blue = decode_upload(data, None).getpixel((4, 4))  # type: ignore[misc]
    assert red > 200 and green < 50 and blue < 50


def test_base64_plain_and_as_a_data_url() -> None:
    text = base64.b64encode(encoded("PNG")).decode()
    uploads = Uploads(PIXELS)
    assert uploads.admit_base64(text).decode().size == (8, 4)
    assert uploads.admit_base64(f"data:image/png;base64,{text}").decode().size == (8, 4)
    with raises_code("E-REQUEST-TYPE", "image/jpeg"):
        uploads.admit_base64(f"data:image/jpeg;base64,{text}")
    for odd in ("é", "a", "data:,x", text + "\n", "../../etc/passwd", "http://localhost/x.png"):
        with raises_code("E-REQUEST-FORM"):
            uploads.admit_base64(odd)


def test_the_pictures_of_a_request_share_its_pixels() -> None:
    uploads = Uploads(70)
    for _ in range(2):
        uploads.admit(encoded("PNG"), None)
    with raises_code("E-PICTURE-SIZE", "6 are left"):
        uploads.admit(encoded("PNG"), None)
