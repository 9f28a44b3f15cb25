"""Reads an index: its segments and query encoders at one generation.

A reader takes no lock and writes nothing. `limbeck.index.writer` writes indexes; docs/index-format.md
describes both.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.arrays import open_npy
from limbeck.index.checked import check_file, readable
from limbeck.index.id_table import check_unique
from limbeck.index.items import hash_ids, joint_schema
from limbeck.index.lock import WAIT_SECONDS
from limbeck.index.manifest import EncoderEntry, Manifest, newest_manifest
from limbeck.index.segment_writer import Batches
from limbeck.index.segments import RESTORE, Segment, plain_values, same_file, ungrouped
from limbeck.index.writer import StoreMeta, commit
from limbeck.spaces import Kept, Space, space_from_json
from limbeck.typed import Json

EMBEDDING = "embedding"  # the column of the kept embeddings


class IndexStore:
    """Gives access to an index at one generation; later commits do not change it.

    Attributes:
        path: the index directory.
        manifest: the manifest of the generation.
        space: the space of the points.
        segments: the segments in row order.
        starts: the first row of each segment, and at the end the number of rows.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = Path(path), manifest
        self.space: Space = space_from_json(manifest.space)
        for name, entry in manifest.files.items():
            size = (self.path / name).stat().st_size
            if size != entry.size:
                raise LimbeckError(
                    f"{self.path / name}: has {size} bytes, but the manifest says {entry.size}; "
                    "restore the file or rebuild the index",
                    code="E-INDEX-DAMAGED",
                )
        removed = self._removed()
        self.segments = [
            Segment(
                self.path / "segments" / entry.name,
                entry,
                self.space,
                removed.get(entry.name),
                manifest.files_in(f"segments/{entry.name}"),
            )
            for entry in manifest.segments
        ]
        for segment in self.segments:
            segment.joined(lambda: self.schema)
        self.starts = np.cumsum([0, *(segment.rows for segment in self.segments)]).tolist()

    @functools.cached_property
    def schema(self) -> pa.Schema:
        """The columns of all segments together; reading it opens the segments' items files."""
        return joint_schema((segment.own_items.schema for segment in self.segments), str(self.path))

    @functools.cached_property
    def kept(self) -> Kept | None:
        """What the kept embeddings are; None if there are none or the points are not codes.

        Raises:
            LimbeckError: the manifest and the column contradict each other.
        """
        if self.space.storage != "codes":
            return None
        recorded = None if self.manifest.embeddings is None else Kept.from_json(self.manifest.embeddings)
        kind = self.schema.field(EMBEDDING).type if EMBEDDING in self.schema.names else None
        if kind is not None and pa.types.is_fixed_size_list(kind) and pa.types.is_floating(kind.value_type):
            if recorded is None:
                return Kept("unrecorded", None, kind.list_size)  # version 0.1
            if recorded.width == kind.list_size:
                return recorded
        if recorded is None:
            return None
        raise LimbeckError(
            f"{self.path}: its manifest names kept embeddings of width {recorded.width}, but its items have "
            "no such column; restore the index from a copy or rebuild it",
            code="E-INDEX-DAMAGED",
        )

    def _removed(self) -> dict[str, np.ndarray]:
        """Return the removed rows of each segment that has some."""
        found, segments = {}, {entry.name: entry.rows for entry in self.manifest.segments}
        for entry in self.manifest.tombstones:
            file = self.path / "tombstones" / entry.name
            check_file(file, self.manifest.files[f"tombstones/{entry.name}"], RESTORE)
            rows = open_npy(file)
            end = segments.get(entry.segment, 0)
            fits = rows.shape == (entry.rows,) and rows.dtype == np.int64 and entry.rows > 0
            if not fits or not 0 <= rows[0] <= rows[-1] < end:
                raise LimbeckError(
                    f"{file}: does not hold {entry.rows} rows of its segment; restore the file",
                    code="E-INDEX-DAMAGED",
                )
            found[entry.segment] = np.asarray(rows)
        return found

    @classmethod
    def open(cls, path: Path | str) -> IndexStore:
        """Open the newest generation: check file sizes and map all files.

        Checksums are compared at the first use of a file (`limbeck.index.checked`).

        Raises:
            LimbeckError: there is no index, the manifest is damaged or newer, or a file is missing or
                truncated.
        """
        path, missing = Path(path), ""
        for _ in range(3):  # a writer may remove files after the manifest is read
            manifest = newest_manifest(path)
            try:
                with readable(path):
                    return cls(path, manifest)
            except FileNotFoundError as error:
                missing = str(error.filename)
        raise LimbeckError(
            f"{missing}: is missing from the index; restore the file or rebuild the index",
            code="E-INDEX-DAMAGED",
        )

    @classmethod
    def build(
        cls,
        path: Path | str,
        batches: Batches,
        meta: StoreMeta,
        *,
        replace: bool = False,
        lock_timeout: float = WAIT_SECONDS,
    ) -> IndexStore:
        """Build an index from (points, items) batches; after an error, nothing of it remains.

        Args:
            path: a directory that is new, empty, or left over from an interrupted build.
            batches: (n, width) points of ``meta.space`` and tables of n items (unique string column ``id``).
            meta: space, identity and query encoders.
            replace: replace an existing index; readers see the old state until the new one is complete.
            lock_timeout: seconds to wait for another writer.

        Returns:
            The new index, opened.

        Raises:
            LimbeckError: the input is invalid, an id repeats, an encoder is of another space, the disk is
                full, or another writer holds the lock.
        """
        commit(Path(path), [batches], meta, replace=replace, lock_timeout=lock_timeout)
        return cls.open(path)

    def load(self) -> None:
        """Check and open the files of all segments, which is otherwise done at their first use."""
        for segment in self.segments:
            segment.load()

    def __len__(self) -> int:
        """Return the number of items: rows that are not removed."""
        return self.manifest.rows - self.manifest.removed

    @property
    def rows(self) -> int:
        """The number of rows, including removed ones."""
        return int(self.starts[-1])

    @functools.cached_property
    def alive(self) -> np.ndarray | None:
        """bool (rows,): the rows that are not removed; None if none is removed."""
        if not self.manifest.removed:
            return None
        return np.concatenate([segment.alive() for segment in self.segments])

    @property
    def points(self) -> list[np.ndarray]:
        """The memory-mapped (n, width) points of each segment, in row order."""
        return [segment.points for segment in self.segments]

    def point(self, row: int) -> np.ndarray:
        """Return the stored point (1, width) of a row."""
        return self.points_at(np.array([row]))

    def points_at(self, rows: np.ndarray) -> np.ndarray:
        """Return the stored points (n, width) of rows (n,), in their order."""
        number = np.searchsorted(self.starts, rows, side="right") - 1
        found = np.empty((len(rows), self.space.width), dtype=self.space.dtype)
        for at in np.flatnonzero(np.bincount(number)):
            here = number == at
            found[here] = self.segments[at].points[rows[here] - self.starts[at]]
        return found

    def metadata(
        self, rows: Sequence[int] | np.ndarray, exclude: Collection[str] = ()
    ) -> list[dict[str, object]]:
        """Return the columns of the items in the given rows, with ``id``, except those in ``exclude``."""
        names = [name for name in self.schema.names if name not in exclude]
        values = [plain_values(column) for column in self.items_at(np.asarray(rows, np.int64), names).columns]
        return [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]

    def items_at(self, rows: np.ndarray, names: Sequence[str] | None = None) -> pa.Table:
        """Return the items of rows (n,), in their order, with the named columns or all.

        Raises:
            LimbeckError: a row does not exist.
        """
        for row in rows[(rows < 0) | (rows >= self.rows)]:
            raise LimbeckError(
                f"{self.path}: row {row} does not exist; rows are 0 to {self.rows - 1}", code="E-ROW-RANGE"
            )
        number = np.searchsorted(self.starts, rows, side="right") - 1
        if not len(rows):
            return self.schema.empty_table().select(self.schema.names if names is None else names)
        parts = []
        for at in np.flatnonzero(np.bincount(number)).tolist():
            parts.append(self.segments[at].take(rows[number == at] - self.starts[at], names))
        return ungrouped(parts, number)

    def row_of(self, item_id: str) -> int:
        """Return the row of an id.

        Raises:
            LimbeckError: there is no such id.
        """
        row = int(self.rows_of([item_id])[0])
        if row < 0:
            like = self.items_at(np.zeros(1, np.int64), ["id"]).column("id")[0].as_py() if self.rows else ""
            raise LimbeckError(
                f"{self.path}: there is no item with id {item_id!r}; ids look like {like!r}",
                code="E-ID-UNKNOWN",
            )
        return row

    def live_batches(self) -> Iterator[tuple[np.ndarray, pa.Table]]:
        """Yield (points, items) of the rows that are not removed, in row order, piece by piece."""
        for segment in self.segments:
            yield from segment.live_batches()

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """Return int64 (n,): the row of each id; -1 if there is none or it is removed."""
        hashes, rows = hash_ids(ids), np.full(len(ids), -1, dtype=np.int64)
        for start, segment in zip(self.starts, self.segments, strict=False):
            local = segment.rows_of(ids, hashes)
            rows[local >= 0] = local[local >= 0] + start
        return rows

    def where(self, text: str) -> np.ndarray:
        """Return bool (rows,): the rows for which a filter is true, including removed rows.

        Raises:
            LimbeckError: the filter is invalid, a column is unknown, or a value has another type
                (`limbeck.index.filter_parser`).
        """
        from limbeck.index.filter_parser import Where  # with pyarrow.compute, which is slow to import

        where = Where(text, self.schema)
        return np.concatenate([where.mask(segment) for segment in self.segments])

    def encoder_for(self, modality: str) -> tuple[Path, EncoderEntry] | None:
        """Return directory and entry of the first query encoder for "text" or "image"; None without one.

        Raises:
            LimbeckError: one of its files is missing or differs from its SHA-256.
        """
        for entry in self.manifest.encoders:
            if modality in entry.modalities:
                folder = f"encoders/{entry.name}"
                for name, file in self.manifest.files_in(folder).items():
                    check_file(self.path / folder / name, file, RESTORE)
                return self.path / folder, entry
        return None

    def info(self) -> dict[str, Json]:
        """Return a JSON summary of the index; no rows are read."""
        manifest = self.manifest
        return {
            "path": str(self.path),
            "format": manifest.min_reader,
            "generation": manifest.generation,
            "created": manifest.created,
            "items": len(self),
            "removed": manifest.removed,
            "segments": len(self.segments),
            "bytes": sum(entry.size for entry in manifest.files.values()),
            "space": manifest.space,
            "space_id": manifest.space_id,
            "modality": manifest.modality,
            "model": manifest.model,
            "media_root": manifest.media_root,
            "columns": {name: kind for name, kind in manifest.schema},
            "embeddings": manifest.embeddings,
            "asymmetric": manifest.asymmetric,
            "encoders": [asdict(entry) for entry in manifest.encoders],
        }

    def verify(self) -> int:
        """Compare every file with its SHA-256, and check ids and points.

        Use `verify_index` for an index whose files are too damaged to be opened.

        Returns:
            The number of files checked.

        Raises:
            LimbeckError: files differ (the error names each one), ids repeat, or points are not of the space.
        """
        _check_files(self.path, self.manifest)
        check_unique(self.segments)
        for segment in self.segments:
            if (np.diff(segment.removed) <= 0).any():
                raise LimbeckError(
                    f"{segment.directory}: its removed rows are not ascending; rebuild the index",
                    code="E-INDEX-DAMAGED",
                )
            for start in range(0, segment.rows, 1 << 16):
                self.space.check(segment.points[start : start + (1 << 16)])
        return len(self.manifest.files)


def verify_index(path: Path | str) -> int:
    """Verify an index like `IndexStore.verify`, with the checksums first, so that it need not be openable.

    Returns:
        The number of files checked.

    Raises:
        LimbeckError: as `IndexStore.verify`.
    """
    _check_files(Path(path), newest_manifest(Path(path)))
    return IndexStore.open(path).verify()


def _check_files(path: Path, manifest: Manifest) -> None:
    with readable(path):
        bad = [name for name, entry in manifest.files.items() if not same_file(path / name, entry)]
    if bad:
        raise LimbeckError(
            f"{path}: is damaged: {', '.join(bad)}; restore from a copy or rebuild the index",
            code="E-INDEX-DAMAGED",
        )
