"""Columns compared with a value as mathematics has it: no overflow, no rounding of whole numbers.

A whole number beside a column of floats, and a float beside one of narrower floats, is taken in the column's
precision, so that ``score = 0.1`` finds what was stored as 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Value: TypeAlias = str | int | float | bool

ORDER: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}


def compared(chunk: pa.Array, verb: str, value: Value) -> np.ndarray:
    """bool (n,): where a column's values are ``verb`` than a value that `as_scalar` takes; False at nulls."""
    kind = chunk.type
    if pa.types.is_integer(kind):
        assert isinstance(value, int | float)
        low, high = _bounds(kind)
        sign, whole = _whole(verb, value)
        if not low <= whole <= high:  # every value lies on one side
            holds = {"=": False, "!=": True}.get(sign, (whole > high) == sign.startswith("<"))
            return bools(pc.is_valid(chunk)) & holds
        return bools(ORDER[sign](chunk, pa.scalar(whole, kind)))
    if pa.types.is_floating(kind):
        assert isinstance(value, int | float)
        if pa.types.is_float16(kind):  # Arrow compares none
            chunk = chunk.cast(pa.float32())
        number = _rounded(value, kind)
        if math.isinf(number):  # beyond the column's type, which infinity alone exceeds
            return bools(ORDER[verb](chunk.cast(pa.float64()), pa.scalar(float(value))))
        return bools(ORDER[verb](chunk, pa.scalar(number, chunk.type)))
    return bools(ORDER[verb](chunk, as_scalar(value, kind)))


def among(chunk: pa.Array, values: Iterable[Value]) -> np.ndarray:
    """bool (n,): where a column's values are one of some."""
    kind = chunk.type
    if pa.types.is_integer(kind):
        low, high = _bounds(kind)
        numbers = [int(v) for v in values if isinstance(v, int | float) and v == int(v)]
        wanted = pa.array([number for number in numbers if low <= number <= high], kind)
    elif pa.types.is_floating(kind):
        rounded = [_rounded(v, kind) for v in values if isinstance(v, int | float)]
        rounded += [-number for number in rounded if number == 0]  # Arrow tells -0 from 0
        if pa.types.is_float16(kind):
            chunk = chunk.cast(pa.float32())
        wanted = pa.array([number for number in rounded if math.isfinite(number)], chunk.type)
    else:
        wanted = pa.array([as_scalar(value, kind).as_py() for value in values], kind)
    return bools(pc.is_in(chunk, value_set=wanted))


def as_scalar(value: Value, kind: pa.DataType) -> pa.Scalar:
    """A text, truth value or time in a column's type.

    Raises:
        pa.ArrowException: or ValueError, TypeError, OverflowError: it is none of that type.
    """
    return pa.scalar(value).cast(kind) if isinstance(value, str) else pa.scalar(value, kind)


def bools(array: Any) -> np.ndarray:
    """An Arrow array of truth values as bool (n,); False at nulls."""
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


def _bounds(kind: pa.DataType) -> tuple[int, int]:
    about = np.iinfo(kind.to_pandas_dtype())
    return int(about.min), int(about.max)


def _whole(verb: str, value: int | float) -> tuple[str, int]:
    """The comparison of whole numbers that says the same as one with a finite number."""
    below = math.floor(value)
    if below == value:
        return verb, below
    if verb in ("=", "!="):  # no whole number equals it: one beyond all types stands for that
        return verb, 1 << 200
    return ("<=" if verb.startswith("<") else ">"), below


def _rounded(value: int | float, kind: pa.DataType) -> float:
    """A finite number in the precision of a float type; infinite where that is too narrow."""
    with np.errstate(over="ignore"):
        return float(np.asarray(float(value)).astype(_FLOATS[kind.bit_width]))
