"""Plain ``.npy`` arrays from any source: mapped after their header was checked, never unpickled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import BinaryIO

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.regular import regular_file

_MAGIC = b"\x93NUMPY"
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def open_npy(path: Path) -> np.ndarray:
    """Memory-map a ``.npy`` file, read-only.

    Raises:
        LimbeckError: there is no such file, it is a pickle, an object array or an archive, or it is too
            short.
    """
    path = Path(path)
    try:
        with regular_file(path).open("rb") as stream:
            shape, fortran, dtype, start = _header(path, stream)
        room = path.stat().st_size - start
    except FileNotFoundError:
        raise LimbeckError(f"{path}: there is no such file; check the path", code="E-PATH-MISSING") from None
    except OSError as error:
        raise LimbeckError(
            f"{path}: cannot be read ({error.strerror or error})", code="E-PATH-READ"
        ) from None
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > room:
        raise _refused(path, f"its header promises {wanted:,} bytes, but it has {room:,}")
    if not wanted:  # an empty array cannot be mapped
        return np.empty(shape, dtype, order="F" if fortran else "C")
    return np.memmap(path, dtype, "r", start, shape, "F" if fortran else "C")


def _header(path: Path, stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Return shape, Fortran order, type and the offset of the numbers."""
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise LimbeckError(
            f"{path}: is not a .npy array; write it with numpy.save (pickles are never read)",
            code="E-ARRAY-FILE",
        )
    stream.seek(0)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = _HEADERS.get(version, np.lib.format.read_array_header_2_0)(stream)
    except Exception as error:  # a damaged header is read as Python, which fails in many ways
        raise _refused(path, ascii((str(error) or type(error).__name__).splitlines()[0][:80])[1:-1]) from None
    if dtype.hasobject:
        raise _refused(path, "it contains Python objects, which are never unpickled")
    if not dtype.itemsize or len(shape) > 32 or not all(0 <= size < 2**62 for size in shape):
        raise _refused(path, f"shape {str(shape)[:60]} of {str(dtype)[:40]}")
    return tuple(map(int, shape)), fortran, dtype, stream.tell()


def _refused(path: Path, cause: str) -> LimbeckError:
    return LimbeckError(
        f"{path}: is not readable as a plain array ({cause}); write it with numpy.save", code="E-ARRAY-FILE"
    )
