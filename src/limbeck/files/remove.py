"""Removal of files that limbeck wrote, and of nothing else; links are removed, never followed."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from limbeck.errors import LimbeckError
from limbeck.files.names import ASIDE


def remove_tree(path: Path) -> None:
    """Remove a file, a link or a directory, if it exists; leave what cannot be removed."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def check_plain(*paths: Path) -> None:
    """Refuse links among limbeck's own files: nothing is written or removed through one.

    Raises:
        LimbeckError: names the first link.
    """
    for path in paths:
        if path.is_symlink():
            raise LimbeckError(
                f"{path}: is a link; only plain files are changed; replace it with a copy of its target",
                code="E-PATH-KIND",
            )


def remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed writers from a directory that nobody writes to now."""
    folder = Path(folder)
    if folder.is_symlink() or not folder.is_dir():
        return
    for entry in list(folder.iterdir()):
        if ASIDE.fullmatch(entry.name):
            remove_tree(entry)
