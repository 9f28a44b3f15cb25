"""The one exception a user sees, and the one warning."""

from __future__ import annotations


class LimbeckError(Exception):
    """Bad input or a state that the user can mend.

    The message is one line that names the file or field at fault and what to do about it.
    The command line prints it and exits with status 1.
    """


class InputNote(UserWarning):
    """What was guessed, passed over or repaired while a file was read, where no report says it.

    The command line prints it on standard error and goes on.
    """
