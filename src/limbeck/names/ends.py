"""Comparison of two sets of names by the ends of their paths, in time linear in their length."""

from __future__ import annotations

import re
from collections.abc import Callable

from limbeck.names.paths import name_form

# Folders that are never the same, even if nothing else distinguishes them.
_SPLIT = re.compile(r"^(train|val|dev|test)[a-z]*[-_]?\d*$", re.IGNORECASE)


class Side:
    """The names of one side by their keys, by the ends of their keys, and the folders that they name."""

    def __init__(
        self, paths: dict[str, str], drop: Callable[[str], str] | None = None, top: str = ""
    ) -> None:
        self.key: dict[str, str] = {}
        self.at: dict[str, list[str]] = {}
        self.ends: dict[str, list[str]] = {}
        self.folders: set[str] = set()
        self.folder_ends: set[str] = set()
        self.top = top
        for name, path in paths.items():
            plain = name_form(path)
            key = self.key[name] = plain if drop is None else drop(plain)
            self.at.setdefault(key, []).append(name)
        for key in self.at:
            for end in _ends(self.full(key)):
                owners = self.ends.setdefault(end, [])
                if len(owners) < 4:  # enough to distinguish one from several, and to name some
                    owners.append(key)
        for folder in {key.rpartition("/")[0] for key in self.at}:
            self.folders.add(folder)
            self.folder_ends.update(_ends(self.full(folder) if folder else self.top))

    def full(self, key: str) -> str:
        """Return a key below the name of the side's own folder."""
        return f"{self.top}/{key}" if self.top else key

    def best(self, full: str) -> list[str]:
        """Return the keys that share the longest end with a path, or the one key that equals that end."""
        for end in _ends(full):
            if end in self.ends:
                return [end] if end in self.at else self.ends[end]
        return []

    def deepest(self, folder: str) -> int:
        """Return how many last folders of a path also occur in a name of this side."""
        return max((end.count("/") + 1 for end in _ends(folder) if end in self.folder_ends), default=0)


def _ends(path: str) -> list[str]:
    """Return the path and its ends, longest first: ``a/b/c``, ``b/c``, ``c``."""
    ends = [path] if path else []
    while "/" in path:
        path = path.partition("/")[2]
        ends.append(path)
    return ends


def find_by_end(key: str, mine: Side, theirs: Side) -> tuple[str, str, list[str]]:
    """Return the rule, the known key that fits a key by its end, and the closest known keys."""
    fits = theirs.best(key)
    if not fits:
        return "", "", []
    base = key.rpartition("/")[2]
    only = len(theirs.ends[base]) == 1 and len(mine.ends[base]) == 1
    target = fits[0]
    if len(fits) == 1 and agree(key, target, mine, theirs):
        common = _common(key, theirs.full(target))
        contained = common > min(key.count("/"), target.count("/"))
        if common > 1 and contained and mine.best(theirs.full(target)) == [key]:
            return "end", target, fits
        if only:
            return "file name", target, fits
        fits = theirs.ends[base] if len(theirs.ends[base]) > 1 else fits
    return "", "", fits


def agree(key: str, target: str, mine: Side, theirs: Side) -> bool:
    """Return whether the folders of both sides allow that two pictures are the same."""
    folder, other = key.rpartition("/")[0], target.rpartition("/")[0]
    whole = theirs.full(target).rpartition("/")[0]
    if not folder or folder == other or (folder == whole and folder not in theirs.folders):
        return True
    if folder in theirs.folders or other in mine.folders:
        return False
    common = _common(folder, whole)
    if common < theirs.deepest(folder) or common < mine.deepest(whole):
        return False
    splits = _split(folder), _split(whole)
    return None in splits or splits[0] == splits[1]


def _split(folder: str) -> str | None:
    """Return the split that a path names by its innermost folder called train, val, test or the like."""
    matches = (_SPLIT.match(part) for part in reversed(folder.split("/")))
    word = next((match[1].lower() for match in matches if match), None)
    return "val" if word == "dev" else word


def _common(one: str, other: str) -> int:
    """Count the last parts that two paths share."""
    count = 0
    for mine, theirs in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if mine != theirs:
            break
        count += 1
    return count
