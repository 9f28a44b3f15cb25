"""The one exception that users see, and the one warning."""

from __future__ import annotations

import copyreg


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
