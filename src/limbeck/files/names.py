"""Makes temporary names next to a path, for its next state and for the previous one."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path

from limbeck.errors import LimbeckError

LONGEST_NAME = 255  # bytes, on all common file systems
ASIDE = re.compile(r"\..*\.[0-9a-f]{8}\.(tmp|old)", re.DOTALL)
"""``.NAME.<8 hex digits>.tmp`` of a next state, ``.old`` of a last one."""


def temporary_path(path: Path) -> Path:
    """Return a new hidden name next to a path, for its next state."""
    return path.with_name(f".{_short(path.name)}.{uuid.uuid4().hex[:8]}.tmp")


def replaced_path(aside: Path) -> Path:
    """Return the name of the previous state while the new one in ``aside`` replaces it."""
    return aside.with_suffix(".old")


def replaced_paths(path: Path) -> list[Path]:
    """Return the previous states that were left next to a path, sorted by name."""
    name = re.compile(re.escape(f".{_short(path.name)}.") + r"[0-9a-f]{8}\.old", re.DOTALL)
    try:
        return sorted(entry for entry in path.parent.iterdir() if name.fullmatch(entry.name))
    except OSError:
        return []


def _short(name: str) -> str:
    while len(os.fsencode(name)) > LONGEST_NAME - 15:
        name = name[:-1]
    return name


def check_name(path: Path) -> None:
    """Refuse a name that no file system accepts.

    Raises:
        LimbeckError: a part has more than 255 bytes, or contains a NUL.
    """
    for part in path.parts:
        size = len(os.fsencode(part))
        if size > LONGEST_NAME:
            raise LimbeckError(
                f"{part[:40]}…: the name has {size} bytes, but a file system allows {LONGEST_NAME}; "
                "choose a shorter name",
                code="E-PATH-NAME",
            )
        if "\0" in part:
            raise LimbeckError(
                f"{part[:40]!r}: the name contains a NUL character; choose another name", code="E-PATH-NAME"
            )
