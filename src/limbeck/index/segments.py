"""Immutable segments: points, items and a sorted id table in one directory, memory-mapped when read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.files import fsync_path, sha256_file
from limbeck.index.arrays import NpyWriter, open_npy
from limbeck.index.items import Items, TableBuffer, as_items, hash_ids
from limbeck.index.manifest import FileEntry, SegmentEntry
from limbeck.spaces import Space

POINTS, ITEMS, ID_HASH = "points.npy", "items.arrow", "id_hash.npy"
Batches = Iterable[tuple[np.ndarray, Items]]


class Segment:
    """One segment, opened: nothing is read before it is asked for.

    Attributes:
        points: (n, width) memory-mapped stored points.
        items: Arrow table of n rows, memory-mapped.
    """

    def __init__(self, directory: Path, entry: SegmentEntry, space: Space) -> None:
        self.directory, self.rows = Path(directory), entry.rows
        self.points = open_npy(self.directory / POINTS)
        if self.points.shape != (entry.rows, space.width) or self.points.dtype != space.dtype:
            raise LimbeckError(
                f"{self.directory / POINTS}: {self.points.dtype} {self.points.shape}, "
                f"expected {space.dtype} ({entry.rows}, {space.width}); rebuild the index"
            )
        path = self.directory / ITEMS
        try:
            self.items: pa.Table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        except pa.ArrowInvalid as error:
            raise LimbeckError(f"{path}: not readable ({error}); rebuild the index") from None
        if len(self.items) != entry.rows:
            raise LimbeckError(f"{path}: {len(self.items)} rows, expected {entry.rows}; rebuild the index")
        # Row 0 is the sorted hashes, row 1 their row numbers: contiguous, so that a look-up copies nothing.
        self._hashes, self._order = open_npy(self.directory / ID_HASH)

    def item(self, row: int) -> dict[str, Any]:
        """All columns of one row. A slice, not a take: a take would gather the whole table."""
        return self.items.slice(row, 1).to_pylist()[0]

    def id_of(self, row: int) -> str:
        """The id of one row."""
        return self.items.column("id")[row].as_py()

    def row_of(self, item_id: str) -> int | None:
        """The row of an id, or None."""
        wanted = hash_ids([item_id])[0]
        at = int(np.searchsorted(self._hashes, wanted))
        while at < self.rows and self._hashes[at] == wanted:
            row = int(self._order[at])
            if self.id_of(row) == item_id:
                return row
            at += 1
        return None

    def sorted_hashes(self) -> np.ndarray:
        """(n,) uint64 hashes of the ids, ascending."""
        return self._hashes

    def rows_of_hash(self, value: np.uint64) -> np.ndarray:
        """Rows whose id has this hash, ascending."""
        low, high = np.searchsorted(self._hashes, [value, value + np.uint64(1)])
        if value == np.iinfo(np.uint64).max:
            high = self.rows
        return self._order[low:high].astype(np.int64)


def write_segment(
    directory: Path, batches: Batches, space: Space
) -> tuple[SegmentEntry, dict[str, FileEntry]]:
    """Write the files of a segment from (points, items) batches; every batch has the first one's columns.

    Args:
        directory: a new directory ``segments/<uuid>``; its name becomes the segment's.
        batches: (n, width) stored points with a table of n rows, any number of times.
        space: checks the points.

    Returns:
        The manifest's entries: the segment, and {path relative to the index: size and SHA-256}.

    Raises:
        LimbeckError: nothing to write, points that are not of the space, rows that do not pair up.
        OSError: the disk failed; the caller removes the directory.
    """
    directory = Path(directory)
    directory.mkdir(parents=True)
    hashes: list[np.ndarray] = []
    schema: pa.Schema | None = None
    with NpyWriter(directory / POINTS, space.dtype, space.width) as points_file:
        items_file = buffer = None
        try:
            for points, items in batches:
                table = as_items(items)
                checked = space.check(points)
                if len(checked) != len(table):
                    raise LimbeckError(
                        f"index: {len(checked)} points but {len(table)} items; give one item a point"
                    )
                if items_file is None:
                    schema = table.schema
                    items_file = pa.ipc.new_file(str(directory / ITEMS), schema)
                    buffer = TableBuffer(items_file)
                assert schema is not None and buffer is not None
                if not table.schema.equals(schema):
                    raise LimbeckError(
                        f"index: items change their columns from {schema.names} to {table.schema.names}"
                    )
                points_file.append(checked)
                buffer.append(table)
                hashes.append(hash_ids(table.column("id").to_pylist()))
            if buffer is not None:
                buffer.flush()
        finally:
            if items_file is not None:
                items_file.close()
    rows = points_file.rows
    if rows == 0:
        raise LimbeckError("index: no items; give at least one")
    joined = np.concatenate(hashes)
    order = np.argsort(joined, kind="stable")
    with (directory / ID_HASH).open("xb") as stream:
        np.save(stream, np.stack([joined[order], order.astype("<u8")]))
        stream.flush()
        os.fsync(stream.fileno())
    fsync_path(directory / ITEMS)
    fsync_path(directory)
    return SegmentEntry(directory.name, rows), {
        f"segments/{directory.name}/{name}": file_entry(directory / name) for name in (POINTS, ITEMS, ID_HASH)
    }


def file_entry(path: Path) -> FileEntry:
    """Size and SHA-256 of a finished file."""
    return FileEntry(path.stat().st_size, sha256_file(path))


def same_file(path: Path, entry: FileEntry) -> bool:
    """Whether a file still has the size and SHA-256 of its entry."""
    return path.is_file() and path.stat().st_size == entry.size and sha256_file(path) == entry.sha256


def check_unique(segments: list[Segment]) -> None:
    """Refuse an id that two rows share, within a segment or across segments.

    Raises:
        LimbeckError: names the id.
    """
    joined = np.sort(np.concatenate([segment.sorted_hashes() for segment in segments]))
    suspects = np.unique(joined[1:][joined[1:] == joined[:-1]])
    for value in suspects:
        seen: set[str] = set()
        for segment in segments:
            for row in segment.rows_of_hash(value):
                item_id = segment.id_of(int(row))
                if item_id in seen:
                    raise LimbeckError(f"items: id {item_id!r} appears more than once; ids must be unique")
                seen.add(item_id)
