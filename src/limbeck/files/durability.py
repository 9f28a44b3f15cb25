"""Guarantees of platforms and file systems, and fallbacks where they are missing.

* fsync of a directory: missing on Windows and some network and FUSE file systems. A confirmed change may then
  be missing after a power cut; existing data is complete.
* Hard links: missing on FAT, exFAT and some network shares. The fallback is a rename that refuses an existing
  name. Where that is missing too, only the writer's lock keeps two writers apart.
* Exchange of two names: missing outside Linux and macOS, and on some file systems. The fallback is two
  renames; a kill between them leaves both states in the parent folder
  (`limbeck.files.interrupted_replacement`).

Weaker guarantees are reported on standard error, once per process.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path

from limbeck.console import echo

WINDOWS = os.name == "nt"
_UNSUPPORTED = {
    getattr(errno, name)
    for name in ("EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EBADF", "EISDIR")
    if hasattr(errno, name)
}
_NO_LINKS = (_UNSUPPORTED | {errno.EPERM, errno.EMLINK}) - {errno.EBADF}
_AT_FDCWD, _NOREPLACE, _EXCHANGE = -100, 1, 2
_SWAP, _EXCL = 2, 4  # macOS
TOLD: set[str] = set()  # what was reported in this process; each thing is reported once


def fsync_path(path: Path) -> None:
    """Flush a file or a directory entry to disk; a directory only where that is possible (reported once).

    Raises:
        OSError: the disk failed.
    """
    path = Path(path)
    if not path.is_dir():
        # Windows flushes only through writable handles.
        _fsync(path, os.O_RDWR if WINDOWS else os.O_RDONLY)
        return
    try:
        if WINDOWS:
            raise OSError(errno.ENOTSUP, "directories cannot be opened")
        _fsync(path, os.O_RDONLY)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        _tell(
            "fsync",
            f"{path}: this system cannot sync directories; the last changes may be missing after a "
            "power cut, but existing data is complete",
        )


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_new(aside: Path, target: Path) -> None:
    """Give a finished file its name; unlike a rename, fail where the name exists.

    Afterwards ``aside`` is gone, or a second name of the file.

    Raises:
        FileExistsError: the name is taken.
        OSError: the disk failed.
    """
    try:
        os.link(aside, target)
        return
    except FileExistsError:
        raise
    except (OSError, NotImplementedError, AttributeError) as error:
        if isinstance(error, OSError) and error.errno not in _NO_LINKS:
            raise
    if WINDOWS:
        aside.rename(target)  # refuses an existing name there
    elif not _rename_with(aside, target, _NOREPLACE, _EXCL):
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        aside.rename(target)
        _tell(
            "links",
            f"{target.parent}: this file system has no hard links; only the lock separates writers",
        )


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names atomically; return False, with nothing changed, where that is not possible.

    Raises:
        OSError: the disk failed.
    """
    return _rename_with(one, other, _EXCHANGE, _SWAP)


def _rename_with(source: Path, target: Path, linux: int, macos: int) -> bool:
    call = renamer()
    if call is None:
        return False
    if call(os.fsencode(source), os.fsencode(target), linux if sys.platform == "linux" else macos) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED or number == errno.EPERM:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))


@functools.cache
def renamer() -> Callable[[bytes, bytes, int], int] | None:
    """Return ``renameat2`` (Linux) or ``renamex_np`` (macOS) as f(source, target, flags), or None."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        if sys.platform == "linux":
            call = library.renameat2
            call.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
            return lambda source, target, flags: call(_AT_FDCWD, source, _AT_FDCWD, target, flags)
        if sys.platform == "darwin":
            swap = library.renamex_np
            swap.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_uint]
            return swap
    except (OSError, AttributeError, TypeError):
        pass
    return None


def _tell(what: str, line: str) -> None:
    if what not in TOLD:
        TOLD.add(what)
        echo(line, err=True)
