"""A picture is turned by its orientation once, whoever turns it: Pillow's plug-in, a decoder, or we."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, features

from limbeck.encoding import TableSource
from limbeck.pictures import decode_picture, open_picture
from limbeck.pictures.formats import formats

T = Image.Transpose
# How an upright picture lies in a file of each orientation.
STORED = {
    1: None, 2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE, 6: T.ROTATE_90, 7: T.TRANSVERSE, 8: T.ROTATE_270,
}  # fmt: skip
KINDS = {
    "tiff raw": ("TIFF", {}),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "tiff jpeg": ("TIFF", {"compression": "jpeg", "quality": 95}),
    "tiff of two pages": ("TIFF", {"save_all": True, "append_images": [Image.new("RGB", (9, 5))]}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {"lossless": True}),
    "jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    "mpo": ("MPO", {"save_all": True, "append_images": [Image.new("RGB", (9, 5))], "quality": 95}),
    "avif": ("AVIF", {"quality": 95}),
}


def upright() -> Image.Image:
    """Four different quarters, twice as wide as tall."""
    shown = Image.new("RGB", (64, 32), "black")
    for colour, corner in (("white", (0, 0)), ("red", (32, 0)), ("blue", (0, 16))):
        shown.paste(colour, (*corner, corner[0] + 32, corner[1] + 16))
    return shown


def stored(kind: str, orientation: int) -> bytes:
    name, options = KINDS[kind]
    turn, exif, out = STORED[orientation], Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    (upright() if turn is None else upright().transpose(turn)).save(out, name, exif=exif, **options)
    return out.getvalue()


def is_upright(shown: Image.Image) -> bool:
    return shown.size == (64, 32) and np.abs(np.asarray(shown, int) - np.asarray(upright(), int)).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", KINDS)
def test_every_orientation_of_every_format_is_undone_once(kind, orientation):
    if kind == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    data = stored(kind, orientation)
    assert is_upright(decode_picture(io.BytesIO(data), kind))
    assert is_upright(decode_picture(io.BytesIO(data), kind, size=8).resize((64, 32))), "a draft"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bytes_in_parquet_are_turned_once(tmp_path, orientation):
    pictures = [stored(kind, orientation) for kind in ("tiff raw", "tiff lzw", "jpeg")]
    pq.write_table(pa.table({"image": pa.array(pictures, pa.binary())}), tmp_path / "t.parquet")
    source = TableSource(tmp_path / "t.parquet")
    assert all(is_upright(source.open_image(row)) for row in range(3))


@pytest.mark.skipif("HEIF" not in formats(), reason="needs the extra heic")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_by_its_own_boxes_not_by_exif(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright().save(tmp_path / "a.heic", exif=exif, quality=95)
    assert is_upright(open_picture(tmp_path / "a.heic"))
