"""Zip archives: one open handle per process, and members by their intended names."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import LimbeckError

# A member that unpacks to more than this is an archive bomb, not a picture.
MAX_MEMBER_BYTES = 1 << 30
# Captions compress to a tenth, repetitive tables to a fiftieth.
MAX_TEXT_RATIO = 100
_SMALL = 1 << 26
_OPEN_ARCHIVES = 8
_UTF8_NAME = 0x800


@dataclass(frozen=True)
class Archive:
    """An open zip file: its handle, its lock for reading, and its members by name.

    ``members`` contains files only, in the archive's order. Names are decoded by `member_name`, with ``/`` as
    separator. ``repeated`` lists names that occur several times in the archive; the last one counts, as in
    every unpacking program.
    """

    handle: zipfile.ZipFile
    lock: threading.Lock
    members: dict[str, zipfile.ZipInfo]
    repeated: tuple[str, ...]

    def find(self, name: str) -> zipfile.ZipInfo | None:
        """Return the member with a name, as `members` or zipfile spells it; None if there is none."""
        info = self.members.get(name)
        return info if info is not None else self.handle.NameToInfo.get(name)


def member_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member as its writer intended it.

    Many programs write UTF-8 names without the flag for them, and zipfile then decodes them as cp437.
    Non-ASCII bytes that are valid UTF-8 are read as UTF-8, because other encodings produce it only by chance.
    """
    name = info.filename
    if info.flag_bits & _UTF8_NAME or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def open_archive(path: Path) -> Archive:
    """Return the process's handle of a zip file; it is reopened when the file has changed.

    Raises:
        LimbeckError: the archive is missing, damaged or not a regular file.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise LimbeckError(
                f"{path}: a zip must be a regular file; copy it to a disk first", code="E-PATH-KIND"
            )
        key = (str(path.absolute()), status.st_mtime_ns, status.st_size)
        with _guard:
            if key not in _archives:
                _archives[key] = _open(path)
                while len(_archives) > _OPEN_ARCHIVES:
                    # Not closed here: another thread may be reading; it closes with its last user.
                    _archives.popitem(last=False)
            _archives.move_to_end(key)
            return _archives[key]
    except OSError as error:
        raise LimbeckError(
            f"{path}: cannot open the archive ({error.strerror}); restore it", code="E-PATH-READ"
        ) from None
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise LimbeckError(
            f"{path}: is damaged or not a zip file ({error}); download it again", code="E-ARCHIVE-DAMAGED"
        ) from None


def read_member(path: Path, member: str) -> bytes:
    """Return the bytes of one member of a zip file, with its checksum verified.

    Raises:
        LimbeckError: there is no such member, its data is damaged, or it is an archive bomb.
    """
    archive = open_archive(path)
    info = archive.find(member)
    if info is None:
        raise LimbeckError(
            f"{path}: contains no {member!r}; restore it or import again", code="E-ARCHIVE-MEMBER"
        )
    if info.file_size > MAX_MEMBER_BYTES:
        raise LimbeckError(
            f"{path}: {member} unpacks to {info.file_size:,} bytes, too many to read; remove it",
            code="E-FILE-SIZE",
        )
    try:
        with archive.lock:
            return archive.handle.read(info)
    except Exception as error:  # zipfile, zlib, lzma and bz2 each have their own
        raise LimbeckError(
            f"{path}: {member} is damaged ({error}); download the archive again", code="E-ARCHIVE-DAMAGED"
        ) from None


def read_text_member(path: Path, member: str) -> bytes:
    """Return the bytes of a text member; one that unpacks to far more than text can is refused.

    Raises:
        LimbeckError: as in `read_member`, or a member of more than `MAX_TEXT_RATIO` times its packed size.
    """
    info = open_archive(path).find(member)
    if info is not None and info.file_size > max(_SMALL, MAX_TEXT_RATIO * info.compress_size):
        sizes = f"unpacks from {info.compress_size:,} to {info.file_size:,} bytes"
        raise LimbeckError(
            f"{path}: {member} {sizes}, which no text does; unpack it yourself if you trust it",
            code="E-FILE-SIZE",
        )
    return read_member(path, member)


def _open(path: Path) -> Archive:
    handle = zipfile.ZipFile(path)
    files = {}
    repeated = []
    for info in handle.infolist():
        name = member_name(info)
        if name.endswith(("/", "\\")):
            continue
        if name in files:
            repeated.append(name)
        files[name] = info
    # Old Windows programs write "\" between folders; it is kept where "/" would name another member.
    members = {}
    for name, info in files.items():
        slashed = name.replace("\\", "/")
        members[name if slashed != name and slashed in files else slashed] = info
    return Archive(handle, threading.Lock(), members, tuple(dict.fromkeys(repeated)))


_archives: OrderedDict[tuple[str, int, int], Archive] = OrderedDict()
_guard = threading.Lock()


def _forget_archives() -> None:
    """Reset the handles in a forked child: a shared offset would mix up reads, and a lock might stay held."""
    global _guard
    _archives.clear()
    _guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_archives)
