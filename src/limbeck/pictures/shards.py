"""Pictures inside shards: members of tar files by offset, and cells of Parquet files; nothing is unpacked.

A *place* names such a picture like a path: ``SHARD.tar/MEMBER#OFFSET+SIZE`` or ``SHARD.parquet/COLUMN#ROW``.
A pairs table and an index store places where other collections have paths. A read needs one place only, so
that any order of rows is possible.
"""

from __future__ import annotations

import bisect
import itertools
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar

from limbeck.pictures.skipped import Kind, PictureError
from limbeck.regular import regular_file

if TYPE_CHECKING:
    import pyarrow as pa

PICTURE_BYTES = 1 << 26
"""The largest encoded picture in a shard, 64 MiB."""
GROUP_BYTES = 1 << 30
"""The row groups of Parquet that a process holds at once."""
_OPEN_FILES = 128
_TAR = re.compile(r"(.+\.tar)/(.+)#(\d{1,18})\+(\d{1,18})", re.DOTALL)
_PARQUET = re.compile(r"(.+\.parquet)/(.+)#(\d{1,18})", re.DOTALL)
BLOCK = 512
K = TypeVar("K")
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """A picture in a shard.

    Attributes:
        shard: the path of the file, as written in the place.
        name: the member of a tar, or the column of a Parquet file.
        at: the offset in bytes of the member's content, or the row.
        size: the bytes of the member; None in Parquet.
    """

    shard: str
    name: str
    at: int
    size: int | None = None

    def __str__(self) -> str:
        return f"{self.shard}/{self.name}#{self.at}" + ("" if self.size is None else f"+{self.size}")


def parse_place(path: str) -> Place | None:
    """Return the place that a path names; None for an ordinary path."""
    if tar := _TAR.fullmatch(path):
        return Place(tar[1], tar[2], int(tar[3]), int(tar[4]))
    if parquet := _PARQUET.fullmatch(path):
        return Place(parquet[1], parquet[2], int(parquet[3]))
    return None


def file_of(path: str | Path) -> Path:
    """Return the file that holds a picture: the shard of a place, or the path itself."""
    place = parse_place(str(path))
    return Path(path if place is None else place.shard)


def read_place(place: Place) -> bytes:
    """Return the encoded picture at a place.

    Raises:
        PictureError: the shard is missing or changed since the import, the picture is too large, or the row
            has none.
    """
    try:
        if place.size is not None:
            return _read_member(place, place.size)
        return _TABLES.get(place.shard, ParquetPictures).read(place)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        kind = Kind.MISSING if isinstance(error, FileNotFoundError) else Kind.UNREADABLE
        raise PictureError(
            f"{place.shard}: cannot open the shard ({getattr(error, 'strerror', error)}); restore it", kind
        ) from None


def _read_member(place: Place, size: int) -> bytes:
    if size > PICTURE_BYTES:
        raise PictureError(f"{place}: is larger than {PICTURE_BYTES:,} bytes; remove it", Kind.TOO_LARGE)
    stream = _FILES.get(place.shard, _open)
    data = _read_at(stream, place.at - BLOCK, BLOCK + size) if place.at >= BLOCK else b""
    # The header before the content shows that it is still the member that was imported.
    header, name = data[:BLOCK], place.name.encode("utf-8", "surrogateescape")
    # Only the end of the name: folders may be spelt otherwise; "?" replaces what PAX writes elsewhere.
    own = header[:100].split(b"\0", 1)[0].rpartition(b"/")[2]
    known = bool(own) and (own in name or b"?" in own)
    if len(data) != BLOCK + size or number(header[124:136]) != size or not known:
        raise PictureError(
            f"{place}: the shard is truncated or changed since the import; restore it, or import it again",
            Kind.DAMAGED,
        )
    return data[BLOCK:]


