"""Writes and checks the id table of a segment, sorted hashes with their rows, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.arrays import npy_header
from limbeck.index.segments import Segment

RUN = 1 << 22  # pairs of hash and row that are sorted at once


class IdTableWriter:
    """Takes hashes in row order and writes them sorted to a (2, n) ``.npy`` file.

    Hashes beyond one run are spilled to disk in sorted runs and merged by ranges of hashes. The hashes are
    uniform, so equal ranges contain about equally many.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._spill = Path(path), Path(path).with_suffix(".runs")
        self._held: list[np.ndarray] = []
        self._waiting = self._rows = 0
        self._runs: list[np.ndarray] = []

    def append(self, hashes: np.ndarray) -> None:
        """Add the uint64 hashes of the next rows."""
        self._held.append(hashes)
        self._waiting += len(hashes)
        if self._waiting >= RUN:
            run = self._sorted()
            with self._spill.open("ab") as stream:
                start = stream.tell()
                stream.write(run.data)
            self._runs.append(np.memmap(self._spill, np.dtype("<u8"), "r", offset=start, shape=run.shape))

    def write(self) -> None:
        """Write and fsync the table."""
        last = self._sorted()
        runs: list[np.ndarray] = [*self._runs, last] if last.size else self._runs
        with self._path.open("xb") as stream:
            header = npy_header(np.dtype("<u8"), (2, self._rows))
            stream.write(header)
            done = 0
            for hashes, rows in _by_range(runs) if len(runs) > 1 else runs:
                for at, part in ((done, hashes), (self._rows + done, rows)):
                    stream.seek(len(header) + 8 * at)
                    stream.write(np.ascontiguousarray(part).data)
                done += len(hashes)
            stream.flush()
            os.fsync(stream.fileno())
        self._spill.unlink(missing_ok=True)

    def _sorted(self) -> np.ndarray:
        """Return (2, m): the waiting hashes, ascending, and their rows; equal hashes by row."""
        hashes = np.concatenate(self._held) if self._held else np.empty(0, "<u8")
        order = np.argsort(hashes, kind="stable")
        rows = order + self._rows
        self._rows += len(hashes)
        self._held, self._waiting = [], 0
        return np.stack([hashes[order], rows.astype(np.uint64)]).astype("<u8", copy=False)


def _by_range(runs: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the merged runs in (2, m) pieces, ascending."""
    for slices in _ranges([hashes for hashes, _ in runs]):
        hashes = np.concatenate([run[0][part] for run, part in zip(runs, slices, strict=True)])
        rows = np.concatenate([run[1][part] for run, part in zip(runs, slices, strict=True)])
        order = np.argsort(hashes, kind="stable")  # runs are in row order
        yield np.stack([hashes[order], rows[order]])


def _ranges(tables: Sequence[np.ndarray]) -> Iterator[list[slice]]:
    """Yield each table's slice of equal ranges of hashes, of about `RUN` hashes per range in all tables."""
    pieces = -(-sum(map(len, tables)) // RUN) or 1
    starts = [0] * len(tables)
    for number in range(1, pieces + 1):
        edge = number * 2**64 // pieces
        ends = [len(t) if number == pieces else int(np.searchsorted(t, np.uint64(edge))) for t in tables]
        yield [slice(a, b) for a, b in zip(starts, ends, strict=True)]
        starts = ends


def check_unique(segments: Sequence[Segment]) -> None:
    """Check that no two live rows, in one segment or in several, have the same id.

    Raises:
        LimbeckError: two rows do; the error names the id.
    """
    tables = [segment.sorted_hashes() for segment in segments]
    for slices in _ranges(tables):
        joined = np.sort(np.concatenate([table[part] for table, part in zip(tables, slices, strict=True)]))
        for value in np.unique(joined[1:][joined[1:] == joined[:-1]]):
            seen: set[str] = set()
            for segment in segments:
                rows = segment.rows_of_hash(value)
                for item_id in segment.ids_of(rows[~segment.is_removed(rows)]):
                    if item_id in seen:
                        raise LimbeckError(
                            f"items: id {item_id!r} appears more than once; ids must be unique",
                            code="E-ID-REPEATED",
                        )
                    seen.add(item_id)
