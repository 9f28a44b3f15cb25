"""Writes ``.npy`` arrays row by row and opens them memory-mapped; pickled arrays are never loaded."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

import numpy as np

from limbeck.codes.arrays import as_codes
from limbeck.errors import LimbeckError
from limbeck.npy import open_npy

__all__ = ["NpyWriter", "npy_header", "open_npy", "open_points", "open_queries"]

_HEADER_BYTES = 128


def npy_header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Return a version 1.0 header of exactly 128 bytes, so that it can be rewritten when N is known."""
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    room = _HEADER_BYTES - 10
    return b"\x93NUMPY\x01\x00" + room.to_bytes(2, "little") + text.ljust(room - 1).encode("ascii") + b"\n"


class NpyWriter:
    """Writes a (N, width) array whose N is not known beforehand; use it as a context manager.

    The file is complete (its header has the true N, and it is fsynced) when the block ends without an error.

    Attributes:
        rows: the number of rows written so far.
    """

    def __init__(self, path: Path, dtype: np.dtype, width: int) -> None:
        self.path, self.dtype, self.width, self.rows = Path(path), np.dtype(dtype), width, 0
        self._stream = self.path.open("xb")
        self._stream.write(npy_header(self.dtype, (0, width)))

    def append(self, rows: np.ndarray) -> None:
        """Write (n, width) rows.

        Raises:
            ValueError: the shape or the dtype differs from the writer's.
        """
        if rows.ndim != 2 or rows.shape[1] != self.width or rows.dtype != self.dtype:
            raise ValueError(f"{rows.dtype} {rows.shape} appended to {self.dtype} (N, {self.width})")
        self._stream.write(np.ascontiguousarray(rows).data)
        self.rows += len(rows)

    def __enter__(self) -> NpyWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._stream.seek(0)
                self._stream.write(npy_header(self.dtype, (self.rows, self.width)))
                self._stream.flush()
                os.fsync(self._stream.fileno())
        finally:
            self._stream.close()


def open_points(path: Path, storage: str) -> np.ndarray:
    """Open a ``.npy`` file of encoded points like `open_queries`; codes are packed if needed.

    Args:
        path: the file.
        storage: "codes" or "vectors". Codes may be packed bytes, booleans, or -1 and +1
            (`limbeck.codes.arrays`).

    Returns:
        (Q, width): packed codes uint8, or the array as stored.

    Raises:
        LimbeckError: as `open_queries`, or the array is in none of the forms of codes.
    """
    array = open_queries(path)
    return array if storage != "codes" or array.dtype == np.uint8 else as_codes(array, f"{path}: the array")


def open_queries(path: Path) -> np.ndarray:
    """Open a ``.npy`` file of one query (width,) or several (Q, width) and return it as (Q, width).

    Raises:
        LimbeckError: the file is unreadable, has no rows, or has more than two dimensions.
    """
    array = np.atleast_2d(open_npy(path))
    if array.ndim != 2 or not len(array):
        raise LimbeckError(
            f"{path}: has shape {array.shape}; give one row per query, (Q, width) or (width,)",
            code="E-ARRAY-SHAPE",
        )
    return array
