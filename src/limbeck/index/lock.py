"""Locks an index for one writer at a time with an operating-system lock, and records the holder's name."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.errors import LimbeckError
from limbeck.files import cannot_write, check_plain

if TYPE_CHECKING:
    from filelock import BaseFileLock

LOCK_NAME = "writer.lock"
HOLDER_NAME = "writer.holder"
WAIT_SECONDS = 30.0


@contextlib.contextmanager
def writer_lock(root: Path, timeout: float = WAIT_SECONDS) -> Iterator[None]:
    """Create an index directory if needed and hold its writer's lock; it is released if the process dies.

    Args:
        root: the directory.
        timeout: seconds to wait for another writer.

    Raises:
        LimbeckError: another process still holds the lock after ``timeout`` seconds (the error names it), a
            file of the lock is a link, the directory is not writable, or the disk is full.
    """
    # The holder's name has a separate file, because opening a lock file truncates it.
    holder = Path(root) / HOLDER_NAME
    try:
        lock = _acquire(Path(root), timeout)
    except OSError as error:
        raise cannot_write(Path(root), error) from None
    try:
        _write_holder(holder)
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _write_holder(holder: Path) -> None:
    since = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    try:
        holder.unlink(missing_ok=True)  # left by a holder that was killed
        with holder.open("x", encoding="utf-8", newline="\n") as stream:  # never through a link
            stream.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    except OSError as error:
        raise cannot_write(holder.parent, error) from None


def _acquire(root: Path, timeout: float) -> BaseFileLock:
    from filelock import FileLock, Timeout  # here, because a search takes no lock

    deadline = time.monotonic() + timeout
    while True:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(root, error) from None
        check_plain(root / LOCK_NAME, root / HOLDER_NAME)
        lock = FileLock(root / LOCK_NAME)
        try:
            lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        except Timeout:
            try:
                name = (root / HOLDER_NAME).read_text(encoding="utf-8").strip()
            except OSError:
                name = "another process"
            raise LimbeckError(
                f"{root}: is being written by {name}; wait for it or stop it, then try again",
                code="E-INDEX-LOCKED",
            ) from None
        except OSError as error:
            raise cannot_write(root, error) from None
        # A holder that failed removes the directory that it made, and the lock file with it.
        if (root / LOCK_NAME).exists():
            return lock
        lock.release()
