"""Files compared with their SHA-256 before the first byte of them counts.

A file that was found sound is not read again for as long as its inode, size and times stay as they were: not
in this process (`SOUND`), and from `STAMPED_BYTES` on not in later ones either (an empty file in the cache
folder says so). `limbeck index verify` reads every file anew.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import cannot_read, sha256_json
from limbeck.index.manifest import FileEntry

STAMPED_BYTES = 1 << 26
TICK_NS = 2_000_000_000  # two changes within it may bear one time, on some file systems
SOUND: set[str] = set()  # stamps of the files that were found sound in this process


class CheckedFile:
    """A file, mapped when this is made: it may be removed meanwhile and is still read as it was.

    Attributes:
        path: of the file.
        data: uint8 (bytes,), memory-mapped; not compared with anything before `check`.
    """

    def __init__(self, path: Path, entry: FileEntry, mend: str) -> None:
        """Map a file.

        Args:
            path: of the file.
            entry: what it should be.
            mend: end of the error message: what to do about a damaged file.

        Raises:
            LimbeckError: another size, or no plain file.
            FileNotFoundError: no such file.
        """
        self.path, self._entry, self._mend, self._checked = Path(path), entry, mend, False
        with readable(self.path):
            if not self.path.exists():
                raise FileNotFoundError(errno.ENOENT, "no such file", str(self.path))
            if not self.path.is_file() or self.path.stat().st_size != entry.size:
                raise LimbeckError(f"{self.path}: missing or truncated; {mend}")
            self.data: np.ndarray = (
                np.memmap(self.path, np.uint8, "r") if entry.size else np.empty(0, np.uint8)
            )
            self._stamp, self._settled = _stamp(self.path, entry)

    def check(self) -> None:
        """Compare the file with its SHA-256, unless it was found sound before.

        Raises:
            LimbeckError: it differs; it is named.
        """
        if self._checked or _is_sound(self._stamp, self._entry.size):
            return
        if digest(self.data) != self._entry.sha256:
            raise LimbeckError(f"{self.path}: damaged (checksum differs); {self._mend}")
        self._checked = True
        if self._settled:
            _remember(self._stamp, self._entry.size)


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """The system's refusal to read something of an index as one line that names it; what is missing passes.

    Raises:
        LimbeckError: no permission, a disk that fails.
        FileNotFoundError: as it came, since a writer may have retired the file.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise cannot_read(path, error) from None


def check_file(path: Path, entry: FileEntry, mend: str) -> None:
    """`CheckedFile.check` of a file that is read by other means.

    Raises:
        LimbeckError: it is missing, or differs; it is named.
    """
    try:
        CheckedFile(path, entry, mend).check()
    except FileNotFoundError:
        raise LimbeckError(f"{path}: missing or truncated; {mend}") from None


def digest(data: np.ndarray) -> str:
    """Return the SHA-256 of the bytes of an array, in hexadecimal."""
    return hashlib.sha256(data.data).hexdigest()


def _stamp(path: Path, entry: FileEntry) -> tuple[str, bool]:
    """What a file is now, and whether any change from now on will be seen by its times."""
    about = path.stat()
    facts = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns, entry.sha256)
    return sha256_json(facts), time.time_ns() - max(about.st_mtime_ns, about.st_ctime_ns) > TICK_NS


def _folder() -> Path:
    return Path(os.environ.get("LIMBECK_CACHE") or Path.home() / ".cache" / "limbeck") / "sound"


def _is_sound(stamp: str, size: int) -> bool:
    if stamp not in SOUND and size >= STAMPED_BYTES and (_folder() / stamp).is_file():
        SOUND.add(stamp)
    return stamp in SOUND


def _remember(stamp: str, size: int) -> None:
    SOUND.add(stamp)
    if size >= STAMPED_BYTES:
        with contextlib.suppress(OSError):  # where no folder can be written it is read again next time
            _folder().mkdir(parents=True, exist_ok=True)
            (_folder() / stamp).touch()
