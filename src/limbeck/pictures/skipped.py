"""Skipped files: kinds of reasons, counted, with a few names per kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from limbeck.errors import LimbeckError

_SHOWN = 3


class Kind(StrEnum):
    """Why a file or an item is skipped, in the order of `SkippedFiles.line`."""

    NOT_PICTURE = "not a picture"
    HIDDEN = "hidden"
    LINKED_FOLDER = "linked folder"
    BROKEN_LINK = "broken link"
    MISSING = "missing"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"
    TOO_LARGE = "too large"
    NEEDS_EXTRA = "needs an extra package"
    NOT_REGULAR = "no regular file"
    NOT_UTF8 = "name not UTF-8"
    NO_FEATURES = "without features"


_CODES = {
    Kind.MISSING: "E-PICTURE-MISSING",
    Kind.TOO_LARGE: "E-PICTURE-SIZE",
    Kind.NEEDS_EXTRA: "E-PACKAGE-MISSING",
    Kind.NOT_REGULAR: "E-PATH-KIND",
}
_UNREADABLE = "E-PICTURE-READ"


class PictureError(LimbeckError):
    """A picture that cannot be opened; ``kind`` gives the reason, for counting."""

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message, code=_CODES.get(kind, _UNREADABLE))
        self.kind = kind


class Reason(str):
    """Why an item was skipped: a sentence, with the ``kind`` by which it is counted."""

    kind: Kind

    def __new__(cls, text: str, kind: Kind = Kind.UNREADABLE) -> Reason:
        """Create a reason from a sentence and its kind."""
        made = super().__new__(cls, text)
        made.kind = kind
        return made

    @classmethod
    def of(cls, error: LimbeckError) -> Reason:
        """Return the message of an error, with its kind if it has one."""
        return cls(str(error), error.kind if isinstance(error, PictureError) else Kind.UNREADABLE)


@dataclass
class SkippedFiles:
    """Names of skipped files, by kind."""

    names: dict[Kind, list[str]] = field(default_factory=dict)

    def add(self, kind: Kind, name: str) -> None:
        """Add a name; characters that no console can show are escaped."""
        shown = name.encode("utf-8", "backslashreplace").decode("utf-8")
        self.names.setdefault(kind, []).append(shown)

    def counts(self) -> dict[Kind, int]:
        """Return the number of names per kind that occurs."""
        return {kind: len(self.names[kind]) for kind in Kind if kind in self.names}

    def without(self, *kinds: Kind, names: frozenset[str] = frozenset()) -> SkippedFiles:
        """Return a copy without these kinds and names."""
        rest = {
            kind: [name for name in files if name not in names]
            for kind, files in self.names.items()
            if kind not in kinds
        }
        return SkippedFiles({kind: files for kind, files in rest.items() if files})

    def line(self) -> str:
        """Return ``skipped: 2 not a picture (a.txt, b.csv), 1 broken link (c.jpg)``, or an empty text."""
        parts = [f"{count:,} {kind} ({_some(self.names[kind])})" for kind, count in self.counts().items()]
        return f"skipped: {', '.join(parts)}" if parts else ""


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
