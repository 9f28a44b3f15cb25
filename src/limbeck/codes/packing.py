"""Convert signs to packed codes and back, and view codes as machine words.

The bit order is that of `numpy.packbits`; sign(0) = +1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError

MAX_BYTES = 512  # 4,096 bits; the kernels store distances in 16 bits


def pack_bits(signs: ArrayLike) -> np.ndarray:
    """Pack signs into codes.

    Args:
        signs: (N, bits), bool or ±1 of any integer or float type. The number of bits must be a multiple of 8.

    Returns:
        uint8 (N, bits / 8); +1 and True become a set bit.

    Raises:
        LimbeckError: the array has integers 0 and 1, which could mean bits or signs, or values that are not
            signs; the number of bits is not a multiple of 8.
    """
    array = _matrix(signs, "signs")
    if array.shape[1] == 0 or array.shape[1] % 8:
        raise LimbeckError(
            f"signs: {array.shape[1]} bits are not a multiple of 8; choose another code length",
            code="E-CODES-LENGTH",
        )
    if array.dtype == np.bool_:
        return np.packbits(array, axis=1)
    if array.dtype.kind not in "iuf":
        raise LimbeckError(f"signs: holds {array.dtype}, expected bool or ±1", code="E-CODES-FORM")
    positive = array == 1
    if not (positive | (array == -1)).all():
        if array.dtype.kind in "iu" and bool(((array == 0) | positive).all()):
            raise LimbeckError(
                "signs: integers 0 and 1 are ambiguous; give bool, or -1 and +1", code="E-CODES-FORM"
            )
        wrong = array[~(positive | (array == -1))][0]
        advice = "; use limbeck.codes.sign_codes for real numbers" if array.dtype.kind == "f" else ""
        raise LimbeckError(f"signs: {wrong} is neither -1 nor +1{advice}", code="E-CODES-FORM")
    return np.packbits(positive, axis=1)


def unpack_bits(codes: ArrayLike) -> np.ndarray:
    """Unpack codes, uint8 (N, bits / 8), to signs ±1, int8 (N, bits): the inverse of `pack_bits`."""
    bits = np.unpackbits(check_codes(codes), axis=1).view(np.int8)
    return 2 * bits - 1


def looks_unpacked(codes: np.ndarray) -> bool:
    """Return whether uint8 (N, 8 or more) has only zeros and ones: bits that were saved without packing."""
    return codes.dtype == np.uint8 and codes.shape[1] >= 8 and bool(codes.any()) and int(codes.max()) == 1


def sign_codes(x: ArrayLike) -> np.ndarray:
    """Return the packed codes of the signs of real numbers; sign(0) = +1.

    Args:
        x: real (N, bits).

    Returns:
        uint8 (N, bits / 8).

    Raises:
        LimbeckError: the array is not real (N, bits), has NaN, or bits is not a multiple of 8.
    """
    array = _matrix(x, "x")
    if array.dtype.kind not in "iuf":
        raise LimbeckError(f"x: holds {array.dtype}, expected real numbers", code="E-ARRAY-TYPE")
    unknown = np.isnan(array).any(axis=1)
    if unknown.any():
        raise LimbeckError(
            f"x: row {int(np.argmax(unknown))} holds NaN; check the input of that row", code="E-ARRAY-VALUES"
        )
    return pack_bits(array >= 0)


def as_words(codes: np.ndarray) -> np.ndarray:
    """View uint8 (N, B) as read-only unsigned words (N, W), of the widest type that divides B.

    Only strided or unaligned arrays are copied. The result is always C-ordered, aligned and read-only, so
    each kernel is compiled once per word type, also for memory-mapped arrays.
    """
    width = codes.shape[1]
    size = next(size for size in (8, 4, 2, 1) if width % size == 0)
    words = np.ascontiguousarray(codes).view(np.dtype(f"u{size}"))
    return read_only(words if words.flags.aligned else words.copy())


def read_only(array: np.ndarray) -> np.ndarray:
    """Return a read-only view as a plain ndarray; numba compiles another variant for writable arrays."""
    view = np.asarray(array).view(np.ndarray)
    view.flags.writeable = False
    return view


def check_codes(codes: ArrayLike, what: str = "codes") -> np.ndarray:
    """Return packed codes unchanged.

    Raises:
        LimbeckError: the array is not uint8 (N, 1 to 512); the message names ``what``.
    """
    array = _matrix(codes, what)
    if array.dtype != np.uint8:
        raise LimbeckError(
            f"{what}: holds {array.dtype}, not packed uint8 codes; use limbeck.codes.pack_bits",
            code="E-CODES-FORM",
        )
    if not 1 <= array.shape[1] <= MAX_BYTES:
        raise LimbeckError(
            f"{what}: has width {array.shape[1]}, expected 1 to {MAX_BYTES} bytes", code="E-CODES-LENGTH"
        )
    return array


def check_code_pair(queries: ArrayLike, items: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check queries and items by `check_codes`, and that they have the same length."""
    left, right = check_codes(queries, "queries"), check_codes(items, "items")
    if left.shape[1] != right.shape[1]:
        raise LimbeckError(
            f"queries: {8 * left.shape[1]}-bit codes ({left.shape[1]} bytes) do not fit "
            f"items of {8 * right.shape[1]} bits ({right.shape[1]} bytes)",
            code="E-CODES-LENGTH",
        )
    return left, right


def _matrix(value: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim != 2:
        raise LimbeckError(
            f"{what}: has shape {array.shape}, expected two dimensions (N, width)", code="E-ARRAY-SHAPE"
        )
    return array
