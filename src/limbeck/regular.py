"""Regular files only: devices, FIFOs and sockets are refused before reading, because they may never end."""

from __future__ import annotations

import stat
from pathlib import Path

from limbeck.errors import LimbeckError

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
}


def regular_file(path: str | Path) -> Path:
    """Return the path of a regular file, or of a link to one.

    Raises:
        LimbeckError: it is a folder, device, pipe or socket.
        OSError: nothing is there, or looking is not permitted.
    """
    path = Path(path)
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise LimbeckError(
            f"{path}: is {kind}, not a regular file; use a file, or copy the content into one",
            code="E-PATH-KIND",
        )
    return path
