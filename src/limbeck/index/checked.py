"""Compares files with their SHA-256 before their content is used.

A file that matched is not read again while its inode, size and times stay the same. This process remembers it
in `SOUND`; for files of at least `STAMPED_BYTES`, an empty file in the cache folder tells later processes.
`limbeck index verify` reads every file again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import cache_directory, cannot_read, sha256_json
from limbeck.index.manifest import FileEntry

STAMPED_BYTES = 1 << 23  # a check takes 4 ms, or 20 without the SHA instructions of the processor
TICK_NS = 2_000_000_000  # on some file systems, two changes within this time can have the same time stamp
SOUND: set[str] = set()  # stamps of the files that matched in this process


class CheckedFile:
    """Maps a file at construction, so that it stays readable even if it is removed later.

    Attributes:
        path: the file.
        data: uint8 (bytes,), memory-mapped; not verified before `check`.
    """

    def __init__(self, path: Path, entry: FileEntry, advice: str) -> None:
        """Map a file.

        Args:
            path: the file.
            entry: its recorded size and SHA-256.
            advice: the end of the error message, which says what to do about a damaged file.

        Raises:
            LimbeckError: the size differs, or it is not a plain file.
            FileNotFoundError: there is no such file.
        """
        self.path, self._entry, self._advice, self._checked = Path(path), entry, advice, False
        with readable(self.path):
            if not self.path.exists():
                raise FileNotFoundError(errno.ENOENT, "no such file", str(self.path))
            if not self.path.is_file() or self.path.stat().st_size != entry.size:
                raise LimbeckError(f"{self.path}: is missing or truncated; {advice}", code="E-INDEX-DAMAGED")
            self.data: np.ndarray = (
                np.memmap(self.path, np.uint8, "r") if entry.size else np.empty(0, np.uint8)
            )
            self._stamp, self._settled = _stamp(self.path, entry)

    def check(self) -> None:
        """Compare the file with its SHA-256, unless it matched before.

        Raises:
            LimbeckError: the file differs.
        """
        if self._checked or _is_sound(self._stamp, self._entry.size):
            return
        if digest(self.data) != self._entry.sha256:
            raise LimbeckError(
                f"{self.path}: is damaged (checksum differs); {self._advice}", code="E-INDEX-DAMAGED"
            )
        self._checked = True
        if self._settled:
            _remember(self._stamp, self._entry.size)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a one-line error that names ``path``.

    Raises:
        LimbeckError: the file may not be read, or the disk failed.
        FileNotFoundError: unchanged, because a writer may have removed the file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise cannot_read(path, error) from None


def check_file(path: Path, entry: FileEntry, advice: str) -> None:
    """Compare a file with its SHA-256 before other code reads it; its arguments are those of `CheckedFile`.

    Raises:
        LimbeckError: the file is missing or differs.
    """
    try:
        CheckedFile(path, entry, advice).check()
    except FileNotFoundError:
        raise LimbeckError(f"{path}: is missing or truncated; {advice}", code="E-INDEX-DAMAGED") from None


def digest(data: np.ndarray) -> str:
    """Return the SHA-256 of the bytes of an array, in hexadecimal."""
    return hashlib.sha256(data.data).hexdigest()


def _stamp(path: Path, entry: FileEntry) -> tuple[str, bool]:
    """Return an identifier of a file's state, and whether its times will show every later change."""
    about = path.stat()
    facts = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, entry.sha256)
    return sha256_json(facts), time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > TICK_NS


def _folder() -> Path:
    return cache_directory() / "sound"


def _is_sound(stamp: str, size: int) -> bool:
    if stamp not in SOUND and size >= STAMPED_BYTES and (_folder() / stamp).is_file():
        SOUND.add(stamp)
    return stamp in SOUND


def _remember(stamp: str, size: int) -> None:
    SOUND.add(stamp)
    if size >= STAMPED_BYTES:
        with contextlib.suppress(OSError):  # without a writable cache, the next process reads the file again
            _folder().mkdir(parents=True, exist_ok=True)
            (_folder() / stamp).touch()
