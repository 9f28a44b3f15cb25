"""Pictures of any kind, opened as upright RGB; and text brought to one form."""

from __future__ import annotations

import io
import unicodedata
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from limbeck.archives import read_member
from limbeck.errors import LimbeckError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def normalize_text(text: str) -> str:
    """NFC, every run of white space one blank, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_picture_name(name: str) -> bool:
    """Whether a file name ends like a picture (and is no hidden or macOS resource file)."""
    path = Path(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def open_picture(source: str | Path, *, archive: Path | None = None, size: int | None = None) -> Image.Image:
    """Open a picture as RGB, upright by its EXIF orientation.

    Alpha is composited on white, 16-bit grey is scaled to 8 bits, of an animation the first frame is taken.

    Args:
        source: a file, or the name of a member of ``archive``.
        archive: a zip file; handles are kept open per process and shared by its threads.
        size: allow a JPEG to be decoded at 1/2, 1/4 or 1/8, both sides still at least ``size`` pixels.

    Raises:
        LimbeckError: missing, truncated, damaged, or too large (decompression bomb); names the file.
    """
    name = str(source) if archive is None else f"{archive}: {source}"
    return decode_picture(io.BytesIO(picture_bytes(source, archive)), name, size=size)


def picture_bytes(source: str | Path, archive: Path | None = None) -> bytes:
    """The encoded picture: a file, or a member of a zip file; a missing one raises a `LimbeckError`."""
    if archive is not None:
        return read_member(archive, str(source))
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise LimbeckError(f"{source}: cannot open the picture ({error.strerror}); restore it") from None


def decode_picture(stream: BinaryIO, name: str, *, size: int | None = None) -> Image.Image:
    """Decode a picture from an open stream; ``name`` stands in the error. See `open_picture`."""
    try:
        with Image.open(stream) as image:
            if size is not None and image.format == "JPEG":
                image.draft(None, (size, size))
            turn = _TURNS.get(_orientation(image))
            upright = to_rgb(image)
            return upright if turn is None else upright.transpose(turn)
    except Image.DecompressionBombError:
        raise LimbeckError(
            f"{name}: more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; scale the picture down"
        ) from None
    except LimbeckError:
        raise
    except Exception as error:  # Pillow's plug-ins raise a dozen types on damaged files
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        reason = "not a picture" if "cannot identify" in reason else reason
        raise LimbeckError(f"{name}: cannot read the picture ({reason}); replace or remove it") from None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1–8; damaged EXIF data must not cost the picture, so it counts as upright."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring a picture of any mode to RGB: alpha on white, 16-bit grey and floats scaled, never clipped."""
    if image.mode.startswith("I") or image.mode == "F":
        image = _scale_deep_grey(image)
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _scale_deep_grey(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit or float grey to 8 bits; the range is 65535 (floats: 1.0) unless values exceed it."""
    values = np.asarray(image).astype(np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    values -= min(0.0, float(values.min(initial=0.0)))
    top = float(values.max(initial=0.0))
    full = 65535.0 if image.mode != "F" else (1.0 if top <= 1.0 else 255.0)
    return Image.fromarray(np.rint(values * (255.0 / max(full, top))).astype(np.uint8))
