"""Changes an existing index: writes segments and tombstones, then one manifest (docs/index-format.md)."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from limbeck.files import cannot_write
from limbeck.index.arrays import npy_header
from limbeck.index.garbage import collect_garbage, require_plain
from limbeck.index.items import joint_schema, schema_json, with_columns
from limbeck.index.lock import WAIT_SECONDS, writer_lock
from limbeck.index.manifest import (
    WITH_REMOVED,
    FileEntry,
    Manifest,
    SegmentEntry,
    TombstoneEntry,
    newest_manifest,
    publish,
)
from limbeck.index.segment_writer import Batches, write_segment
from limbeck.index.segments import Segment, file_entry
from limbeck.index.store import IndexStore
from limbeck.index.writer import discard, sync_folders, undo

DEAD_SHARE = 0.2  # the commit rewrites a segment with a greater share of removed rows
SMALL_ROWS, SMALL_SEGMENTS = 1 << 16, 16  # the commit merges more than 16 small segments
Rewrite = Callable[[pa.Table], pa.Table]


@contextlib.contextmanager
def changing(path: Path | str, lock_timeout: float = WAIT_SECONDS) -> Iterator[Change]:
    """Hold the writer's lock on an index for a commit; an error removes what is not published.

    Raises:
        LimbeckError: there is no index, another writer holds the lock, or the disk is full.
    """
    path = Path(path)
    newest_manifest(path)  # raises before a lock file is created in another directory
    try:
        require_plain(path)
        with writer_lock(path, lock_timeout):
            change = Change(IndexStore.open(path))
            try:
                yield change
            except BaseException as error:
                undo(path, change.generation, change.written, error)
                raise
            change.drop_unused()
            collect_garbage(path)
    except OSError as error:
        raise cannot_write(path, error) from error


class Change:
    """Collects the changes of one commit.

    Attributes:
        store: the index before the commit.
        segments: the segments after the commit, each with its removed rows.
        generation: the generation to publish.
        written: new files and directories.
        files: the manifest entries of new files.
    """

    def __init__(self, store: IndexStore) -> None:
        self.store, self.path = store, store.path
        self.generation = store.manifest.generation + 1
        self.segments = list(store.segments)
        self.written: list[Path] = []
        self.files: dict[str, FileEntry] = {}

    def remove(self, rows: np.ndarray) -> None:
        """Mark live, distinct rows (n,) of the store as removed."""
        rows = np.sort(rows)
        edges = np.searchsorted(rows, self.store.starts)
        for number, (low, high) in enumerate(itertools.pairwise(edges)):
            if low < high:
                segment = self.segments[number]
                local = rows[low:high] - self.store.starts[number]
                self.segments[number] = segment.without(np.union1d(segment.removed, local))

    def append(self, batches: Batches, *, empty: pa.Schema | None = None) -> Segment:
        """Write a new segment and append it to the others; the arguments are those of `write_segment`."""
        directory = self.path / "segments" / uuid.uuid4().hex
        self.written.append(directory)
        entry, files = write_segment(directory, batches, self.store.space, empty=empty)
        self.files |= files
        segment = Segment(directory, entry, self.store.space)
        self.segments.append(segment)
        return segment

    def merge(self, start: int, stop: int, rewrite: Rewrite | None = None) -> None:
        """Replace consecutive segments ``start`` to ``stop`` with one without the removed rows."""
        old = self.segments[start:stop]
        schema = joint_schema([self.store.schema, *(segment.items.schema for segment in old)], str(self.path))
        self.append(_live(old, schema, rewrite), empty=schema)
        self.segments[start:stop] = [self.segments.pop()]

    def tidy(self) -> None:
        """Rewrite segments with many removed rows, and merge runs of small segments if there are many."""
        for number in reversed(range(len(self.segments))):
            segment = self.segments[number]
            if len(segment.removed) == segment.rows and len(self.segments) > 1:
                del self.segments[number]
            elif len(segment.removed) > DEAD_SHARE * segment.rows:
                self.merge(number, number + 1)
        small = [segment.rows < SMALL_ROWS for segment in self.segments]
        if sum(small) > SMALL_SEGMENTS:
            stop = len(small)
            for is_small, run in itertools.groupby(reversed(small)):
                count = len(list(run))
                if is_small and count > 1:
                    self.merge(stop - count, stop)
                stop -= count

    def publish(self, base: Manifest | None = None) -> Manifest:
        """Write the tombstones, and publish the manifest with this change.

        Args:
            base: the store's manifest with further changed fields; by default that manifest.

        Returns:
            The published manifest.

        Raises:
            OSError: the disk failed.
        """
        schema = joint_schema((segment.items.schema for segment in self.segments), str(self.path))
        before = {entry.segment: entry for entry in self.store.manifest.tombstones}
        tombstones = [
            entry
            for segment in self.segments
            if len(segment.removed)
            for entry in [before.get(segment.name)]
            for entry in [entry if entry and entry.rows == len(segment.removed) else self._bury(segment)]
        ]
        plain = not tombstones and all(segment.has_columns(schema) for segment in self.segments)
        manifest = dataclasses.replace(
            base or self.store.manifest,
            generation=self.generation,
            schema=schema_json(schema),
            segments=[SegmentEntry(segment.name, segment.rows) for segment in self.segments],
            tombstones=tombstones,
            min_reader=1 if plain else WITH_REMOVED,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        known = self.store.manifest.files | self.files
        manifest = dataclasses.replace(
            manifest, files={name: entry for name, entry in known.items() if _owner(name) in manifest.owners}
        )
        sync_folders(self.path)
        publish(self.path, manifest)
        return manifest

    def drop_unused(self) -> None:
        """Remove new files that the published manifest does not name."""
        published = newest_manifest(self.path)
        if published.generation == self.generation:
            kept = {self.path / owner for owner in published.owners}
            discard([entry for entry in self.written if entry not in kept])

    def _bury(self, segment: Segment) -> TombstoneEntry:
        """Write the tombstone file of a segment."""
        name = f"{segment.name}-{self.generation}.npy"
        file = self.path / "tombstones" / name
        file.parent.mkdir(exist_ok=True)
        self.written.append(file)
        rows = segment.removed.astype("<i8")
        # An interrupted commit may have left a file of this name, which no manifest refers to.
        file.unlink(missing_ok=True)
        with file.open("xb") as stream:
            stream.write(npy_header(rows.dtype, (len(rows),)))
            stream.write(rows.data)
            stream.flush()
            os.fsync(stream.fileno())
        self.files[f"tombstones/{name}"] = file_entry(file)
        return TombstoneEntry(name, segment.name, len(rows))


def _owner(name: str) -> str:
    """Return the first two parts of a file's path, such as ``segments/<name>``."""
    return "/".join(name.split("/")[:2])


def _live(
    segments: Sequence[Segment], schema: pa.Schema, rewrite: Rewrite | None
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Yield points and items of the live rows, piece by piece."""
    for segment in segments:
        for points, table in segment.live_batches():
            full = with_columns(table, schema)
            yield points, full if rewrite is None else rewrite(full)
