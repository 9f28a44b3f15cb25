"""Searches an inverted file over codes (ours): codes sorted by nearest centroid and scanned list by list.

The structure is that of Sivic and Zisserman, "Video Google", ICCV 2003, with Hamming distances. Unlike the
one of faiss, it is memory-mapped, stores row numbers in 4 bytes, and filters during the scan.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.codes.packing import as_words, read_only
from limbeck.codes.threads import run_threads, spans, thread_count
from limbeck.errors import LimbeckError
from limbeck.index.arrays import open_npy
from limbeck.index.engines.base import BuildParam, Candidates, Points, RowMask, SearchParams, widened
from limbeck.index.engines.centres import majority_centres, nearest_centres
from limbeck.index.engines.scan_lists import scan_lists
from limbeck.index.exact import search_codes

_SAMPLE = 32  # training codes per centroid
_NPROBES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class InvertedCodes:
    """Scans the ``nprobe`` lists whose centroids are nearest to the query."""

    name: ClassVar[str] = "ivf"

    def __init__(self, folder: Path, rows: int) -> None:
        kinds = {"centres": "uint8", "codes": "uint8", "starts": "int64", "rows": "uint32 uint64"}
        found = {name: open_npy(folder / f"{name}.npy") for name in kinds}
        if any(
            array.ndim != 2 or str(array.dtype) not in kinds[name].split() for name, array in found.items()
        ):
            raise LimbeckError(
                f"{folder}: its files do not fit each other; build the engine again", code="E-ENGINE-DAMAGED"
            )
        self._centres = np.array(found["centres"])
        self._bits = 8 * self._centres.shape[1]
        self._starts = read_only(np.array(found["starts"]).ravel())
        self._codes = as_words(found["codes"])
        self._rows = read_only(found["rows"].ravel())
        starts, fits = self._starts, len(self._starts) == len(self._centres) + 1
        if not fits or starts[0] or starts[-1] != rows or (np.diff(starts) < 0).any():
            raise LimbeckError(
                f"{folder / 'starts.npy'}: holds no lists of {rows} rows; build the engine again",
                code="E-ENGINE-DAMAGED",
            )
        width = self._centres.shape[1]
        if found["codes"].shape != (rows, width) or self._rows.shape != (rows,) or self._rows.max() >= rows:
            raise LimbeckError(
                f"{folder}: its files do not fit each other; build the engine again", code="E-ENGINE-DAMAGED"
            )

    @classmethod
    def build_params(cls, rows: int, columns: int) -> list[BuildParam]:
        """Return ``nlist``, by default about 4·√rows."""
        wanted = 2 ** round(np.log2(4 * np.sqrt(rows)))
        return [BuildParam("nlist", min(rows, wanted), 1, rows)]

    @classmethod
    def write(cls, folder: Path, points: Points, params: Mapping[str, int]) -> None:
        """Train the centroids on a sample, then sort all codes by list, in row order within each list."""
        centres = majority_centres(points.sample(_SAMPLE * params["nlist"]), params["nlist"])
        cells = np.empty(points.rows, dtype=np.uint32)
        at = 0
        for piece in points.pieces():
            cells[at : at + len(piece)] = nearest_centres(piece, centres)
            at += len(piece)
        sizes = np.bincount(cells, minlength=len(centres))
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        kind = np.uint32 if points.rows < 1 << 32 else np.uint64
        opened = functools.partial(np.lib.format.open_memmap, mode="w+")
        codes = opened(folder / "codes.npy", dtype=np.uint8, shape=(points.rows, points.columns))
        rows = opened(folder / "rows.npy", dtype=kind, shape=(points.rows, 1))
        free, at = starts[:-1].copy(), 0
        for piece in points.pieces():
            cell = cells[at : at + len(piece)]
            order = np.argsort(cell, kind="stable")
            held, first, size = np.unique(cell[order], return_index=True, return_counts=True)
            place = np.repeat(free[held] - first, size) + np.arange(len(piece))
            codes[place], rows[place, 0] = piece[order], at + order
            free[held] += size
            at += len(piece)
        codes.flush()
        rows.flush()
        np.save(folder / "centres.npy", centres)
        np.save(folder / "starts.npy", starts[:, None])

    def search_params(self) -> list[SearchParams]:
        """Return the values of nprobe to measure: 1, 2, 4, …, at most half of the lists."""
        return [{"nprobe": nprobe} for nprobe in _NPROBES if nprobe <= max(1, len(self._centres) // 2)]

    def search(
        self, queries: np.ndarray, count: int, params: SearchParams, allowed: RowMask | None
    ) -> Candidates:
        """Return the ``count`` nearest codes of the nearest lists, with exact distances."""
        nprobe = widened(params["nprobe"], allowed, len(self._centres))
        chosen = search_codes(queries, self._centres, nprobe)[1]
        query_words = as_words(queries)
        mask = np.empty(0, np.uint8) if allowed is None else np.ascontiguousarray(allowed.mask).view(np.uint8)
        distances = np.empty((len(query_words), count), dtype=np.int32)
        rows = np.empty((len(query_words), count), dtype=np.int64)
        workers = thread_count(None)
        tasks = [
            functools.partial(
                scan_lists,
                self._codes,
                self._rows,
                self._starts,
                read_only(chosen[start:stop]),
                read_only(query_words[start:stop]),
                read_only(mask),
                self._bits,
                distances[start:stop],
                rows[start:stop],
            )
            for start, stop in spans(len(query_words), workers)
        ]
        run_threads(tasks, workers)
        return Candidates(rows, distances)
