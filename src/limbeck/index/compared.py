"""Compares columns with a value without overflow and without rounding whole numbers.

A number that is compared with a column of floats is first rounded to the column's precision, so that
``score = 0.1`` finds what was stored as 0.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Value: TypeAlias = str | int | float | bool | Decimal  # a Decimal beside columns of decimals only

ORDER: dict[str, Callable[..., pa.BooleanArray]] = {
    "=": pc.equal,
    "!=": pc.not_equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_FLOATS = {16: np.float16, 32: np.float32, 64: np.float64}


def compared(chunk: pa.Array, verb: str, value: Value) -> np.ndarray:
    """Return bool (n,): the rows for which ``column verb value`` holds; False at nulls.

    Args:
        chunk: (n,) values of a column.
        verb: one of `ORDER`.
        value: a number for a column of numbers, otherwise what `as_scalar` takes.
    """
    kind = chunk.type
    if pa.types.is_integer(kind):
        assert isinstance(value, int | float)
        low, high = _bounds(kind)
        sign, whole = _whole(verb, value)
        if not low <= whole <= high:  # the comparison gives the same result for every value of the type
            holds = {"=": False, "!=": True}.get(sign, (whole > high) == sign.startswith("<"))
            return bools(pc.is_valid(chunk)) & holds
        return bools(ORDER[sign](chunk, pa.scalar(whole, kind)))
    if pa.types.is_decimal(kind):
        high = 10**kind.precision - 1
        sign, whole = _whole(verb, _steps(value, kind))
        if abs(whole) > high:
            holds = {"=": False, "!=": True}.get(sign, (whole > high) == sign.startswith("<"))
            return bools(pc.is_valid(chunk)) & holds
        return bools(ORDER[sign](chunk, pa.scalar(_decimal(whole, kind), kind)))
    if pa.types.is_floating(kind):
        assert isinstance(value, int | float)
        if pa.types.is_float16(kind):  # Arrow cannot compare float16
            chunk = chunk.cast(pa.float32())
        number = _rounded(value, kind)
        if math.isinf(number):  # outside the range of the column's type
            return bools(ORDER[verb](chunk.cast(pa.float64()), pa.scalar(float(value))))
        return bools(ORDER[verb](chunk, pa.scalar(number, chunk.type)))
    return bools(ORDER[verb](chunk, as_scalar(value, kind)))


def among(chunk: pa.Array, values: Iterable[Value]) -> np.ndarray:
    """Return bool (n,): the rows whose value is one of ``values``; False at nulls."""
    kind = chunk.type
    if pa.types.is_integer(kind):
        low, high = _bounds(kind)
        numbers = [int(v) for v in values if isinstance(v, int | float) and v == int(v)]
        wanted = pa.array([number for number in numbers if low <= number <= high], kind)
    elif pa.types.is_floating(kind):
        rounded = [_rounded(v, kind) for v in values if isinstance(v, int | float)]
        rounded += [-number for number in rounded if number == 0]  # Arrow distinguishes -0 from 0
        if pa.types.is_float16(kind):
            chunk = chunk.cast(pa.float32())
        wanted = pa.array([number for number in rounded if math.isfinite(number)], chunk.type)
    elif pa.types.is_decimal(kind):
        steps = [_steps(v, kind) for v in values]
        whole = [int(step) for step in steps if step == int(step) and abs(step) < 10**kind.precision]
        if kind.bit_width < 128:  # Arrow looks up none that narrow
            chunk = chunk.cast(pa.decimal128(kind.precision, kind.scale))
        wanted = pa.array([_decimal(step, kind) for step in whole], chunk.type)
    else:
        wanted = pa.array([as_scalar(value, kind).as_py() for value in values], kind)
    return bools(pc.is_in(chunk, value_set=wanted))


def as_scalar(value: Value, kind: pa.DataType) -> pa.Scalar:
    """Convert a text, boolean or time to a column's type.

    Raises:
        pa.ArrowException: the value cannot be converted. ValueError, TypeError or OverflowError are possible
            too.
    """
    return pa.scalar(value).cast(kind) if isinstance(value, str) else pa.scalar(value, kind)


def bools(array: object) -> np.ndarray:
    """Convert an Arrow array of booleans to bool (n,); nulls become False."""
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False), dtype=bool)


def _bounds(kind: pa.DataType) -> tuple[int, int]:
    about = np.iinfo(kind.to_pandas_dtype())
    return int(about.min), int(about.max)


def _whole(verb: str, value: int | float | Fraction) -> tuple[str, int]:
    """Return the comparison with a whole number that equals the one with ``value``, for whole numbers."""
    below = math.floor(value)
    if below == value:
        return verb, below
    if verb in ("=", "!="):  # no whole number equals it, so compare with one outside every type
        return verb, 1 << 300
    return ("<=" if verb.startswith("<") else ">"), below


def _steps(value: Value, kind: pa.DataType) -> Fraction:
    """Return a number in units of the last digit of a decimal type, exactly."""
    assert isinstance(value, Decimal)
    return Fraction(value) * Fraction(10) ** kind.scale


def _decimal(steps: int, kind: pa.DataType) -> Decimal:
    """Return the value of that many units of the last digit of a decimal type, exactly."""
    digits = tuple(int(digit) for digit in str(abs(steps)))
    return Decimal((int(steps < 0), digits, -kind.scale))  # arithmetic would round to 28 digits


def _rounded(value: int | float, kind: pa.DataType) -> float:
    """Round a finite number to a float type; the result is infinite if it is outside the type's range."""
    with np.errstate(over="ignore"):
        return float(np.asarray(float(value)).astype(_FLOATS[kind.bit_width]))
