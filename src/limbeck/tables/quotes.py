"""Checks that every quoted field of a separated text closes on its own line, as Arrow's parser needs."""

from __future__ import annotations

import csv

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.tables.text import Text, holds

_QUOTE, _LF, _CR = 34, 10, 13
_PIECE = 1 << 18


def line_fields(line: str, separator: str, where: str) -> list[str]:
    """Split one line into fields by RFC 4180: a field that begins with a quote ends with one, doubled inside.

    Raises:
        LimbeckError: a quoted field does not close on the line, or continues after its closing quote.
    """
    try:
        return next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error as error:
        raise LimbeckError(f"{where}: {_reason(error)}", code="E-TABLE-QUOTES") from None


def quick_look(data: Text, separator: str) -> tuple[int, bool]:
    """Return the number of line ends, and whether all quotes open and close fields within their lines.

    Every second quote must close the field that the one before it opened. A parser that continues quoted
    fields over line ends must then find as many rows as lines; if it does, every quote closes on its own
    line.
    """
    buffer = np.frombuffer(data, np.uint8)
    ends = sum(
        int(np.count_nonzero(buffer[start : start + _PIECE] == _LF)) for start in range(0, len(data), _PIECE)
    )
    if separator == "\t" or not holds(data, b'"'):
        return ends, True
    at = _positions(buffer, _QUOTE)
    if len(at) % 2:
        return ends, False
    opens, closes = at[0::2], at[1::2]
    before = buffer[opens - 1]
    before[:1] = before[:1] if opens[0] else _LF
    after = buffer[np.minimum(closes + 1, len(buffer) - 1)]
    after[-1:] = after[-1:] if closes[-1] + 1 < len(buffer) else _LF
    good = np.zeros(256, bool)
    good[[ord(separator), _LF, _QUOTE]] = True
    fits = good[before].all()
    good[_CR] = True
    return ends, bool(fits and good[after].all())


def check_quotes(data: Text, separator: str, name: str) -> int:
    """Check all quotes of a UTF-8 text; return the number of lines with quotes as characters inside fields.

    Raises:
        LimbeckError: quotes are broken, as in `line_fields`; the error names the line.
    """
    buffer = np.frombuffer(data, np.uint8)
    ends = _positions(buffer, _LF)
    at = _positions(buffer, _QUOTE)
    line = np.searchsorted(ends, at)
    begins = np.flatnonzero(np.diff(line, prepend=-1))
    counts = np.diff(begins, append=len(at))
    opening = (np.arange(len(at)) - np.repeat(begins, counts)) % 2 == 0
    odd = np.repeat(counts % 2 == 1, counts)
    suspects = np.unique(line[~_fits(buffer, at, opening, separator) | odd])
    for number in suspects.tolist():
        start = int(ends[number - 1]) + 1 if number else 0
        stop = int(ends[number]) if number < len(ends) else len(data)
        text = data[start:stop].decode("utf-8").removesuffix("\r")
        line_fields(text, separator, f"{name}: line {number + 1}")
    return len(suspects)


def _positions(buffer: np.ndarray, value: int) -> np.ndarray:
    """Return the positions int64 (n,) of a byte, searched in pieces that stay in the processor's cache."""
    starts = range(0, len(buffer), _PIECE)
    found = [np.flatnonzero(buffer[start : start + _PIECE] == value) + start for start in starts]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def _fits(buffer: np.ndarray, at: np.ndarray, opening: np.ndarray, separator: str) -> np.ndarray:
    """Return bool (n,): whether quotes at positions (n,) are where a field opens or closes.

    A field opens after a separator and closes before one; two adjacent quotes are one character.
    """
    before = np.where(at > 0, buffer[np.maximum(at - 1, 0)], _LF)
    after = np.where(at + 1 < len(buffer), buffer[np.minimum(at + 1, len(buffer) - 1)], _LF)
    beside = np.where(opening, before, after)
    mark = ord(separator)
    return (beside == mark) | (beside == _LF) | (beside == _QUOTE) | (~opening & (beside == _CR))


def _reason(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        how = "close it, or use --multiline if fields may contain line ends"
        return f'a quote (") opens a field and does not close on this line; {how}'
    if "expected after" in text:
        return 'text follows the closing quote (") of a field; double the quotes inside it'
    return f"not readable ({text}); correct the line"
