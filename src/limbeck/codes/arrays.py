"""Convert external hash codes, in any common form, to packed codes."""

from __future__ import annotations

import numpy as np

from limbeck.codes.packing import looks_unpacked, pack_bits
from limbeck.errors import LimbeckError

_ROWS = 1 << 16  # rows per block


def as_codes(array: np.ndarray, what: str) -> np.ndarray:
    """Return the packed codes of an array (N, width), which may be packed already.

    * uint8 (N, bits/8), packed as by `numpy.packbits`, is returned unchanged. If it has only zeros and ones,
      it raises an error, because these are bits that were saved without packing.
    * bool (N, bits), and −1 and +1 of any signed integer or float type (N, bits), are packed.

    Args:
        array: the array as read; a memory map is processed in blocks.
        what: name of the array in errors.

    Returns:
        uint8 (N, bits/8).

    Raises:
        LimbeckError: the array is not a matrix or has no columns; it has numbers 0 and 1 (they could be bits
            or signs) or other values; its number of bits is not a multiple of 8.
    """
    if array.ndim != 2 or array.shape[1] == 0:
        raise LimbeckError(
            f"{what} has shape {array.shape}; give codes (rows, bits) or packed (rows, bits/8)",
            code="E-ARRAY-SHAPE",
        )
    if array.dtype == np.uint8:
        if looks_unpacked(array):
            raise LimbeckError(
                f"{what} holds only 0 and 1; pack the bits with numpy.packbits(…, axis=1)",
                code="E-CODES-FORM",
            )
        return array
    if array.dtype != np.bool_ and not is_signs(array):
        if array.dtype.kind in "iu" and len(array) and int(array.min()) == 0 and int(array.max()) == 1:
            raise LimbeckError(
                f"{what} ({array.dtype}) holds integers 0 and 1, which could be bits or a packed code; "
                "give booleans, -1 and +1, or uint8 packed by numpy.packbits",
                code="E-CODES-FORM",
            )
        if array.dtype.kind == "f" and len(array) and array.min() == 0 and _is_ternary(array):
            raise LimbeckError(
                f"{what} ({array.dtype}) holds only 0 and 1; "
                "give booleans, -1 and +1, or uint8 packed by numpy.packbits",
                code="E-CODES-FORM",
            )
        raise LimbeckError(
            f"{what} ({array.dtype}) holds values other than -1 and +1; "
            "give signs, booleans, or uint8 packed by numpy.packbits",
            code="E-CODES-FORM",
        )
    if array.shape[1] % 8:
        raise LimbeckError(f"{what} has {array.shape[1]} bits; give a multiple of 8", code="E-CODES-LENGTH")
    pieces = (array[start : start + _ROWS] for start in range(0, len(array), _ROWS))
    packed = [pack_bits(piece if piece.dtype == np.bool_ else piece > 0) for piece in pieces]
    return np.concatenate(packed) if packed else np.empty((0, array.shape[1] // 8), np.uint8)


def as_codes_or_vectors(array: np.ndarray, what: str) -> np.ndarray:
    """Return packed codes as `as_codes`; return float arrays of vectors unchanged.

    Floats are vectors, except arrays of only ±1, and of only −1, 0 and 1 in rows that are no unit vectors.
    The latter are codes in a wrong form, so `as_codes` refuses them with its advice.
    """
    if array.ndim == 2 and array.dtype.kind == "f" and not is_signs(array) and not _is_malformed_code(array):
        return array
    return as_codes(array, what)


def is_signs(array: np.ndarray) -> bool:
    """Return whether an array (N, bits) of 8 or more columns has only −1 and +1 of a signed type."""
    if array.dtype.kind not in "if" or array.shape[1] < 8 or not len(array):
        return False
    for start in range(0, len(array), _ROWS):  # the first row of a block usually rules out vectors
        first = array[start : start + 1]
        if not (np.abs(first) == 1).all() or not (np.abs(array[start : start + _ROWS]) == 1).all():
            return False
    return True


def _is_malformed_code(array: np.ndarray) -> bool:
    """Return whether floats (N, 8 or more) have only −1, 0 and 1, and some row has two that are not 0."""
    if array.shape[1] < 8 or not _is_ternary(array):
        return False
    starts = range(0, len(array), _ROWS)
    return any((np.count_nonzero(array[start : start + _ROWS], axis=1) > 1).any() for start in starts)


def _is_ternary(array: np.ndarray) -> bool:
    """Return whether an array (N, width) has only −1, 0 and 1."""
    for start in range(0, len(array), _ROWS):  # the first row of a block usually rules out vectors
        for block in (array[start : start + 1], array[start : start + _ROWS]):
            if not np.isin(block, (-1, 0, 1)).all():
                return False
    return True
