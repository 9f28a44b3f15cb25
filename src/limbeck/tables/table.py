"""One table class for all formats: Arrow columns, declared, guessed or text, with notes on the guesses."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from limbeck.errors import LimbeckError
from limbeck.tables.arrow import first_line, open_parquet, plain_table
from limbeck.tables.delimited import parse_delimited
from limbeck.tables.guess import declare_type, guess_type
from limbeck.tables.records import read_records, to_columns
from limbeck.tables.text import Text, as_utf8, read_large

_THREADS = 4  # that guess types
JSON_LINES = frozenset({".jsonl", ".ndjson"})
# Suffixes that make a file a table; .txt and others are read as CSV where a table is expected.
ENDINGS = frozenset({".csv", ".tsv", ".tab", ".json", ".parquet", *JSON_LINES})


@dataclass(frozen=True)
class Table:
    """Columns of a table, with one note per thing detected, guessed or repaired.

    Attributes:
        name: the file, for errors.
        columns: the columns in plain Arrow types (`limbeck.tables.arrow`).
        notes: notes for the user.
        lines: the line of each row in the file, or of the first where rows are consecutive; −1 if rows are
            not lines.
    """

    name: str
    columns: pa.Table
    notes: tuple[str, ...] = ()
    lines: int | np.ndarray = -1

    def __len__(self) -> int:
        return self.columns.num_rows

    @property
    def names(self) -> list[str]:
        """The names of the columns, in their order."""
        return self.columns.column_names

    def where(self, row: int) -> str:
        """Return the place of a row, for an error: file and line, or file and row from 1."""
        if isinstance(self.lines, np.ndarray):
            return f"{self.name}: line {self.lines[row]}"
        return f"{self.name}: line {self.lines + row}" if self.lines >= 0 else f"{self.name}: row {row + 1}"


def read_table(
    path: Path | str,
    *,
    text: Collection[str] = (),
    types: Mapping[str, str] | None = None,
    guess: bool = True,
    multiline: bool = False,
) -> Table:
    """Read a table: CSV, TSV, JSON lines, JSON or Parquet by its suffix; every other file as CSV.

    Args:
        path: the file; ``-`` is standard input.
        text: columns that are text, whatever they look like (ids and paths always are); they may be missing.
        types: types of further columns by name (`limbeck.tables.guess.TYPES`); each must exist.
        guess: guess the types of the other columns of CSV and TSV with `guess_type`; otherwise they are text.
        multiline: allow line ends inside quoted fields of CSV.

    Raises:
        LimbeckError: there is no such file, it is not readable, or a line is not a row; the error names the
            line.
    """
    if PurePath(path).suffix.lower() == ".parquet" and str(path) != "-":
        file = Path(path)
        if not file.is_file():
            raise LimbeckError(f"{path}: there is no such file; check the path", code="E-PATH-MISSING")
        try:
            columns = plain_table(open_parquet(file).read())
        except (pa.ArrowException, OSError) as error:
            raise LimbeckError(
                f"{path}: is damaged ({first_line(error)}); restore it", code="E-FILE-DAMAGED"
            ) from None
        return _typed(Table(str(path), columns), text, types or {}, False)
    return parse_table(read_large(path), str(path), text=text, types=types, guess=guess, multiline=multiline)


def parse_table(
    data: Text,
    name: str,
    *,
    text: Collection[str] = (),
    types: Mapping[str, str] | None = None,
    guess: bool = True,
    multiline: bool = False,
) -> Table:
    """Parse a table's bytes (of a member of a zip file, for example); see `read_table`."""
    ending = PurePath(name).suffix.lower()
    if ending == ".parquet":
        try:
            columns = plain_table(pa.parquet.read_table(pa.BufferReader(data)))
        except (pa.ArrowException, OSError) as error:
            raise LimbeckError(
                f"{name}: is not readable as Parquet ({first_line(error)}); restore it", code="E-FILE-DAMAGED"
            ) from None
        return _typed(Table(name, columns), text, types or {}, False)
    content, notes = as_utf8(data, name)
    if ending in JSON_LINES or ending == ".json":
        records, numbers = read_records(content[:].decode("utf-8"), name, ending in JSON_LINES)
        columns, mixed, repairs = to_columns(records, {*text, *(types or ())}, name)
        if mixed:
            repairs.append(f"{name}: kept as text because of mixed types: {', '.join(mixed)}")
        lines: int | np.ndarray = -1 if numbers is None else np.array(numbers, np.int64)
        return _typed(Table(name, columns, (*notes, *repairs), lines), text, types or {}, False)
    rows = parse_delimited(content, name, multiline=multiline)
    return _typed(Table(name, rows.columns, (*notes, *rows.notes), rows.lines), text, types or {}, guess)


def _typed(table: Table, text: Collection[str], types: Mapping[str, str], guess: bool) -> Table:
    """Return the table with declared and guessed columns in their types; a note names the guessed ones."""
    unknown = [key for key in types if key not in table.names]
    if unknown:
        raise LimbeckError(
            f"{table.name}: there is no column {unknown[0]!r}; there are {', '.join(table.names)}",
            code="E-TABLE-COLUMN",
        )

    def typed(key: str) -> pa.ChunkedArray:
        column = table.columns.column(key)
        if key in types:
            return declare_type(column, types[key], f"{table.name}: column {key!r}")
        if key in text:
            kind = column.type  # lists and bytes are kept
            plain = pa.types.is_string(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind)
            return column if plain else column.cast(pa.string())
        return guess_type(column) if guess else column

    with ThreadPoolExecutor(_THREADS) as pool:
        columns = list(pool.map(typed, table.names))
    guessed = [
        f"{key} {_word(column.type)}"
        for key, column in zip(table.names, columns, strict=True)
        if guess and key not in types and key not in text and not pa.types.is_string(column.type)
    ]
    notes = table.notes
    if guessed:
        notes = (*notes, f"{table.name}: types guessed: {', '.join(guessed)}; the other columns are text")
    return Table(table.name, pa.table(columns, names=table.names), notes, table.lines)


def _word(kind: pa.DataType) -> str:
    words = {pa.int64(): "int", pa.float64(): "float", pa.bool_(): "bool", pa.date32(): "date"}
    return words.get(kind, "time")
