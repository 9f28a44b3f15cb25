"""Reads segments: immutable directories with points, items and a sorted id table, memory-mapped.

`limbeck.index.segment_writer` writes them.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.files import sha256_file
from limbeck.index.arrays import open_npy
from limbeck.index.checked import CheckedFile
from limbeck.index.items import with_columns
from limbeck.index.manifest import FileEntry, SegmentEntry
from limbeck.spaces import Space

_ROWS = 1 << 16  # rows per piece of an iteration
_FEW = 64  # rows that are sliced one by one: a take imports pyarrow.compute, which takes longer
RESTORE = "restore the file or rebuild the index"
POINTS, ITEMS, ID_HASH = "points.npy", "items.arrow", "id_hash.npy"


class Segment:
    """Gives access to one segment; its files are mapped at once, and verified and read at their first use.

    Attributes:
        removed: int64 row numbers, ascending, of the removed rows.
    """

    def __init__(
        self,
        directory: Path,
        entry: SegmentEntry,
        space: Space,
        removed: np.ndarray | None = None,
        files: Mapping[str, FileEntry] | None = None,
    ) -> None:
        """Map the files of a segment.

        Args:
            directory: ``segments/<name>``.
            entry: its entry in the manifest.
            space: the space of the points.
            removed: int64 row numbers, ascending, of the removed rows.
            files: sizes and checksums of its files, which are verified before use; not verified if None.

        Raises:
            LimbeckError: a file is missing in ``files`` or does not have the expected shape or type.
        """
        self.directory, self.name, self.rows = Path(directory), entry.name, entry.rows
        self.removed = np.empty(0, np.int64) if removed is None else removed
        if files is not None and not {POINTS, ITEMS, ID_HASH} <= files.keys():
            raise LimbeckError(
                f"{self.directory}: the manifest names no checksums of its files; {RESTORE}",
                code="E-INDEX-DAMAGED",
            )
        self._joint: Callable[[], pa.Schema] | None = None
        self._mapped = {
            name: CheckedFile(self.directory / name, file, RESTORE) for name, file in (files or {}).items()
        }
        self._points = open_npy(self.directory / POINTS)
        if self._points.shape != (entry.rows, space.width) or self._points.dtype != space.dtype:
            raise LimbeckError(
                f"{self.directory / POINTS}: holds {self._points.dtype} {self._points.shape}, "
                f"expected {space.dtype} ({entry.rows}, {space.width}); rebuild the index",
                code="E-INDEX-DAMAGED",
            )
        self._items = pa.memory_map(str(self.directory / ITEMS))
        self._ids = open_npy(self.directory / ID_HASH)
        if self._ids.shape != (2, entry.rows) or self._ids.dtype != np.dtype("<u8"):
            raise LimbeckError(
                f"{self.directory / ID_HASH}: holds {self._ids.dtype} {self._ids.shape}, "
                f"expected uint64 (2, {entry.rows}); rebuild the index",
                code="E-INDEX-DAMAGED",
            )
        # columns whose values are checked: of one record batch, or of all (None)
        self._sound: set[tuple[str, int | None]] = set()

    def _check(self, name: str) -> None:
        """Compare a file with its SHA-256, if that has not been done."""
        if name in self._mapped:
            self._mapped[name].check()

    def load(self) -> None:
        """Check and open all files now."""
        for name in self._mapped:
            self._check(name)
        self._batches  # noqa: B018

    @property
    def points(self) -> np.ndarray:
        """The (n, width) stored points, memory-mapped."""
        self._check(POINTS)
        return self._points

    @functools.cached_property
    def own_items(self) -> pa.Table:
        """The table in the segment's file, n rows."""
        self._check(ITEMS)
        path = self.directory / ITEMS
        try:
            items = pa.ipc.open_file(self._items).read_all()
        except (pa.ArrowException, OSError, ValueError) as error:
            cause = str(error).splitlines()[0][:80]
            raise LimbeckError(
                f"{path}: is not readable ({cause}); rebuild the index", code="E-INDEX-DAMAGED"
            ) from None
        if len(items) != self.rows:
            raise LimbeckError(
                f"{path}: has {len(items)} rows, expected {self.rows}; rebuild the index",
                code="E-INDEX-DAMAGED",
            )
        return items

    @functools.cached_property
    def items(self) -> pa.Table:
        """The n items, memory-mapped; in a store, columns of other segments only are null."""
        schema = self.own_items.schema if self._joint is None else self._joint()
        return self.own_items if self.has_columns(schema) else with_columns(self.own_items, schema)

    def joined(self, schema: Callable[[], pa.Schema]) -> None:
        """Set the schema that `items` shows; the function is called when items are first read."""
        self._joint = schema

    def without(self, removed: np.ndarray) -> Segment:
        """Return the same segment with other removed rows (m,), ascending."""
        other = copy.copy(self)
        other.removed = removed
        return other

    def has_columns(self, schema: pa.Schema) -> bool:
        """Return whether the segment's file has exactly the columns of a schema, in this order."""
        return list(self.own_items.column_names) == schema.names

    def _checked(self, values: pa.Array) -> pa.Array:
        """Check the offsets of Arrow values, so that a damaged file cannot cause stray reads; return them."""
        try:
            values.validate(full=True)
        except pa.ArrowInvalid as error:
            raise LimbeckError(
                f"{self.directory / ITEMS}: is damaged ({str(error).splitlines()[0][:80]}); "
                "see limbeck index verify, restore the file or rebuild the index",
                code="E-INDEX-DAMAGED",
            ) from None
        return values

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a whole column of the items; its values are checked once."""
        found = self.items.column(name)
        if (name, None) not in self._sound:
            self._checked(found)
            self._sound.add((name, None))
        return found

    @functools.cached_property
    def _batches(self) -> tuple[list[pa.RecordBatch], np.ndarray]:
        """The items as record batches, and the row after the last one of each batch."""
        batches = self.items.to_batches()
        return batches, np.cumsum([len(batch) for batch in batches])

    def take(self, rows: np.ndarray, names: Sequence[str] | None = None) -> pa.Table:
        """Return the named columns, or all, of rows (n,), in their order.

        The values of a batch are checked once, before the first row is taken from it.

        Raises:
            LimbeckError: a row does not exist, or the file is damaged.
        """
        if len(rows) and (rows.min() < 0 or rows.max() >= self.rows):
            raise LimbeckError(
                f"{self.directory}: its id table names rows that do not exist; {RESTORE}",
                code="E-INDEX-DAMAGED",
            )
        batches, ends = self._batches
        number, empty = np.searchsorted(ends, rows, side="right"), self.items.slice(0, 0)
        parts = [empty if names is None else empty.select(names)]
        for at in np.flatnonzero(np.bincount(number)).tolist():  # `np.unique` imports numpy.ma
            batch = batches[at] if names is None else batches[at].select(names)
            for name, values in zip(batch.schema.names, batch.columns, strict=True):
                if not {(name, at), (name, None)} & self._sound:
                    self._checked(values)
                    self._sound.add((name, at))
            local = rows[number == at] - (ends[at] - len(batch))
            parts.append(taken(pa.Table.from_batches([batch]), local))
        return ungrouped(parts, number)

    def ids_of(self, rows: np.ndarray) -> list[str]:
        """Return the ids of rows (n,), in their order."""
        return self.take(rows, ["id"]).column("id").to_pylist()

    def _id_table(self) -> np.ndarray:
        """Return uint64 (2, n): sorted hashes and their rows."""
        self._check(ID_HASH)
        return self._ids

    def rows_of(self, ids: Sequence[str], hashes: np.ndarray) -> np.ndarray:
        """Return int64 (n,): the live row of each id, given with its hash, or -1."""
        result = np.full(len(ids), -1, dtype=np.int64)
        table, order = self._id_table()
        at = np.searchsorted(table, hashes)
        open_ = np.flatnonzero(at < self.rows)
        while open_.size:  # one pass, unless hashes collide
            open_ = open_[table[at[open_]] == hashes[open_]]
            rows = order[at[open_]].astype(np.int64)
            same = np.array(
                [ids[i] == item_id for i, item_id in zip(open_, self.ids_of(rows), strict=True)], bool
            )
            alive = same & ~self.is_removed(rows)
            result[open_[alive]] = rows[alive]
            open_ = open_[~same]
            at[open_] += 1
            open_ = open_[at[open_] < self.rows]
        return result

    def live_items(self) -> pa.Table:
        """Return the items without the removed ones."""
        items = self._checked(self.items)
        return items.filter(pa.array(self.alive())) if len(self.removed) else items

    def live_batches(self) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Yield (points, items) of the rows that are not removed, piece by piece."""
        for start in range(0, self.rows, _ROWS):
            points, table = self.points[start : start + _ROWS], self._checked(self.items.slice(start, _ROWS))
            alive = self.alive(start, start + _ROWS)
            if not alive.all():
                points, table = points[alive], table.filter(pa.array(alive))
            if len(table):
                yield points, table

    def is_removed(self, rows: np.ndarray) -> np.ndarray:
        """Return bool (n,): which of the rows (n,) are removed."""
        at = np.searchsorted(self.removed, rows)
        found = at < len(self.removed)
        found[found] = self.removed[at[found]] == rows[found]
        return found

    def alive(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return bool (stop - start,): which rows of a stretch are not removed."""
        stop = self.rows if stop is None else min(stop, self.rows)
        low, high = np.searchsorted(self.removed, [start, stop])
        found = np.ones(stop - start, dtype=bool)
        found[self.removed[low:high] - start] = False
        return found

    def sorted_hashes(self) -> np.ndarray:
        """Return the (n,) uint64 hashes of the ids, ascending."""
        return self._id_table()[0]

    def rows_of_hash(self, value: np.uint64) -> np.ndarray:
        """Return the rows whose id has this hash, ascending."""
        table, order = self._id_table()
        low, high = np.searchsorted(table, [value, value + np.uint64(1)])
        if value == np.iinfo(np.uint64).max:
            high = self.rows
        return order[low:high].astype(np.int64)


def taken(table: pa.Table, rows: np.ndarray) -> pa.Table:
    """Return rows (n,) of a checked table, in their order."""
    if 0 < len(rows) <= _FEW:
        return pa.concat_tables([table.slice(row, 1) for row in rows.tolist()])
    # From a buffer, because `pa.array` imports pandas where it is installed.
    places = np.ascontiguousarray(rows, dtype=np.int64)
    return table.take(pa.Int64Array.from_buffers(pa.int64(), len(places), [None, pa.py_buffer(places)]))


def ungrouped(parts: Sequence[pa.Table], group: np.ndarray) -> pa.Table:
    """Join the rows of each group, which ascend, and put them in the order of ``group``."""
    table = pa.concat_tables(parts)
    order = np.argsort(group, kind="stable")
    return table if (order[1:] > order[:-1]).all() else taken(table, np.argsort(order))


def plain_values(column: pa.ChunkedArray) -> list[object]:
    """Return a column's Python values; times out of range become ISO text, durations numpy values."""
    try:
        if getattr(column.type, "unit", "") == "ns":  # with pandas installed, Arrow would return its types
            raise OverflowError
        return column.to_pylist()
    except (ValueError, OverflowError):
        return [_plain_value(cell) for cell in column]


def _plain_value(scalar: pa.Scalar) -> object:
    kind, is_stamp = scalar.type, pa.types.is_timestamp(scalar.type)
    try:
        if getattr(kind, "unit", "") == "ns":
            whole = pa.timestamp("us", kind.tz) if is_stamp else pa.duration("us")
            return scalar.cast(pa.time64("us") if pa.types.is_time(kind) else whole).as_py()
        return scalar.as_py()
    except (ValueError, OverflowError):  # nanoseconds, or years outside the range of `datetime`
        if pa.types.is_duration(kind):
            return np.timedelta64(scalar.value, kind.unit)
        if is_stamp:
            zone = "Z" if kind.tz else ""  # with a time zone, the stored number is in UTC
            return f"{np.datetime64(scalar.value, kind.unit)}{zone}"
        return scalar.cast(pa.string()).as_py()


def file_entry(path: Path) -> FileEntry:
    """Return size and SHA-256 of a finished file."""
    return FileEntry(path.stat().st_size, sha256_file(path))


def same_file(path: Path, entry: FileEntry) -> bool:
    """Return whether a file has the size and SHA-256 of its entry."""
    return path.is_file() and path.stat().st_size == entry.size and sha256_file(path) == entry.sha256
