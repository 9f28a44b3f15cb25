"""Pictures that clients send: declared types only, checked before they are decoded."""

from __future__ import annotations

import base64
import binascii
import io
import re
from dataclasses import dataclass

from PIL import Image

from limbeck.errors import LimbeckError
from limbeck.pictures import decode_picture, media_type, picture_size

FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP", "image/gif": "GIF"}
_NAME = "image"
_DATA_URL = re.compile(r"data:([a-z0-9.+/-]{1,50});base64,")
# A scan of a progressive JPEG costs a pass over the whole picture: encoders write about ten.
_SCAN, _MOST_SCANS = b"\xff\xda", 100


@dataclass(frozen=True)
class Upload:
    """An uploaded picture that may be decoded: one of `FORMATS`, as declared, and not too large."""

    data: bytes
    form: str

    def decode(self) -> Image.Image:
        """Return it as upright RGB; an animation gives its first frame.

        Raises:
            LimbeckError: it is damaged or cut off.
        """
        return decode_picture(io.BytesIO(self.data), _NAME, only=(self.form,))


@dataclass
class Uploads:
    """Admits the pictures of one request, by their headers, before any is decoded.

    Attributes:
        pixels: the number of pixels that all further pictures may have together.
    """

    pixels: int

    def admit(self, data: bytes, declared: str | None) -> Upload:
        """Admit a JPEG, PNG, WebP or GIF.

        Args:
            data: the file.
            declared: its media type; None or ``application/octet-stream`` leaves it to the first bytes.

        Raises:
            LimbeckError: it is too large, has no header, or its type is none of these or not ``declared``.
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
                f"{_NAME}: is a JPEG of more than {_MOST_SCANS} scans; save it anew", code="E-PICTURE-SIZE"
            )
        upload = Upload(data, FORMATS[kind])
        width, height = picture_size(io.BytesIO(data), _NAME, only=(upload.form,))
        if width * height > self.pixels:
            raise LimbeckError(
                f"{_NAME}: {width:,} × {height:,} pixels, where {self.pixels:,} are left; scale it down",
                code="E-PICTURE-SIZE",
            )
        self.pixels -= width * height
        return upload

    def admit_base64(self, text: str) -> Upload:
        """Admit a picture file in Base64, plain or as a data URL."""
        url = _DATA_URL.match(text)
        try:
            data = base64.b64decode(text[url.end() :] if url else text, validate=True)
        except (binascii.Error, ValueError):  # ValueError: characters beyond ASCII
            raise LimbeckError(f"{_NAME}: is not Base64; encode the file", code="E-REQUEST-FORM") from None
        return self.admit(data, url[1] if url else None)
