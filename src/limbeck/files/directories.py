"""Directories that limbeck wrote: only these are replaced, and only if they contain nothing else."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files.names import check_name
from limbeck.files.recovery import interrupted_replacement
from limbeck.files.targets import STANDARD_OUTPUT
from limbeck.names import is_text, show
from limbeck.typed import Json

# Files that desktops create in any folder that they show.
_DROPPINGS = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True)
class Kind:
    """A kind of directory that limbeck writes.

    Attributes:
        name: its name in messages, such as ``pairs directory``.
        files: regular expression of the relative paths, with ``/``, of all files that it may contain.
        marker: the JSON file that identifies the directory; None where its file names do.
        accepts: returns whether the marker's value is one of this kind.
    """

    name: str
    files: str
    marker: str | None = None
    accepts: Callable[[dict[str, Json]], bool] = bool

    def marked(self, path: Path) -> bool:
        """Return whether a directory's marker is of this kind; always True for a kind without a marker."""
        if self.marker is None:
            return True
        try:
            value = json.loads((path / self.marker).read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(value, dict) and bool(self.accepts(value))

    def foreign(self, path: Path) -> str | None:
        """Return why a directory may not be replaced or removed as one of this kind; None if it may."""
        if not self.marked(path):
            return f"holds no {self.name} (no valid {self.marker})"
        wanted = re.compile(self.files, re.DOTALL)
        for folder, folders, files in os.walk(path):
            inside = Path(folder)
            links = [name for name in folders if (inside / name).is_symlink()]
            for name in sorted([*files, *links]):
                own = (inside / name).relative_to(path).as_posix()
                plain = (inside / name).is_file() and not (inside / name).is_symlink()
                if not (plain and (wanted.fullmatch(own) or name in _DROPPINGS)):
                    return f"contains {own}, which limbeck did not write"
        return None


def check_new_directory(
    path: Path | str,
    replaces: Kind | None = None,
    *,
    fix: str = "choose another place, or replace or remove it",
) -> None:
    """Refuse a path for a directory before any work is done; see `limbeck.files.atomic_dir`.

    Raises:
        LimbeckError: standard output, a file, a link, the current directory or one above it; a directory that
            is not empty and not of the kind ``replaces``; an interrupted replacement at this path.
    """
    path = Path(path)
    check_directory_name(path)
    if path.is_symlink():
        raise LimbeckError(
            f"{path}: is a link to {path.readlink()}; name the directory itself", code="E-PATH-KIND"
        )
    if not path.exists():
        broken = interrupted_replacement(path)
        if broken is not None and path.name:
            raise LimbeckError(broken, code="E-PATH-MISSING")
        return
    if not path.is_dir():
        raise LimbeckError(
            f"{path}: already exists and is a file; choose another place", code="E-PATH-EXISTS"
        )
    here = Path.cwd()
    if any(path.samefile(place) for place in (here, *here.parents)):
        raise LimbeckError(
            f"{path}: contains the current directory; name a new directory", code="E-PATH-EXISTS"
        )
    if not any(path.iterdir()):
        return
    if replaces is None:
        raise LimbeckError(f"{path}: already exists; {fix}", code="E-PATH-EXISTS")
    why = replaces.foreign(path)
    if why is not None:
        raise LimbeckError(
            f"{path}: {why}, so it is not replaced; choose another place, or move it away yourself",
            code="E-PATH-EXISTS",
        )


def check_directory_name(path: Path) -> None:
    """Refuse ``-``, which means standard output, and names that file systems or Arrow cannot store.

    Raises:
        LimbeckError: the path is such a name.
    """
    if path == STANDARD_OUTPUT:
        raise LimbeckError("-: standard output accepts only files; name a directory", code="E-PATH-STDOUT")
    check_name(path)
    if not is_text(str(path)):
        raise LimbeckError(
            f"{show(str(path))}: the name is not UTF-8; choose another name", code="E-PATH-NAME"
        )


def check_apart(out: Path | str, *sources: object) -> None:
    """Refuse to write a directory over its sources, or around them.

    Args:
        out: the directory to write.
        sources: files, directories and hub ids that are read; None and anything but paths are skipped.

    Raises:
        LimbeckError: ``out`` is a source, or contains one; its name is invalid for file systems.
    """
    out = Path(out)
    check_name(out)
    if not out.exists():
        return
    for source in sources:
        if not isinstance(source, str | os.PathLike) or not os.path.lexists(source):
            continue
        real = Path(os.path.realpath(source))
        for place in (real, *real.parents):
            if place.exists() and out.samefile(place):
                what = "is" if place == real else "contains"
                raise LimbeckError(
                    f"{out}: {what} the source {source}; choose another place to write to",
                    code="E-PATH-OVERLAP",
                )
