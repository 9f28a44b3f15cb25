"""What a process that was killed between the two renames of a replacement left behind."""

from __future__ import annotations

from pathlib import Path

from limbeck.files.names import olds_of


def cut_short(path: Path | str) -> str | None:
    """One line that names the old and the new state of a directory that is missing, or None.

    Where the file system cannot exchange two names at once, a replacement renames the old directory to
    ``.NAME.<8 hex digits>.old`` and then the new one, ``.NAME.<the same>.tmp``, into its place.

    Args:
        path: the directory, or a file in it.
    """
    for place in (Path(path), Path(path).parent):
        olds = olds_of(place) if place.name and not place.exists() else []
        if olds:
            new = olds[-1].with_suffix(".tmp")
            other = f", the new one in {new}" if new.is_dir() else ""
            return (
                f"{place}: its replacement was cut short: the old state is in {olds[-1]}{other}; "
                f"rename the one that you want to {place.name} and remove the other"
            )
    return None
