"""Conversion of any mode to RGB, strip by strip, so that a large picture needs only its RGB copy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
STRIP_PIXELS = 1 << 21  # pixels


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a picture of any mode to RGB: alpha on white, 16-bit grey and floats scaled, never clipped."""
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        image = _scale_deep_grey(image)
    if image.width * image.height <= STRIP_PIXELS or image.mode == "RGB":
        return _convert(image)
    out = Image.new("RGB", image.size)
    for top, strip in _strips(image):
        out.paste(_convert(strip), (0, top))
    return out


def _convert(image: Image.Image) -> Image.Image:
    if "transparency" not in image.info and image.mode not in _ALPHA:
        return image.convert("RGB")
    layer = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield strips of rows with their upper edges; each has about `STRIP_PIXELS` pixels."""
    rows = max(1, STRIP_PIXELS // max(1, image.width))
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(image.height, top + rows)))


def _scale_deep_grey(image: Image.Image) -> Image.Image:
    """Scale 16-bit, 32-bit or float grey to 8 bits; the range is 65535 (floats: 1.0) or wider if needed."""
    low, high = 0.0, -np.inf
    for _, strip in _strips(image):
        values = _finite(strip)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    top = high - low
    full = 65535.0 if image.mode != "F" else (1.0 if top <= 1.0 else 255.0)
    out = Image.new("L", image.size)
    for above, strip in _strips(image):
        scaled = np.rint((_finite(strip) - low) * (255.0 / max(full, top)))
        out.paste(Image.fromarray(scaled.astype(np.uint8)), (0, above))
    return out


def _finite(strip: Image.Image) -> np.ndarray:
    """Return the values of a strip (h, w) as float64; values that are not finite count as 0."""
    return np.nan_to_num(np.asarray(strip).astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
