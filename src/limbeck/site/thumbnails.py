"""Makes the thumbnails of a site: small WebP files without EXIF data."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from limbeck.errors import LimbeckError
from limbeck.pictures import contain, open_picture
from limbeck.pictures.decoding import read_ahead

_AHEAD = 64  # pictures that are decoded ahead


@dataclass(frozen=True)
class Thumbnails:
    """How pictures become thumbnails.

    Attributes:
        media: the folder or zip file of the pictures.
        side: the longest side in pixels.
        quality: of WebP, 1 to 100.
    """

    media: Path
    side: int = 128
    quality: int = 60

    def make(self, paths: Sequence[str | None]) -> Iterator[bytes | None]:
        """Yield the thumbnail of each path, in order; None for an item without a readable picture."""
        for _, made in read_ahead(paths, self._thumbnail, _AHEAD):
            try:
                yield made.result()
            except LimbeckError:
                yield None

    def _thumbnail(self, path: str | None) -> bytes | None:
        if path is None:
            return None
        zipped = self.media.is_file()
        picture = open_picture(
            path if zipped else self.media / path, archive=self.media if zipped else None, size=self.side
        )
        small = picture if max(picture.size) <= self.side else contain(picture, self.side, self.side)
        clean = Image.new("RGB", small.size)  # pixels only: EXIF data and profiles stay behind
        clean.paste(small)
        stream = io.BytesIO()
        clean.save(stream, "WEBP", quality=self.quality, method=4)
        return stream.getvalue()
