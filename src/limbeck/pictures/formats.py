"""Detection of pictures by the suffix of a file name, or by the first bytes."""

from __future__ import annotations

import contextlib
import functools
import warnings
from pathlib import PurePosixPath
from typing import BinaryIO

from PIL import Image

# These suffixes decide alone. Any other file is opened, see `is_picture_stream`.
_ENDINGS = (
    ".jpg .jpeg .jpe .jfif .mpo .png .apng .gif .webp .bmp .dib .tif .tiff .ppm .pgm .pbm .pnm "
    ".avif .avifs .heic .heif .hif .jp2 .j2k .jpx .tga .pcx"
)
SUFFIXES = frozenset(_ENDINGS.split(" "))
# Pillow runs EPS and WMF with other programs; the other formats it identifies but cannot decode.
_NEVER = frozenset({"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
# The common ones come first, because Pillow tries them in this order.
_FIRST = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "HEIF")
# No signature, or one of a byte or two: without a suffix they would match foreign files.
_UNSIGNED = frozenset({
    "DCX", "FTEX", "GBR", "IM", "IMT", "IPTC", "MCIDAS", "MSP", "PCD", "PCX", "PIXAR", "SPIDER", "TGA",
    "XVTHUMB",
})  # fmt: skip
_HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF = frozenset({b"avif", b"avis"})
_HEAD = 64

# `open.py` has its own limit on pixels, and its errors name the file.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# What a plug-in says of odd EXIF data names no file and costs no picture.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def is_hidden(name: str) -> bool:
    """Return whether a relative path, or a folder in it, begins with a dot or is a macOS resource folder."""
    parts = (part for part in name.split("/") if part not in ("", ".", ".."))
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def is_picture_name(name: str) -> bool:
    """Return whether a relative path has a picture's suffix and is not hidden."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES and not is_hidden(name)


@functools.cache
def formats() -> tuple[str, ...]:
    """Return the formats that are tried on every picture, with HEIC where its extra is installed."""
    with contextlib.suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    Image.init()
    known = (name for name in Image.ID if name not in _NEVER)
    return tuple(sorted(known, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)))


def is_picture_stream(stream: BinaryIO) -> bool:
    """Return whether a stream without a picture's suffix is one, or one that needs another package.

    The first 16 bytes decide for nearly all other files. Where they fit, the header must be readable.
    """
    head = stream.read(_HEAD)
    if lacking(head) is not None:
        return True
    fitting = formats_of(head)
    if not fitting:
        return False
    stream.seek(0)
    try:
        with Image.open(stream, formats=fitting):
            return True
    except Image.DecompressionBombError:
        return True  # `decode_picture` reports it
    except Exception:  # Pillow's plug-ins raise a dozen types on foreign files
        return False


def formats_of(head: bytes) -> list[str]:
    """Return the formats whose signature a file begins with, from at least its first 16 bytes."""
    return [name for name in formats() if name not in _UNSIGNED and _accepts(name, head[:16])]


def _accepts(name: str, prefix: bytes) -> bool:
    accept = Image.OPEN[name][1]
    try:
        return accept is not None and accept(prefix) is True
    except Exception:  # some unpack more bytes than a short file has
        return False


def media_type(head: bytes) -> str | None:
    """Return the media type of a JPEG, PNG, WebP or GIF by its first 12 bytes; None for anything else."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    return "image/webp" if head[:4] == b"RIFF" and head[8:12] == b"WEBP" else None


def lacking(head: bytes) -> str | None:
    """Return what must be installed to read this picture, by its first bytes; None if nothing is missing."""
    if head[4:8] != b"ftyp":
        return None
    end = min(len(head), int.from_bytes(head[:4], "big"))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & _AVIF:
        return None if {"AVIF", "HEIF"} & set(formats()) else "AVIF needs pip install --upgrade pillow"
    if brands & _HEIC:
        return None if "HEIF" in formats() else "HEIC needs pip install 'limbeck[heic]'"
    return None
