"""The one place where pictures are found, opened and counted; and where text is normalised.

`list_folder` and `list_zip` list pictures and skipped files; `open_picture` and `decode_picture` return
upright RGB; `resize_center` returns the square that models read; `PIXEL_BUDGET` bounds what is
decoded at one time.
"""

from limbeck.pictures.fit import contain, resize_center
from limbeck.pictures.formats import SUFFIXES, is_hidden, is_picture_name, media_type
from limbeck.pictures.listing import Listing, list_folder, list_zip
from limbeck.pictures.open import (
    PIXEL_BUDGET,
    LazyPictures,
    decode_picture,
    open_picture,
    picture_bytes,
    picture_size,
    to_rgb,
)
from limbeck.pictures.shards import Place, file_of, parse_place, read_place
from limbeck.pictures.skipped import Kind, PictureError, Reason, SkippedFiles
from limbeck.pictures.text import normalize_text

__all__ = [
    "PIXEL_BUDGET",
    "SUFFIXES",
    "Kind",
    "LazyPictures",
    "Listing",
    "PictureError",
    "Place",
    "Reason",
    "SkippedFiles",
    "contain",
    "decode_picture",
    "file_of",
    "is_hidden",
    "is_picture_name",
    "list_folder",
    "list_zip",
    "media_type",
    "normalize_text",
    "open_picture",
    "parse_place",
    "picture_bytes",
    "picture_size",
    "read_place",
    "resize_center",
    "to_rgb",
]
