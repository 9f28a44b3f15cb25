"""Files and directories that are written completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from limbeck.errors import LimbeckError
from limbeck.files.directories import Kind, check_new_directory
from limbeck.files.durability import exchange, fsync_path
from limbeck.files.names import check_name, replaced_path, temporary_path
from limbeck.files.remove import remove_tree
from limbeck.files.targets import target_of

_FIXES = {
    errno.EACCES: "choose another place, or get permission to write there",
    errno.EPERM: "choose another place, or get permission to write there",
    errno.EROFS: "choose another place",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOTDIR: "choose another place",
    errno.EEXIST: "choose another place",
    errno.ENOTEMPTY: "choose another place",
}


def cannot_write(path: Path, error: OSError) -> LimbeckError:
    """Return the error for a refused write: the path, the cause, and the fix."""
    fix = _FIXES.get(error.errno or 0, "free space or choose another place")
    return LimbeckError(f"{path}: cannot write ({error.strerror or error}); {fix}", code="E-PATH-WRITE")


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[BinaryIO]:
    """Open a stream for a file that is written under a temporary name, then synced and renamed.

    On any error nothing is left. ``-``, FIFOs and character devices are written directly
    (`limbeck.files.target_of`); only there a reader may have read a part when an error occurs.

    Raises:
        LimbeckError: a directory or another thing that is not a file, a full disk, missing rights.
    """
    path = Path(path)
    target = target_of(path)
    if target.kind == "stdout":
        yield from _standard_output()
        return
    aside = path if target.kind == "stream" else temporary_path(path)
    try:
        if target.kind == "stream":
            with path.open("wb") as stream:
                yield stream
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except BaseException as error:
        if target.kind == "file":
            remove_tree(aside)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise
    fsync_path(path.parent)


def _standard_output() -> Iterator[BinaryIO]:
    sys.stdout.flush()
    stream = getattr(sys.stdout, "buffer", None)
    if stream is not None:
        yield cast("BinaryIO", stream)
        stream.flush()
        return
    held = io.BytesIO()  # a stand-in without bytes, such as a notebook's
    yield held
    sys.stdout.write(held.getvalue().decode("utf-8", "replace"))


def write_atomic(path: Path | str, content: bytes | str) -> None:
    """Write to a temporary file, fsync, rename: a reader sees the old file or the new one, never a part."""
    with atomic_file(path) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def atomic_dir(path: Path | str, *, replaces: Kind | None = None) -> Iterator[Path]:
    """Build a directory under a temporary name and publish it by rename; on any error nothing changes.

    Args:
        path: the directory to create: a new name, or an empty directory.
        replaces: the kind of directory that may be replaced; anything of another kind, or with contents that
            limbeck did not write, is refused (`limbeck.files.Kind`).

    Raises:
        LimbeckError: the path is taken, a link, the current directory or above it; a full disk.
    """
    path = Path(path)
    check_new_directory(path, replaces)
    check_name(path)
    aside = temporary_path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.mkdir()
        yield aside
        for file in aside.rglob("*"):
            fsync_path(file)
        fsync_path(aside)
        check_new_directory(path, replaces)  # hours may have passed
        old = publish_directory(aside, path)
    except OSError as error:
        remove_tree(aside)
        raise cannot_write(path, error) from error
    except BaseException:
        remove_tree(aside)
        raise
    if old is not None:
        remove_tree(old)


def publish_directory(aside: Path, path: Path) -> Path | None:
    """Move a finished directory to its path and sync it; return the path of the old state, if any.

    On an error ``aside`` is the new state again and ``path`` the old one.
    """
    if not path.exists() or not any(path.iterdir()):
        if os.name == "nt" and path.exists():
            path.rmdir()  # elsewhere the rename does it
        aside.rename(path)
        fsync_path(path.parent)
        return None
    if exchange(aside, path):
        try:
            fsync_path(path.parent)
        except BaseException:
            exchange(aside, path)
            raise
        return aside
    old = replaced_path(aside)
    try:
        path.rename(old)
        aside.rename(path)
        fsync_path(path.parent)
    except BaseException:
        if old.exists():
            if path.exists():
                path.rename(aside)
            old.rename(path)
        raise
    return old
