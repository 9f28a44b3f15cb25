"""What a platform and a file system can promise, and what is done where they cannot.

* fsync of a directory: missing on Windows and some network and FUSE file systems. A change that was
  acknowledged may then be missing after a power cut; what is found is whole.
* Hard links: missing on FAT, exFAT and some network shares. A rename that refuses an existing name takes
  their place, and where that is missing too, the writer's lock alone keeps two writers apart.
* Exchange of two names: missing outside Linux and macOS, and on some file systems. Two renames take its
  place; a kill between them leaves both states beside the place (`limbeck.files.cut_short`).

What weakens a promise is told on standard error, once in a process.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import sys
from pathlib import Path
from typing import Any

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
TOLD: set[str] = set()  # what was said in this process; each thing is said once


def fsync_path(path: Path) -> None:
    """Flush a file or a directory entry to disk; a directory only where that is possible (said once).

    Raises:
        OSError: the disk failed.
    """
    path = Path(path)
    if not path.is_dir():
        # Windows flushes through handles that may write.
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
            f"{path}: this system cannot sync directories; what was written last may be missing after a "
            "power cut, and what is there is whole",
        )


def _fsync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def publish_new(aside: Path, target: Path) -> None:
    """Give a finished file its name; unlike a rename, fails where the name exists.

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
            f"{target.parent}: this file system has no hard links; the lock alone keeps two writers apart",
        )


def exchange(one: Path, other: Path) -> bool:
    """Exchange two names at once; False where that is not possible, and nothing has changed then.

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
def renamer() -> Any:
    """``renameat2`` of Linux or ``renamex_np`` of macOS as f(source, target, flags); None elsewhere."""
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
