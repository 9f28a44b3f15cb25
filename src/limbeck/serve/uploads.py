"""Pictures that clients send: declared types only, checked before they are decoded."""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass

from PIL import Image

from limbeck.errors import LimbeckError
from limbeck.pictures import decode_picture, media_type

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF"}
_NAME = "image"
_DATA_URL = re.compile(r"data:([a-z0-9.+/-]{1,50});base64,")
# A scan of a progressive JPEG costs a pass over the whole picture: encoders write about ten.
_SCAN, _MOST_SCANS = b"\xff\xda", 100


def decode_upload(data: bytes, declared: str | None, *, pixels: int) -> Image.Image:
    """Decode an uploaded picture as upright RGB; an animation gives its first frame.

    Args:
        data: JPEG, PNG, WebP or GIF.
        declared: its media type; None or ``application/octet-stream`` leaves it to the first bytes.
        pixels: the largest picture that is decoded; its header decides.

    Raises:
        LimbeckError: another type, not the declared one, too large, damaged or cut off.
    """
    kind = media_type(data)
    media = (declared or "application/octet-stream").partition(";")[0].strip().lower()
    if kind is None or media not in (kind, "application/octet-stream"):
        found = kind or "no JPEG, PNG, WebP or GIF"
        hint = "send a JPEG, PNG, WebP or GIF" if kind is None else "declare its real type"
        told = f"{media!r}, but " if media != "application/octet-stream" else ""
        raise LimbeckError(f"{_NAME}: {told}the data is {found}; {hint}", code="E-REQUEST-TYPE")
    if kind == "image/jpeg" and data.count(_SCAN) > _MOST_SCANS:
        raise LimbeckError(
            f"{_NAME}: a JPEG of more than {_MOST_SCANS} scans; save it anew", code="E-PICTURE-SIZE"
        )
    return decode_picture(io.BytesIO(data), _NAME, only=(FORMATS[kind],), pixels=pixels)


@dataclass
class Uploads:
    """Decodes the pictures of one request, which together have at most ``pixels``; see `decode_upload`."""

    pixels: int

    def decode(self, data: bytes, declared: str | None) -> Image.Image:
        """Decode a picture file."""
        image = decode_upload(data, declared, pixels=self.pixels)
        self.pixels -= image.width * image.height
        return image

    def decode_base64(self, text: str) -> Image.Image:
        """Decode a picture file in Base64, plain or as a data URL."""
        url = _DATA_URL.match(text)
        try:
            data = base64.b64decode(text[url.end() :] if url else text, validate=True)
        except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
            raise LimbeckError(f"{_NAME}: not Base64; encode the file", code="E-REQUEST-FORM") from None
        return self.decode(data, url[1] if url else None)
