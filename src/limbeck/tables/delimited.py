"""CSV and related formats: the separator is detected, a line is a row, cells are text; Arrow parses them.

By RFC 4180 a field may be quoted, with quotes doubled inside. With tabs as separator a quote is a character,
because text/tab-separated-values has no quoting.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from limbeck.errors import LimbeckError
from limbeck.tables.quotes import check_quotes, line_fields, quick_look
from limbeck.tables.text import Text, holds

SEPARATORS = (",", "\t", ";", "|")
_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_ENDINGS = {".tsv": "\t", ".tab": "\t", ".csv": ","}
_SAMPLE = 50  # lines from which the separator is detected
_BLOCK = 1 << 20
_LONE = re.compile(rb"\r(?!\n)")
_MAX_BLOCK = (1 << 31) - 1


@dataclass(frozen=True)
class Rows:
    """Text columns, the line of the file of each row, and notes.

    ``lines`` is the line of the first row where rows are on consecutive lines.
    """

    columns: pa.Table
    lines: int | np.ndarray
    notes: tuple[str, ...]


def parse_delimited(data: Text, name: str, *, multiline: bool = False) -> Rows:
    r"""Parse a text with a header line; every cell is text, an empty cell is null.

    Args:
        data: UTF-8 without byte order mark, line ends ``\n`` or ``\r\n``.
        name: the file, for errors; its suffix gives the expected separator.
        multiline: allow line ends inside quoted fields (not with tabs).

    Raises:
        LimbeckError: there is no header, column names repeat, quotes are broken, or a row has another number
            of fields than the header; the error names the line.
    """
    head = _first_line(data)
    if head is None:
        raise LimbeckError(
            f"{name}: is empty; write a header line with the names of the columns", code="E-FILE-EMPTY"
        )
    number, start, stop = head
    separator, notes = _separator(data, start, name)
    quoted = separator != "\t"
    names, unnamed = _header(data[start:stop].decode("utf-8").removesuffix("\r"), separator, name, number + 1)
    notes += unnamed
    if multiline and quoted:
        return _parse_multiline(data[start:], separator, names, name, number, notes)
    with ThreadPoolExecutor(1) as pool:
        look = pool.submit(quick_look, data, separator)
        columns, bare = _parse(data, min(stop + 1, len(data)), separator, len(names))
        ends, fit = look.result()
    below = ends - number - 1 + (data[-1:] != b"\n" and stop < len(data))
    as_many = columns is not None and below == len(columns)
    if quoted and not (as_many and fit):
        inside = check_quotes(data, separator, name)
        if inside:
            notes.append(f"{name}: quotes inside fields on {inside:,} lines are kept as characters")
    if columns is None:
        raise _odd_row(data, separator, names, name, number)
    lines: int | np.ndarray = number + 2
    if not as_many:
        texts = itertools.islice(enumerate(data[:].split(b"\n"), start=1), number + 1, None)
        filled = [at for at, line in texts if _counts(line, len(names))]
        lines = np.array(filled) if len(filled) == len(columns) else -1
    arrays = [pc.replace_substring(column, bare, "\r") if bare else column for column in columns.columns]
    table = pa.table(arrays, names=names)
    if not quoted:
        notes += _quoted_cells(table, name)
    return Rows(table, lines, tuple(notes))


def _first_line(data: Text) -> tuple[int, int, int] | None:
    """Return number (from 0), start and stop of the first line that is not blank."""
    start = number = 0
    while start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        if data[start:end].strip():
            return number, start, end
        start, number = end + 1, number + 1
    return None


def _separator(data: Text, start: int, name: str) -> tuple[str, list[str]]:
    """Return the separator that splits the first lines evenly; the suffix of the file decides a tie."""
    sample: list[str] = []
    while len(sample) < _SAMPLE and start < len(data):
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        sample.append(data[start:end].decode("utf-8").removesuffix("\r"))
        start = end + 1
    sample = [line for line in sample if line.strip()]
    expected = _ENDINGS.get(PurePath(name).suffix.lower(), ",")
    order = sorted(SEPARATORS, key=lambda mark: mark != expected)
    fields = {mark: [_count(line, mark) for line in sample] for mark in order}
    cutting = [mark for mark in order if fields[mark][0] > 1]
    even = [mark for mark in cutting if len(set(fields[mark])) == 1]
    found = max(even or cutting, key=lambda mark: fields[mark][0], default=expected)
    if found == expected or PurePath(name).suffix.lower() not in _ENDINGS:
        return found, []
    return found, [f"{name}: columns are separated by {_NAMES[found]}"]


def _count(line: str, separator: str) -> int:
    if separator == "\t":
        return line.count("\t") + 1
    try:
        return len(next(csv.reader([line], delimiter=separator), []))
    except csv.Error:
        return 0


def _header(line: str, separator: str, name: str, number: int) -> tuple[list[str], list[str]]:
    where = f"{name}: line {number}"
    fields = line.split("\t") if separator == "\t" else line_fields(line, separator, where)
    names = [field.strip() for field in fields]
    empty = [at for at, field in enumerate(names) if not field]
    for at in empty:
        names[at] = f"column_{at + 1}"
    repeated = [key for key, count in Counter(names).items() if count > 1]
    if repeated:
        raise LimbeckError(
            f"{where}: column {repeated[0]!r} is repeated; give each column its own name",
            code="E-TABLE-HEADER",
        )
    notes = [f"{name}: column {at + 1} has no name and is called {names[at]!r}" for at in empty]
    return names, notes


def _parse(data: Text, start: int, separator: str, width: int) -> tuple[pa.Table | None, str]:
    r"""Return the columns, or None for a row of another length; and the stand-in for a lone ``\r``."""
    bare, body = "", memoryview(data)[start:]
    if holds(data, b"\r") and _LONE.search(data):
        # Arrow ends a line there, the format does not: another character replaces it while Arrow parses.
        bare = next(mark for mark in map(chr, range(0xE000, 0xF900)) if data.find(mark.encode()) < 0)
        body = memoryview(bytes(body).replace(b"\r\n", b"\n").replace(b"\r", bare.encode()))
    numbers = [str(at) for at in range(width)]
    if not body:
        return pa.table({at: pa.array([], pa.string()) for at in numbers}), bare
    parse = pyarrow.csv.ParseOptions(
        delimiter=separator,
        quote_char=False if separator == "\t" else '"',
        invalid_row_handler=lambda row: "error" if row.text.strip() else "skip",
    )
    convert = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(numbers, pa.string()), null_values=[""], strings_can_be_null=True
    )
    for block in (_BLOCK, min(2 * len(body) + 1, _MAX_BLOCK)):  # a line that is longer than a block
        read = pyarrow.csv.ReadOptions(column_names=numbers, block_size=block)
        with contextlib.suppress(pa.ArrowException):
            source = pa.BufferReader(body)
            table = pyarrow.csv.read_csv(
                source, read_options=read, parse_options=parse, convert_options=convert
            )
            return table, bare
    return None, bare


def _counts(line: bytes, width: int) -> bool:
    """Return whether a line is a row: Arrow skips empty lines, we skip blank ones of several columns."""
    return bool(line.strip()) if width > 1 else bool(line.rstrip(b"\r"))


def _odd_row(data: Text, separator: str, names: list[str], name: str, number: int) -> LimbeckError:
    """Return the error that names the first line with another number of fields than the header."""
    for at, raw in enumerate(data[:].decode("utf-8").split("\n")[number + 1 :], start=number + 2):
        line = raw.removesuffix("\r").replace("\r", " ")
        if line.strip():
            where = f"{name}: line {at}"
            fields = line.split("\t") if separator == "\t" else line_fields(line, separator, where)
            if len(fields) != len(names):
                return _unlike(where, fields, len(names), separator)
    return LimbeckError(f"{name}: is not a readable table; correct or restore it", code="E-TABLE-FORM")


def _unlike(where: str, fields: list[str], width: int, separator: str) -> LimbeckError:
    found = len(fields)
    more = "more" if found > width else "fewer"
    fix = f"quote fields that contain {separator!r}" if separator != "\t" else "remove tabs inside fields"
    if found < width:
        fix = f"write {separator!r} for empty fields too"
    elif separator != "\t" and any(re.match(r'\s+"', field) for field in fields):
        fix = "a blank before a quote makes it an ordinary character; remove the blank"
    return LimbeckError(
        f"{where} has {more} fields than the header ({found}, not {width}); {fix}", code="E-TABLE-ROW"
    )


def _parse_multiline(
    data: bytes, separator: str, names: list[str], name: str, number: int, notes: list[str]
) -> Rows:
    reader = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), delimiter=separator, strict=True)
    cells: list[list[str | None]] = [[] for _ in names]
    lines: list[int] = []
    before = 0
    try:
        for fields in reader:
            begin, before = before + 1, reader.line_num
            if begin == 1 or not any(field.strip() for field in fields):
                continue
            if len(fields) != len(names):
                raise _unlike(f"{name}: line {number + begin}", fields, len(names), separator)
            lines.append(number + begin)
            for column, field in zip(cells, fields, strict=True):
                column.append(field or None)
    except csv.Error as error:
        where = f"{name}: line {number + before + 1}"
        raise LimbeckError(
            f"{where} begins a row that is not readable ({error}); correct its quotes", code="E-TABLE-QUOTES"
        ) from None
    table = pa.table([pa.array(column, pa.string()) for column in cells], names=names)
    return Rows(table, np.array(lines, np.int64), tuple(notes))


def _quoted_cells(table: pa.Table, name: str) -> list[str]:
    """Return a note on quoted cells of another program, whose quotes a tab-separated file keeps."""
    count = sum(
        pc.sum(pc.and_(pc.starts_with(column, '"'), pc.ends_with(column, '"'))).as_py() or 0
        for column in table.columns
    )
    if not count:
        return []
    fix = "if they only quote the fields, write the table as CSV"
    return [f"{name}: {count:,} cells begin and end with a quote, which tab-separated files keep; {fix}"]
