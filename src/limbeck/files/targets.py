"""Targets of output: a regular file, standard output, or a pipe; anything else is refused."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limbeck.errors import LimbeckError
from limbeck.files.names import check_name

STANDARD_OUTPUT = Path("-")


@dataclass(frozen=True)
class Target:
    """The meaning of an output name.

    Attributes:
        path: the name as given.
        kind: ``file`` is written under a temporary name and renamed, ``stream`` (a FIFO or character device)
            is written directly, ``stdout`` is standard output.
    """

    path: Path
    kind: Literal["file", "stream", "stdout"]


def target_of(path: Path | str) -> Target:
    """Return the target of a name; ``-`` and names of standard output, such as ``/dev/stdout``, are
    ``stdout``.

    Raises:
        LimbeckError: a directory, a block device, a socket, or a name that no file system accepts.
    """
    path = Path(path)
    if path == STANDARD_OUTPUT:
        return Target(path, "stdout")
    try:
        status = path.stat()  # through links: a link to a device must not be replaced either
    except (FileNotFoundError, NotADirectoryError):
        check_name(path)
        return Target(path, "file")
    except (OSError, ValueError) as error:
        check_name(path)
        cause = getattr(error, "strerror", None) or error
        raise LimbeckError(
            f"{path}: cannot be written ({cause}); choose another name", code="E-PATH-WRITE"
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise LimbeckError(f"{path}: cannot write (it is a directory); name a file in it", code="E-PATH-KIND")
    if _is_standard_output(status):
        return Target(path, "stdout")
    if stat.S_ISREG(status.st_mode):
        return Target(path, "file")
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):
        return Target(path, "stream")
    raise LimbeckError(
        f"{path}: cannot write (neither a file nor a pipe); name a file, or use - for standard output",
        code="E-PATH-KIND",
    )


def check_target(path: Path | str) -> Target:
    """Apply `target_of` before any work is done; also refuse a parent folder that is a file."""
    target = target_of(path)
    if target.kind == "file":
        for folder in target.path.parents:
            if folder.is_dir():
                break
            if os.path.lexists(folder):
                raise LimbeckError(
                    f"{path}: cannot write ({folder} is not a directory); choose another place",
                    code="E-PATH-KIND",
                )
    return target


def _is_standard_output(status: os.stat_result) -> bool:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or no file at all
        own = os.fstat(sys.__stdout__.fileno())  # type: ignore[union-attr]
        return own.st_ino != 0 and os.path.samestat(status, own)  # 0: a Windows pipe, which has no identity
    return False
