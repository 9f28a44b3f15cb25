"""The one exception that users see, and the one warning."""

from __future__ import annotations


class LimbeckError(Exception):
    """Bad input, or a state that the user can correct.

    The message is one line that names the file or field and what to do. The command line prints it and exits
    with status 1.
    """


class InputNote(UserWarning):
    """A note on what was guessed, skipped or repaired while reading a file, where no report contains it.

    The command line prints it on standard error and continues.
    """
