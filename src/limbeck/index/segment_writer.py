"""Writes a segment batch by batch: points, items and id table; each file is fsynced."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.files import fsync_path
from limbeck.index.arrays import NpyWriter
from limbeck.index.id_table import IdTableWriter
from limbeck.index.items import Items, TableBuffer, as_items, hash_ids
from limbeck.index.manifest import FileEntry, SegmentEntry
from limbeck.index.segments import ID_HASH, ITEMS, POINTS, file_entry
from limbeck.spaces import Space

Batches = Iterable[tuple[np.ndarray, Items]]


def write_segment(
    directory: Path, batches: Batches, space: Space, *, empty: pa.Schema | None = None
) -> tuple[SegmentEntry, dict[str, FileEntry]]:
    """Write the files of a segment from (points, items) batches; all batches must have the same columns.

    Args:
        directory: a new directory ``segments/<uuid>``; its name becomes the segment's.
        batches: (n, width) stored points and a table of n items, any number of times.
        space: the space of the points, which are checked.
        empty: the columns of a segment without rows; by default such a segment is an error.

    Returns:
        The manifest's entries: the segment, and its files by path relative to the index.

    Raises:
        LimbeckError: there are no rows, points are not of the space, or their number is not the items'.
        OSError: the disk failed; the caller removes the directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True)
    ids = IdTableWriter(directory / ID_HASH)
    with (
        NpyWriter(directory / POINTS, space.dtype, space.width) as points_file,
        _ItemsFile(directory / ITEMS, empty) as items_file,
    ):
        for points, items in batches:
            table = as_items(items)
            checked = space.check(points)
            if len(checked) != len(table):
                raise LimbeckError(
                    f"index: {len(checked)} points but {len(table)} items; give one item per point",
                    code="E-ARRAY-ROWS",
                )
            points_file.append(checked)
            items_file.append(table)
            ids.append(hash_ids(table.column("id").to_pylist()))
        if not points_file.rows and empty is None:
            raise LimbeckError("index: there are no items; give at least one", code="E-ENCODE-EMPTY")
    ids.write()
    fsync_path(directory / ITEMS)
    fsync_path(directory)
    return SegmentEntry(directory.name, points_file.rows), {
        f"segments/{directory.name}/{name}": file_entry(directory / name) for name in (POINTS, ITEMS, ID_HASH)
    }


class _ItemsFile:
    """Writes the Arrow file of a segment in even chunks; its first table, or the schema, opens it."""

    def __init__(self, path: Path, schema: pa.Schema | None) -> None:
        self._path = path
        self._file: pa.ipc.RecordBatchFileWriter | None = None
        if schema is not None:
            self._open(schema)

    def _open(self, schema: pa.Schema) -> None:
        self._schema, self._file = schema, pa.ipc.new_file(str(self._path), schema)
        self._buffer = TableBuffer(self._file)

    def append(self, table: pa.Table) -> None:
        if self._file is None:
            self._open(table.schema)
        if not table.schema.equals(self._schema):
            raise LimbeckError(
                f"index: items change their columns from {self._schema.names} to {table.schema.names}; "
                "give every batch the same ones",
                code="E-TABLE-COLUMN",
            )
        self._buffer.append(table)

    def __enter__(self) -> _ItemsFile:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._file is not None:
            try:
                if kind is None:
                    self._buffer.flush()
            finally:
                self._file.close()
