"""The id table of a segment: sorted hashes, each with its row; made and checked in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.arrays import npy_header
from limbeck.index.segments import Segment

RUN = 1 << 22  # pairs sorted at once


class IdTableWriter:
    """Takes hashes in row order; `write` puts them sorted into a (2, n) ``.npy`` file.

    What does not fit one run is spilled in sorted runs beside the file and merged by ranges of hashes: these
    are uniform, so equal ranges hold about equally many.
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
        """Write the table, fsynced."""
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
        """(2, m): the held hashes ascending, and their rows; equal ones by row."""
        hashes = np.concatenate(self._held) if self._held else np.empty(0, "<u8")
        order = np.argsort(hashes, kind="stable")
        rows = order + self._rows
        self._rows += len(hashes)
        self._held, self._waiting = [], 0
        return np.stack([hashes[order], rows.astype(np.uint64)]).astype("<u8", copy=False)


def _by_range(runs: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """(2, m) pieces of the merged runs, ascending."""
    for slices in _ranges([hashes for hashes, _ in runs]):
        hashes = np.concatenate([run[0][part] for run, part in zip(runs, slices, strict=True)])
        rows = np.concatenate([run[1][part] for run, part in zip(runs, slices, strict=True)])
        order = np.argsort(hashes, kind="stable")  # runs follow one another by row
        yield np.stack([hashes[order], rows[order]])


def _ranges(tables: Sequence[np.ndarray]) -> Iterator[list[slice]]:
    """Equal ranges of hashes that hold about `RUN` of them together: the slice of each sorted table."""
    pieces = -(-sum(map(len, tables)) // RUN) or 1
    starts = [0] * len(tables)
    for number in range(1, pieces + 1):
        edge = number * 2**64 // pieces
        ends = [len(t) if number == pieces else int(np.searchsorted(t, np.uint64(edge))) for t in tables]
        yield [slice(a, b) for a, b in zip(starts, ends, strict=True)]
        starts = ends


def check_unique(segments: Sequence[Segment]) -> None:
    """Refuse an id that two rows share, within a segment or across segments; removed rows do not count.

    Raises:
        LimbeckError: names the id.
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
                            f"items: id {item_id!r} appears more than once; ids must be unique"
                        )
                    seen.add(item_id)
