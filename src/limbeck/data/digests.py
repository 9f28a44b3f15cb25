"""SHA-256 of large files, read once and then kept by path, size and modification time."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files import sha256_file, sha256_json, write_atomic

ALWAYS_READ = 2**26
"""Up to this many bytes a file is read every time, whatever its modification time."""


def file_digest(path: Path, cache: Path | None = None) -> str:
    """Return the hex SHA-256 of a file's bytes; ``cache`` is the folder of known digests of large files.

    Raises:
        LimbeckError: the file is missing or cannot be read.
    """
    try:
        stat = path.stat()
        if cache is None or stat.st_size <= ALWAYS_READ:
            return sha256_file(path)
        key = sha256_json([str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino])
        known = cache / "digests" / key[:32]
        with contextlib.suppress(OSError):
            found = known.read_text(encoding="ascii")
            if len(found) == 64:
                os.utime(known)
                return found
        digest = sha256_file(path)
    except OSError as error:
        raise LimbeckError(
            f"{path}: cannot be read ({error.strerror or error}); restore it", code="E-PATH-READ"
        ) from None
    with contextlib.suppress(LimbeckError, OSError):  # the cache may be full or read-only
        write_atomic(known, digest)
    return digest
