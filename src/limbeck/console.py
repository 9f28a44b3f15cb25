"""The one place that prints: no name can control the terminal, and no encoding raises an error.

A name or caption may contain escape sequences, control characters or text directions; they are shown as
escapes such as ``\\x1b``. Characters that the terminal's encoding lacks are shown as ``?``.
"""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

# Control characters except tab and line feed, direction marks, and lone surrogates.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WIDE = 10_000
_taken: ContextVar[bool] = ContextVar("_taken", default=False)


def printable(text: str) -> str:
    """Return the text with escapes for characters that would control a terminal."""
    return _HARMFUL.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def echo(message: object = "", *, err: bool = False) -> None:
    """Print one line: to standard error with ``err`` or while standard output is a file (`--json -`)."""
    stream = sys.stderr if err or _taken.get() else sys.stdout
    _forgive(stream)
    stream.write(printable(str(message)) + "\n")
    stream.flush()


def console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return a rich console that prints as `echo` does: tables, titles and lines are made printable.

    Lines break only at the width of a terminal; a log or pipe has no width, so no table wraps there.
    """
    forgive_encodings()
    made = _console_class()(stderr=stderr or _taken.get(), quiet=quiet)
    if not made.is_terminal:
        made.width = _WIDE
    return made


@functools.cache
def _console_class() -> type[Console]:
    from rich.console import Console
    from rich.text import Text

    class PrintableConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text), **options)

    return PrintableConsole


@contextlib.contextmanager
def output_taken() -> Iterator[None]:
    """Print to standard error in this context, because standard output is a file."""
    token = _taken.set(True)
    try:
        yield
    finally:
        _taken.reset(token)


def forgive_encodings() -> None:
    """Let both streams print ``?`` for characters that their encoding lacks."""
    _forgive(sys.stdout)
    _forgive(sys.stderr)


def _forgive(stream: object) -> None:
    if getattr(stream, "errors", None) in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")
