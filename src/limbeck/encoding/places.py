"""Finds the picture files of a table: by the given path, or by another spelling of it (`limbeck.names`)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from limbeck.names import Resolved, clean_path, is_text, name_form, resolve
from limbeck.tables import warn_notes

# These rules find another spelling of a path; the others could find a picture that the table does not name.
_SAME_PATH = frozenset({"path", "separators", "form"})


class Places:
    """Maps the paths of a table to files, relative to the table's folder.

    A path that exists costs one look-up. At the first path that does not, all paths of the table are compared
    once with the files of their folders, so that no two paths get the same file.

    Args:
        folder: the folder that paths are relative to.
        paths: returns all paths of the table.
    """

    def __init__(self, folder: Path, paths: Callable[[], Iterable[str]]) -> None:
        self._folder, self._paths = folder, paths
        self._found: dict[str, str] | None = None
        self._lock = threading.Lock()

    def find(self, path: str) -> str:
        """Return the path of the file that a path of the table means; the path itself if there is none."""
        try:
            if (self._folder / path).exists():
                return path
        except (OSError, ValueError):  # too long, or with a NUL
            return path
        with self._lock:
            if self._found is None:
                self._found = self._resolve()
        return self._found.get(path, path)

    def _resolve(self) -> dict[str, str]:
        paths = list(dict.fromkeys(path for path in self._paths() if path and "\0" not in path))
        folders = {clean_path(path, (str(self._folder),)).rpartition("/")[0] for path in paths}
        known = [name for folder in sorted(folders) for name in self._files(folder)]
        result = resolve(paths, known, folder=self._folder)
        chosen = {
            path: name
            for path, name in zip(paths, result.found, strict=True)
            if name is not None and result.rules[path] in _SAME_PATH
        }
        by = {rule: count for rule, count in result.by.items() if rule in _SAME_PATH}
        warn_notes(Resolved(by=by, first=result.first).notes("pictures"))
        return chosen

    def _files(self, folder: str) -> list[str]:
        """Return the relative paths of a folder's files; the folder's name may have another Unicode form."""
        places = [""]
        for part in folder.split("/") if folder else []:
            places = [
                name + "/"
                for place in places
                for name in self._names(place, folders=True)
                if name_form(name.rpartition("/")[2]) == name_form(part)
            ]
        return [name for place in places for name in self._names(place, folders=False)]

    def _names(self, place: str, folders: bool) -> list[str]:
        try:
            entries = list((self._folder / place).iterdir())
        except OSError:
            return []
        return sorted(place + one.name for one in entries if is_text(one.name) and one.is_dir() == folders)
