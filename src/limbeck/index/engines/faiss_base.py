"""Contains what all faiss engines share: one memory-mapped file, and filters by fetching more candidates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.engines.base import Candidates, RowMask, Setting, packed_left, widened

FILE = "index.faiss"


@contextlib.contextmanager
def one_line_errors(what: object) -> Iterator[None]:
    """Turn a multi-line C++ exception of faiss into a one-line `LimbeckError` that names ``what``."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        cause = str(error).strip().splitlines()[-1][-120:]
        raise LimbeckError(f"{what}: faiss failed ({cause}); build the engine again") from None


class FaissEngine:
    """Searches a faiss index file; a subclass defines how it is built and how a setting is applied.

    Filters are applied to what faiss returns, because several of its indexes have none: if a share s of the
    rows is allowed, 1/s times as many candidates are fetched.
    """

    name: ClassVar[str]
    binary: ClassVar[bool]
    kind: ClassVar[str]  # the faiss class
    lossy: ClassVar[bool] = False  # whether its distances are those of quantized points

    def __init__(self, folder: Path, rows: int) -> None:
        import faiss

        read = faiss.read_index_binary if self.binary else faiss.read_index
        with one_line_errors(folder / FILE):
            self.index: Any = read(str(folder / FILE), faiss.IO_FLAG_MMAP_IFC)
        self.rows = rows
        if type(self.index).__name__ != self.kind:
            found = type(self.index).__name__
            raise LimbeckError(f"{folder / FILE}: {found}, expected {self.kind}; build it again")
        if self.index.ntotal != rows:
            raise LimbeckError(
                f"{folder / FILE}: {self.index.ntotal} points, expected {rows}; build it again"
            )

    @classmethod
    def save(cls, index: Any, folder: Path) -> None:
        """Write a faiss index to its file."""
        import faiss

        (faiss.write_index_binary if cls.binary else faiss.write_index)(index, str(folder / FILE))

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Apply search parameters to the index; the search will fetch ``count`` candidates."""

    def ready(self, queries: np.ndarray) -> np.ndarray:
        """Convert the queries (Q, columns) to the index's input."""
        return queries

    def search(
        self, queries: np.ndarray, count: int, setting: Setting, allowed: RowMask | None
    ) -> Candidates:
        """Return up to ``count`` allowed candidates for each query; see `Engine.search`."""
        count = min(count, self.rows)
        fetched = widened(count, allowed, self.rows)
        self.apply(setting, fetched, allowed)
        with one_line_errors(self.name):
            distances, rows = self.index.search(np.ascontiguousarray(self.ready(queries)), fetched)
        if rows.size and (rows.min() < -1 or rows.max() >= self.rows):  # -1 marks a missing answer
            raise LimbeckError(f"{self.name}: returns rows that do not exist; build the engine again")
        if allowed is not None:
            rows = np.where((rows >= 0) & allowed.mask[rows], rows, -1)
        rows, distances = (array[:, :count] for array in packed_left(rows, distances))
        if self.binary:
            return Candidates(rows.astype(np.int64, copy=False), distances)
        return Candidates(rows.astype(np.int64, copy=False), squares=None if self.lossy else distances)
