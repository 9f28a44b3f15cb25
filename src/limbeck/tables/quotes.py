"""Whether every quoted field of a separated text closes on its own line; only then Arrow may parse it."""

from __future__ import annotations

import csv

import numpy as np

from limbeck.errors import LimbeckError

_QUOTE, _LF, _CR = 34, 10, 13


def line_fields(line: str, separator: str, where: str) -> list[str]:
    """Fields of one line, by RFC 4180: a field that begins with a quote ends with one, doubled inside.

    Raises:
        LimbeckError: a quoted field that does not close on the line, or goes on after its closing quote.
    """
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise LimbeckError(f"{where}: {_reason(error)}") from None


def check_quotes(data: bytes, ends: np.ndarray, separator: str, name: str, first: int) -> int:
    """Check all quotes of a text; returns in how many lines quotes stand inside fields as characters.

    Args:
        data: UTF-8.
        ends: int64 (n,), positions of its line ends ``\\n``.
        separator: one ASCII character.
        name: file, for the error.
        first: number of the first line in the file.

    Raises:
        LimbeckError: names the line whose quotes are broken, as in `line_fields`.
    """
    if b'"' not in data:
        return 0
    buffer = np.frombuffer(data, np.uint8)
    at = np.flatnonzero(buffer == _QUOTE)
    line = np.searchsorted(ends, at)
    begins = np.flatnonzero(np.diff(line, prepend=-1))
    counts = np.diff(begins, append=len(at))
    opening = (np.arange(len(at)) - np.repeat(begins, counts)) % 2 == 0
    before = np.where(at > 0, buffer[np.maximum(at - 1, 0)], _LF)
    after = np.where(at + 1 < len(buffer), buffer[np.minimum(at + 1, len(buffer) - 1)], _LF)
    mark = ord(separator)
    # A field opens behind a separator and closes before one; two quotes side by side are one character.
    fits = np.where(
        opening,
        (before == mark) | (before == _LF) | (before == _QUOTE),
        (after == mark) | (after == _LF) | (after == _CR) | (after == _QUOTE),
    )
    odd = np.repeat(counts % 2 == 1, counts)
    suspects = np.unique(line[~fits | odd])
    for number in suspects.tolist():
        start = int(ends[number - 1]) + 1 if number else 0
        stop = int(ends[number]) if number < len(ends) else len(data)
        text = data[start:stop].decode("utf-8").removesuffix("\r")
        line_fields(text, separator, f"{name}: line {first + number}")
    return len(suspects)


def _reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        how = "close it, or give --multiline if fields may hold line ends"
        return f'a quote (") opens a field and does not close on this line; {how}'
    if "expected after" in text:
        return 'text follows the closing quote (") of a field; double the quotes inside it'
    return f"not readable ({text}); mend the line"
