"""The rows of one shard, as the importers of shards read them, and what they leave out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from limbeck.data.schema import RESERVED, SCHEMA
from limbeck.errors import LimbeckError
from limbeck.pictures import Kind, PictureError, Reason, decode_picture, normalize_text
from limbeck.pictures.shards import PICTURE_BYTES

CAPTION = ("caption", "captions", "text", "txt")
_SMALLEST = 32  # pixels: libjpeg reads the whole file, but computes an eighth of its sides


@dataclass(frozen=True)
class Refused:
    """A member, row or shard that was left out, by its path from the folder of the shards."""

    name: str
    reason: Reason

    def to_json(self) -> dict[str, str]:
        """Return the line of ``skipped.jsonl``."""
        return {"id": self.name, "reason": str(self.reason), "kind": str(self.reason.kind)}


@dataclass
class ShardRows:
    """Collects the columns of a shard as Python values; `table` makes an Arrow table of them."""

    ids: list[str] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    captions: list[list[str]] = field(default_factory=list)
    tags: list[list[str]] = field(default_factory=list)
    labels: list[list[str]] = field(default_factory=list)
    further: dict[str, list[object]] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)

    def add(self, key: str, image: str, captions: object, tags: object, labels: object) -> None:
        """Add a row; each text is normalised, and empty ones are dropped."""
        self.ids.append(key)
        self.images.append(image)
        self.captions.append(texts_of(captions))
        self.tags.append(texts_of(tags))
        self.labels.append(texts_of(labels))

    def refuse(self, name: str, reason: str, kind: Kind) -> None:
        """Record a member, row or shard that is left out, with the reason."""
        self.refused.append(Refused(name, Reason(reason, kind)))

    def sound(self, name: str, content: bytes | None, checked: bool) -> bool:
        """Return whether a picture is there, not too large, and, if ``checked``, readable; note it if not."""
        try:
            if not content:
                raise PictureError("it is empty", Kind.MISSING)
            if len(content) > PICTURE_BYTES:
                raise PictureError(f"it is larger than {PICTURE_BYTES:,} bytes", Kind.TOO_LARGE)
            if checked:
                decode_picture(io.BytesIO(content), name, size=_SMALLEST)
        except LimbeckError as error:
            self.refused.append(Refused(name, Reason.of(error)))
            return False
        return True

    @property
    def table(self) -> pa.Table:
        """The rows; a further column whose values have several types is text."""
        own = {"id": self.ids, "image": self.images, "captions": self.captions}
        own |= {"tags": self.tags, "labels": self.labels}
        columns = {name: pa.array(values, SCHEMA[name]) for name, values in own.items()}
        return pa.table(columns | {kept_name(name): _column(own) for name, own in self.further.items()})


def texts_of(value: object) -> list[str]:
    """Return a text, a number or a list of them as normalised texts that are not empty."""
    values = value if isinstance(value, list) else [value]
    kept = (str(one) for one in values if isinstance(one, str | int | float) and not isinstance(one, bool))
    return [text for text in map(normalize_text, kept) if text]


def kept_name(name: str) -> str:
    """Return the column of a further field; a name that pairs use otherwise gets a prefix."""
    return f"given_{name}" if name in RESERVED else name


def _column(values: Sequence[object]) -> pa.Array:
    plain = [value if isinstance(value, str | int | float | bool) else None for value in values]
    try:
        return pa.array(plain)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in plain], pa.string())
