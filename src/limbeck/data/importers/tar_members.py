"""The members of an untrusted tar file; only headers are read, and each number is checked before its use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from limbeck.errors import LimbeckError
from limbeck.pictures.shards import BLOCK, number

_NAME_BYTES = 1 << 16  # a path name is far shorter
_FILES = b"0\0"
_LONG_NAME, _PAX = b"L", b"x"


class TarDamaged(LimbeckError):
    """A tar file that cannot be read beyond some byte."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(f"{what} at byte {at:,}", code="E-ARCHIVE-DAMAGED")


@dataclass(frozen=True)
class Member:
    """A regular file in a tar: its name, and where its content is, in bytes."""

    name: str
    at: int
    size: int


def tar_members(stream: BinaryIO, length: int) -> Iterator[Member]:
    """Yield the regular files of an uncompressed tar of ``length`` bytes, in order.

    Links, devices, folders and sparse files are passed over. Formats: POSIX ustar, PAX and GNU.

    Raises:
        TarDamaged: a header has a wrong checksum, a name exceeds 64 KiB, or a content ends beyond the file.
    """
    at, name, size = 0, "", -1  # name and size for the next file, from its extended header
    while at + BLOCK <= length:
        stream.seek(at)
        header = stream.read(BLOCK)
        if not header.strip(b"\0"):
            return
        found = number(header[124:136])
        if len(header) < BLOCK or not _sound(header):
            raise TarDamaged("no tar header", at)
        kind, begins = header[156:157], at + BLOCK
        real = size if size >= 0 and kind in _FILES else found
        if real < 0 or begins + real > length:
            raise TarDamaged(f"{_name(header) or name!r} is cut off", at)
        if kind in (_LONG_NAME, _PAX):
            if real > _NAME_BYTES:
                raise TarDamaged(f"a name of {real:,} bytes", at)
            content = stream.read(real)
            if kind == _LONG_NAME:
                name = _text(content.split(b"\0", 1)[0])
            else:
                pax = _pax(content, at)
                name, size = _text(pax.get(b"path", b"")) or name, int(pax.get(b"size", b"-1"))
        else:
            if kind in _FILES:
                yield Member(name or _name(header), begins, real)
            name, size = "", -1
        at = begins + -(-real // BLOCK) * BLOCK
    if at != length:
        raise TarDamaged("the file is cut off", at)


def _sound(header: bytes) -> bool:
    """Return whether the checksum fits: the sum of all bytes, with its own field taken as blanks."""
    return number(header[148:156]) == sum(header) - sum(header[148:156]) + 8 * 32


def _name(header: bytes) -> str:
    name = _text(header[:100].split(b"\0", 1)[0])
    prefix = _text(header[345:500].split(b"\0", 1)[0]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _pax(content: bytes, at: int) -> dict[bytes, bytes]:
    """Return the entries ``LENGTH KEY=VALUE`` of an extended header."""
    found: dict[bytes, bytes] = {}
    while content:
        digits, blank, _ = content.partition(b" ")
        if not (blank and digits.isdigit() and len(digits) + 1 < int(digits) <= len(content)):
            raise TarDamaged("no extended header", at)
        key, _, value = content[len(digits) + 1 : int(digits)].rstrip(b"\n").partition(b"=")
        if key == b"size" and not (value.isdigit() and len(value) < 19):
            raise TarDamaged("no extended header", at)
        found[key], content = value, content[int(digits) :]
    return found
