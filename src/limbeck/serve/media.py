"""Makes thumbnails and pictures of indexed items; a request names an item, never a file."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.serve.answering import Opened
from limbeck.typed import is_inside

if TYPE_CHECKING:
    from PIL import Image

MEDIA_TYPE = "image/webp"
FULL = 1600  # pixels of the longer side of a picture
QUALITY = 80


def source_of(opened: Opened, item_id: str) -> tuple[Path | None, str | Path]:
    """Return the archive, or None, and the file of an item's picture.

    Raises:
        LimbeckError: there is no such item, it has no picture, or its stored path leaves the media root.
    """
    store, root = opened.index.store, opened.media
    columns = store.metadata([store.row_of(item_id)])[0]
    path = columns.get("path")
    if root is None or not isinstance(path, str):
        raise LimbeckError(
            f"{item_id!r}: has no picture here; start the service with --media DIR", code="E-INDEX-MEDIA"
        )
    if root.is_file():
        return root, path
    if not is_inside(path):
        raise LimbeckError(
            f"{item_id!r}: its path, {path}, leaves the media folder; add it again with a path inside",
            code="E-PICTURE-MISSING",
        )
    return None, root / path


def etag_of(opened: Opened, source: tuple[Path | None, str | Path], size: int) -> str:
    """Return what changes with the file of a picture, the item, or the size.

    Raises:
        LimbeckError: the file is gone.
    """
    from limbeck.pictures import file_of

    archive, path = source
    try:
        about = (archive or file_of(path)).stat()
    except OSError:
        raise LimbeckError(
            f"{path}: the picture is missing; restore it, or delete the item from the index",
            code="E-PICTURE-MISSING",
        ) from None
    facts = f"{archive} {path} {about.st_size} {about.st_mtime_ns} {size}"
    return f'"{hashlib.sha256(facts.encode("utf-8", "surrogatepass")).hexdigest()[:32]}"'


def encoded(source: tuple[Path | None, str | Path], size: int) -> bytes:
    """Return a picture as WebP without metadata, its longer side at most ``size`` pixels.

    Raises:
        LimbeckError: the picture cannot be read.
    """
    from limbeck.pictures import contain, open_picture

    archive, path = source
    image: Image.Image = open_picture(path, archive=archive, size=size)
    if max(image.size) > size:
        image = contain(image, size, size)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=QUALITY, method=2)
    return stream.getvalue()
