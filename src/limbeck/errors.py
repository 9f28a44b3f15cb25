"""The one exception that users see, and the one warning."""

from __future__ import annotations

import copyreg
import difflib
from collections.abc import Iterable

MANY = 12
"""More names than this are not listed in a message if a command lists them."""


class LimbeckError(Exception):
    """Bad input, or a state that the user can correct.

    The message is one line that names the file or field and what to do. The command line prints it with its
    code and exits with status 1.

    Attributes:
        message: the line, which is also `str` of the error.
        code: the kind of fault, such as ``E-PATH-MISSING``: a key of `limbeck.error_codes.CODES`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    def line(self) -> str:
        """Return the message with its code at the end, as the command line prints it."""
        return f"{self.message} [{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle without calling `__init__`, whose keywords `Exception` would lose between processes."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class InputNote(UserWarning):
    """A note on what was guessed, skipped or repaired while reading a file, where no report contains it.

    The command line prints it on standard error and continues.
    """


def proposal(name: str, known: Iterable[str], see: str = "") -> str:
    """Return what a message about an unknown name proposes: the name that is alike, or the known names.

    Args:
        see: the command that lists the names; it is named in place of more than `MANY` names.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"see {see}" if see and len(names) > MANY else f"choose from {', '.join(names) or 'none'}"
