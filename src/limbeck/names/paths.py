"""Paths as names: normalisation, comparison, display."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

# Suffixes that rule 6 removes. Other text after a dot, as in "1.5", belongs to the name.
_ENDINGS = re.compile(
    r"\.(jpe?g|jfif|png|gif|webp|bmp|tiff?|p[pgbn]m|tga|jp2|j2k|avif|hei[cf]|ico|npy|npz|pt|txt|json)$", re.I
)
# An existing picture may have any suffix of this form.
_SUFFIX = re.compile(r"(?<=[^/])\.[a-z][a-z0-9]{0,5}$", re.IGNORECASE)
# An empty part, "." or ".."
_UNCLEAN = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")


def is_text(name: str) -> bool:
    """Return whether a file name is valid UTF-8 (others hold lone surrogates and cannot be stored)."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def show(name: str) -> str:
    """Return a name for messages: bytes that are not UTF-8 and control characters are escaped."""
    try:
        text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a lone surrogate that encodes no byte
        text = name.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() or c in "\u00a0\u202f" else repr(c)[1:-1] for c in text)


def clean_path(name: str, roots: Sequence[str] = ()) -> str:
    """Return a path with ``/`` separators, ``.`` and inner ``..`` resolved, and a leading root removed."""
    name = name.replace("\\", "/")
    for root in roots:
        if name.startswith(root + "/"):
            name = name[len(root) :]
            break
    if not _UNCLEAN.search(name):
        return name
    parts: list[str] = []
    for part in name.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def name_form(path: str) -> str:
    """Return a path in NFC without blanks at its ends: equal for spellings that rule 3 treats as equal."""
    return unicodedata.normalize("NFC", path).strip(" \t\r\n")


def without_ending(path: str, *, is_picture: bool = False) -> str:
    """Return a path without the suffix of a picture or feature file; a picture loses any suffix."""
    return (_SUFFIX if is_picture else _ENDINGS).sub("", path)


def roots_of(folder: Path) -> tuple[str, ...]:
    """Return the spellings of a folder that names may begin with: as given, absolute, without links."""
    spelled = (folder, folder.absolute(), folder.resolve())
    return tuple(dict.fromkeys(s for path in spelled if (s := path.as_posix()) not in (".", "/")))
