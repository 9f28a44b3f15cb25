"""Reads the files of a table of pictures in groups of rows, in plain types (`limbeck.tables`)."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.errors import LimbeckError
from limbeck.pictures.decoding import SourceDamaged
from limbeck.tables import open_parquet, plain_schema, plain_table, read_table, warn_notes
from limbeck.tables.arrow import first_line


class Shard(ABC):
    """Reads one file in groups of rows.

    Attributes:
        path: the file.
        schema: its columns in plain types.
        starts: the first row of each group, and at the end the number of rows.
    """

    path: Path
    schema: pa.Schema
    starts: list[int]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return self.starts[-1]

    @abstractmethod
    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a group, with the given columns or all."""

    def where(self, row: int) -> str:
        """Return the place of a row, for an error message."""
        return f"{self.path}: row {row}"

    def may_lack(self, column: str) -> bool:
        """Return whether a column, or a field ``a.b`` of one, may be null in a row."""
        return True


class ParquetShard(Shard):
    """Reads a Parquet file, one row group at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        file = self._open()
        self._about = file.metadata
        self.schema = plain_schema(file.schema_arrow)
        sizes = (self._about.row_group(group).num_rows for group in range(self._about.num_row_groups))
        self.starts = [0, *itertools.accumulate(sizes)]

    def _open(self) -> pq.ParquetFile:
        try:
            return open_parquet(self.path)
        except LimbeckError as error:
            raise SourceDamaged(str(error), code=error.code) from None

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """Return the rows of a row group.

        Raises:
            SourceDamaged: the group is damaged; the error names its rows.
        """
        try:
            return plain_table(self._open().read_row_group(group, columns=columns))
        except (pa.ArrowException, OSError) as error:
            where = f"rows {self.starts[group]} to {self.starts[group + 1] - 1}"
            reason = first_line(error)
            raise SourceDamaged(
                f"{self.path}: is damaged at {where} ({reason}); restore it", code="E-FILE-DAMAGED"
            ) from None

    def may_lack(self, column: str) -> bool:
        """Return whether a column may be null, by the statistics of the file."""
        for group in range(self._about.num_row_groups):
            about = self._about.row_group(group)
            for at in range(about.num_columns):
                chunk = about.column(at)
                if chunk.path_in_schema == column:
                    known = chunk.statistics
                    if known is None or not known.has_null_count or known.null_count:
                        return True
        return False


class TextShard(Shard):
    """Reads a whole CSV, TSV, JSON or JSON lines file into memory, and warns about guesses."""

    def __init__(
        self, path: Path, text: tuple[str, ...], types: Mapping[str, str] | None, multiline: bool
    ) -> None:
        self.path = path
        self._table = read_table(path, text=text, types=types, multiline=multiline)
        warn_notes(self._table.notes)
        self.schema, self.starts = self._table.columns.schema, [0, len(self._table)]

    def read(self, group: int, columns: list[str] | None = None) -> pa.Table:
        """Return all rows, which are the only group."""
        table = self._table.columns
        return table if columns is None else table.select(columns)

    def where(self, row: int) -> str:
        """Return file and line of a row."""
        return self._table.where(row)