def number(field: bytes) -> int:
    """Return a number of a tar header: octal digits, or binary if the first bit is set; −1 if it is
    neither."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.strip(b" \0") or b"0", 8)
    except ValueError:
        return -1


def _open(shard: str) -> BinaryIO:
    return regular_file(shard).open("rb", buffering=0)


def _read_at(stream: BinaryIO, offset: int, size: int) -> bytes:
    """Read without moving the file's position, which threads share; without `pread` one thread at a time."""
    if hasattr(os, "pread"):
        return os.pread(stream.fileno(), size, offset)
    with _SEEK:
        stream.seek(offset)
        return stream.read(size)


class ParquetPictures:
    """A Parquet file with a column of encoded pictures, read by row groups.

    Attributes:
        starts: the first row of each group, and at the end the number of rows.
    """

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self.path, self._lock = path, threading.Lock()
        try:
            self._file = pq.ParquetFile(regular_file(path), memory_map=True)
        except Exception as error:
            raise self._damaged(error) from None
        about = self._file.metadata
        sizes = (about.row_group(group).num_rows for group in range(about.num_row_groups))
        self.starts = [0, *itertools.accumulate(sizes)]

    def _damaged(self, error: Exception) -> PictureError:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:120]
        return PictureError(f"{self.path}: is damaged or not Parquet ({reason}); restore it", Kind.DAMAGED)

    @cached_property
    def group_bytes(self) -> int:
        """The bytes of the largest row group, unpacked."""
        about = self._file.metadata
        groups = (about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        return max(groups, default=0)

    def read(self, place: Place) -> bytes:
        """Return the encoded picture of a row; its row group stays in memory for its neighbours."""
        if place.at >= self.starts[-1]:
            raise PictureError(
                f"{place}: the file has {self.starts[-1]:,} rows; import it again", Kind.DAMAGED
            )
        group = bisect.bisect_right(self.starts, place.at) - 1
        values = _GROUPS.get((self.path, place.name, group), lambda key: self._column(key[1], key[2]))
        content = values[place.at - self.starts[group]].as_py()
        if content is None:
            raise PictureError(f"{place}: the row has no picture", Kind.MISSING)
        if len(content) > PICTURE_BYTES:
            raise PictureError(f"{place}: is larger than {PICTURE_BYTES:,} bytes; remove it", Kind.TOO_LARGE)
        return bytes(content)

    def _column(self, name: str, group: int) -> pa.Array:
        import pyarrow.compute as pc

        try:
            with self._lock:  # one reader at a time: pyarrow's own threads unpack a group
                column = self._file.read_row_group(group, columns=[name]).column(0).combine_chunks()
            return pc.struct_field(column, "bytes") if hasattr(column, "field") else column
        except Exception as error:  # pyarrow's errors, and a column that is missing by now
            raise self._damaged(error) from None


class _Recent(Generic[K, T]):
    """Values by key, of which the most recently used are kept; a forked child begins anew."""

    def __init__(self, most: int, cost: Callable[[T], int]) -> None:
        self._most, self._cost = most, cost
        self.clear()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self.clear)

    def clear(self) -> None:
        self._held, self._sum, self._lock = OrderedDict[K, T](), 0, threading.Lock()
        self._making: dict[K, threading.Lock] = {}

    def get(self, key: K, make: Callable[[K], T]) -> T:
        """Return the value of a key, made by one thread; a value in use outlives its place here."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._held:
                    return self._held[key]
            value = make(key)
            with self._lock:
                self._held[key], self._sum = value, self._sum + self._cost(value)
                while self._sum > self._most and len(self._held) > 1:
                    self._sum -= self._cost(self._held.popitem(last=False)[1])
                self._making.pop(key, None)
            return value


_SEEK = threading.Lock()
_FILES: _Recent[str, BinaryIO] = _Recent(_OPEN_FILES, lambda stream: 1)
_TABLES: _Recent[str, ParquetPictures] = _Recent(_OPEN_FILES, lambda table: 1)
_GROUPS: _Recent[tuple[str, str, int], pa.Array] = _Recent(GROUP_BYTES, lambda values: int(values.nbytes))
