"""Make thumbnails that are embedded in a page as JPEG."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


def thumbnail(picture: Image.Image, side: int = 168, quality: int = 82) -> str:
    """Return a square JPEG thumbnail as a ``data:`` URL; the picture is cropped at its centre.

    Pictures of at most half of ``side`` (pixels) are enlarged by a whole factor without interpolation, so
    generated scenes of 64 px stay sharp.
    """
    from PIL import Image, ImageOps

    picture = picture.convert("RGB")
    small = max(picture.size) <= side // 2
    method = Image.Resampling.NEAREST if small else Image.Resampling.LANCZOS
    if small:
        side = max(picture.size) * (side // max(picture.size))
    fitted = ImageOps.fit(picture, (side, side), method)
    stream = io.BytesIO()
    fitted.save(stream, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")
