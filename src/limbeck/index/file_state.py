"""Records the state of an item's file at encoding time, so that `limbeck index sync` finds what changed.

The items' column `COLUMN` holds size, modification time and SHA-256. It is null for indexes of version 0.1
and for items that are not files of a folder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from limbeck.files import sha256_file
from limbeck.typed import Json

COLUMN = "file_state"
TYPE = pa.struct([("size", pa.int64()), ("mtime_ns", pa.int64()), ("sha256", pa.string())])


@dataclass(frozen=True)
class FileState:
    """Holds size in bytes, modification time in nanoseconds, and hex SHA-256 of a file."""

    size: int
    mtime_ns: int
    sha256: str

    def to_json(self) -> dict[str, Json]:
        """Return the state as a value of the column."""
        return {"size": self.size, "mtime_ns": self.mtime_ns, "sha256": self.sha256}

    @classmethod
    def from_json(cls, value: object) -> FileState | None:
        """Read what `to_json` wrote; return None for anything else."""
        if not isinstance(value, dict) or not all(value.get(name) is not None for name in TYPE.names):
            return None
        return cls(value["size"], value["mtime_ns"], value["sha256"])


def state_after(path: Path, before: os.stat_result) -> FileState | None:
    """Return the state of a file that was read after ``before``; None if it changed or is unreadable."""
    try:
        digest, after = sha256_file(path), path.stat()
    except OSError:
        return None
    facts = [(one.st_ino, one.st_size, one.st_mtime_ns) for one in (before, after)]
    return FileState(after.st_size, after.st_mtime_ns, digest) if facts[0] == facts[1] else None


def column_of(states: list[FileState | None]) -> pa.Array:
    """Convert states to an Arrow column; None becomes null."""
    return pa.array([None if state is None else state.to_json() for state in states], TYPE)
