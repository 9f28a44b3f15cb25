"""Evaluates conditions on the columns of an items table with Arrow; `limbeck.index.filter_parser` makes them.

A test of a missing value is false, and `not` inverts it to true; there is no third truth value.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from limbeck.errors import LimbeckError
from limbeck.index.compared import ORDER, Value, among, as_scalar, bools, compared

COMPARISONS = tuple(ORDER)
_SHOWN = 40  # characters of a value in an error


class Condition(Protocol):
    """Evaluates to true or false for each row of a table."""

    def check(self, schema: pa.Schema) -> None:
        """Check that each value and test fits its column.

        Raises:
            LimbeckError: one does not; the error names the column.
        """

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return bool (N,): the rows for which the condition is true."""


@dataclass(frozen=True)
class Not:
    """A condition that is true where the inner one is false."""

    inner: Condition

    def check(self, schema: pa.Schema) -> None:
        """Check the inner condition."""
        self.inner.check(schema)

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return bool (N,): the rows for which the inner condition is false."""
        return ~self.inner.mask(table)


@dataclass(frozen=True)
class Joined:
    """Joins two or more conditions.

    Attributes:
        parts: the conditions.
        every: True for `and`, False for `or`.
    """

    parts: tuple[Condition, ...]
    every: bool

    def check(self, schema: pa.Schema) -> None:
        """Check each condition."""
        for part in self.parts:
            part.check(schema)

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return bool (N,): the rows for which all conditions, or any, are true."""
        found = self.parts[0].mask(table)
        for part in self.parts[1:]:
            found = found & part.mask(table) if self.every else found | part.mask(table)
        return found


@dataclass(frozen=True)
class Test:
    """Tests one column against values.

    Attributes:
        column: the name of the column.
        verb: a comparison, or ``in``, ``has``, ``like``, ``startswith``, ``is null``.
        values: the values to compare with; none for ``is null``.
    """

    column: str
    verb: str
    values: tuple[Value, ...] = ()

    def check(self, schema: pa.Schema) -> None:
        """Check that the test and its values fit the column's type.

        Raises:
            LimbeckError: they do not; the error names the column and a test that fits.
        """
        kind = schema.field(self.column).type
        is_list = pa.types.is_list(kind)
        inner = kind.value_type if is_list else kind
        if self.verb == "is null":
            return
        if pa.types.is_nested(inner):
            raise LimbeckError(
                f"where: {self.column!r} holds {kind}; only 'is null' can test it", code="E-FILTER-TYPE"
            )
        if is_list and self.verb != "has":
            raise LimbeckError(
                f"where: {self.column!r} holds lists; write {self.column} has VALUE", code="E-FILTER-TYPE"
            )
        if not is_list and self.verb == "has":
            raise LimbeckError(
                f"where: {self.column!r} holds one value per row; write {self.column} = VALUE",
                code="E-FILTER-TYPE",
            )
        if self.verb in ("like", "startswith") and not pa.types.is_string(inner):
            raise LimbeckError(
                f"where: {self.column!r} holds {inner}, not text; {self.verb} needs text",
                code="E-FILTER-TYPE",
            )
        for value in self.values:
            self._fits(value, inner)

    def mask(self, table: pa.Table) -> np.ndarray:
        """Return bool (N,): the rows for which the test is true; call `check` first."""
        column = table.column(self.column)
        chunks = [self._of_chunk(chunk) for chunk in column.chunks]
        return np.concatenate(chunks) if chunks else np.empty(0, dtype=bool)

    def _of_chunk(self, chunk: pa.Array) -> np.ndarray:
        if self.verb == "is null":
            return bools(pc.is_null(chunk))
        if self.verb == "has":
            found = among(
                chunk.flatten(), self.values
            )  # `flatten` takes this slice only, without values under null rows
            holds = np.zeros(len(chunk), dtype=bool)
            holds[pc.list_parent_indices(chunk).to_numpy()[found]] = True
            return holds
        if self.verb == "in":
            return among(chunk, self.values)
        if self.verb == "like":
            return bools(pc.match_like(chunk, pattern=_like(str(self.values[0]))))
        if self.verb == "startswith":
            return bools(pc.starts_with(chunk, pattern=str(self.values[0])))
        return compared(chunk, self.verb, self.values[0])

    def _fits(self, value: Value, kind: pa.DataType) -> None:
        """Check that a value fits a column's type.

        Raises:
            LimbeckError: it does not; the error names the column and the value.
        """
        shown = str(value) if isinstance(value, Decimal) else repr(value)
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}…"
        sample = _sample(kind)
        if sample is None:
            raise LimbeckError(
                f"where: {self.column!r} holds {kind}; only 'is null' can test it", code="E-FILTER-TYPE"
            )
        if isinstance(value, str) and not _is_unicode(value):
            raise LimbeckError(
                f"where: {shown} holds half of a surrogate pair; write whole characters",
                code="E-FILTER-VALUE",
            )
        if not _is_of(value, kind):
            raise LimbeckError(
                f"where: {self.column!r} holds {kind}, not {shown}; write {sample}", code="E-FILTER-TYPE"
            )


def _sample(kind: pa.DataType) -> str | None:
    """Return what a filter may compare with a type, with an example; None if nothing can be compared."""
    if pa.types.is_timestamp(kind):
        zone = "Z" if kind.tz is not None else ""
        return f"a time{' with its zone' if zone else ''} such as '2020-01-31 12:30:00{zone}'"
    samples = {
        "text in 'quotes'": pa.types.is_string,
        "true or false": pa.types.is_boolean,
        "a number such as 3": pa.types.is_integer,
        "a number such as 1.5": lambda kind: pa.types.is_floating(kind) or _is_comparable_decimal(kind),
        "a date such as '2020-01-31'": pa.types.is_date,
    }
    return next((sample for sample, holds in samples.items() if holds(kind)), None)


def _is_comparable_decimal(kind: pa.DataType) -> bool:
    """Return whether Arrow compares a type of decimals; it does not with units of tens or more."""
    return bool(pa.types.is_decimal(kind)) and kind.scale >= 0


def _is_of(value: Value, kind: pa.DataType) -> bool:
    """Return whether a value can be compared with a column of a type that has a `_sample`."""
    if isinstance(value, bool):
        return bool(pa.types.is_boolean(kind))
    if isinstance(value, int | float | Decimal):
        return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))
    if not (pa.types.is_string(kind) or pa.types.is_temporal(kind)):
        return False
    try:
        as_scalar(value, kind)
    except (pa.ArrowException, OverflowError, ValueError, TypeError):
        return False
    return True


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _like(glob: str) -> str:
    """Convert a pattern with ``*`` (any characters) and ``?`` (one character) to one of SQL's LIKE."""
    escaped = glob.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")
