"""What the engines of faiss share: one file each, read where it lies, filters by asking for more."""

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
    """Errors of faiss as a `LimbeckError` that names ``what``; they are C++ exceptions in many lines."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        cause = str(error).strip().splitlines()[-1][-120:]
        raise LimbeckError(f"{what}: faiss refuses ({cause}); build the engine again") from None


class FaissEngine:
    """An index of faiss in a file; a subclass says how it is made and what a setting means.

    Filters are applied to what faiss returns, since several of its indexes take none: a share s of the rows
    is searched by asking for 1/s times as many.
    """

    name: ClassVar[str]
    binary: ClassVar[bool]
    kind: ClassVar[str]  # class of faiss
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
        """Write an index of faiss."""
        import faiss

        (faiss.write_index_binary if cls.binary else faiss.write_index)(index, str(folder / FILE))

    def apply(self, setting: Setting, count: int, allowed: RowMask | None) -> None:
        """Set the index to a setting of the search; ``count`` answers are asked for."""

    def ready(self, queries: np.ndarray) -> np.ndarray:
        """The queries as the index takes them."""
        return queries

    def search(
        self, queries: np.ndarray, count: int, setting: Setting, allowed: RowMask | None
    ) -> Candidates:
        """Up to ``count`` candidates for each query, allowed rows only; see `Engine.search`."""
        count = min(count, self.rows)
        fetched = widened(count, allowed, self.rows)
        self.apply(setting, fetched, allowed)
        with one_line_errors(self.name):
            distances, rows = self.index.search(np.ascontiguousarray(self.ready(queries)), fetched)
        if rows.size and (rows.min() < -1 or rows.max() >= self.rows):  # -1 marks a missing answer
            raise LimbeckError(f"{self.name}: finds rows that it has not; build the engine again")
        if allowed is not None:
            rows = np.where((rows >= 0) & allowed.mask[rows], rows, -1)
        rows, distances = (array[:, :count] for array in packed_left(rows, distances))
        if self.binary:
            return Candidates(rows.astype(np.int64, copy=False), distances)
        return Candidates(rows.astype(np.int64, copy=False), squares=None if self.lossy else distances)
