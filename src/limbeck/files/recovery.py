"""Recovery of a replacement whose process was killed between its two renames."""

from __future__ import annotations

from pathlib import Path

from limbeck.files.names import replaced_paths


def interrupted_replacement(path: Path | str) -> str | None:
    """Return one line that names the old and the new state of a missing directory (or of a file's), or None.

    Where the file system cannot exchange two names atomically, a replacement renames the old directory to
    ``.NAME.<8 hex digits>.old`` and then the new one, ``.NAME.<the same>.tmp``, to its path.
    """
    for place in (Path(path), Path(path).parent):
        olds = replaced_paths(place) if place.name and not place.exists() else []
        if olds:
            new = olds[-1].with_suffix(".tmp")
            other = f", the new one in {new}" if new.is_dir() else ""
            return (
                f"{place}: its replacement was interrupted: the old state is in {olds[-1]}{other}; "
                f"rename the one that you want to {place.name} and remove the other"
            )
    return None
