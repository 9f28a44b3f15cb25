"""One writer at a time: an operating-system lock that names its holder."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from limbeck.errors import LimbeckError
from limbeck.files import cannot_write, check_plain

LOCK_NAME = "writer.lock"
HOLDER_NAME = "writer.holder"
WAIT_SECONDS = 30.0


@contextlib.contextmanager
def writer_lock(root: Path, timeout: float = WAIT_SECONDS) -> Iterator[None]:
    """Make an index directory if need be and hold its writer's lock; the system frees it if the process dies.

    Raises:
        LimbeckError: another process still holds it after ``timeout`` seconds (it is named); a link in the
            place of a file of the lock; a place that this user cannot write to, a full disk.
    """
    # The holder's name stands in a file of its own: opening a lock file truncates it.
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
        holder.unlink(missing_ok=True)  # of a holder that was killed
        with holder.open("x", encoding="utf-8") as stream:  # never through a link
            stream.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    except OSError as error:
        raise cannot_write(holder.parent, error) from None


def _acquire(root: Path, timeout: float) -> BaseFileLock:
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
                f"{root}: being written by {name}; wait for it or stop it, then try again"
            ) from None
        except OSError as error:
            raise cannot_write(root, error) from None
        # A holder that failed removes a directory it had made: the lock waited for is then no file any more.
        if (root / LOCK_NAME).exists():
            return lock
        lock.release()
