"""Translates a parsed filter to an expression of Milvus; a user's text is never passed on unescaped.

Filters have two truth values (`limbeck.index.filter_ast`): a test of a null value is false, and `not` makes
it true. Parts that are always true or always false are eliminated here, as Milvus has no constants.
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.compared import Value
from limbeck.index.filter_ast import Condition, Joined, Not, Test
from limbeck.index.milvus.columns import Column, as_number, is_time

Expression = str | bool
_SIGNS: dict[str, tuple[str, Callable[[bool, bool], bool]]] = {
    "=": ("==", operator.eq),
    "!=": ("!=", operator.ne),
    "<": ("<", operator.lt),
    "<=": ("<=", operator.le),
    ">": (">", operator.gt),
    ">=": (">=", operator.ge),
}


def expression(condition: Condition, columns: Mapping[str, Column], schema: pa.Schema) -> Expression:
    """Return the filter as an expression of Milvus; True or False if it holds for all rows or none.

    Args:
        condition: the tree of a `Where`, checked against the schema.
        columns: the columns of the collection, by their names in the index.
        schema: the schema of the index.

    Raises:
        LimbeckError: the collection lacks a column, or Milvus cannot match a pattern or compare a number.
    """
    if isinstance(condition, Not):
        inner = expression(condition.inner, columns, schema)
        return not inner if isinstance(inner, bool) else f"not ({inner})"
    if isinstance(condition, Joined):
        parts = [expression(part, columns, schema) for part in condition.parts]
        return _joined(parts, every=condition.every)
    assert isinstance(condition, Test)
    column = columns.get(condition.column)
    if column is None:
        raise LimbeckError(
            f"where: the Milvus collection has no {condition.column!r}; push the index again if the column "
            "is new; otherwise (lists of lists, bytes, …) use --engine exact",
            code="E-FILTER-COLUMN",
        )
    if condition.verb == "is null":
        return False if column.present is None else f"{column.present} == false"
    test = _TESTS[column.kind](condition, column.field, schema.field(condition.column).type)
    return test if column.present is None else _joined([f"{column.present} == true", test], every=True)


def _joined(parts: list[Expression], *, every: bool) -> Expression:
    if (not every) in parts:
        return not every
    left = [part for part in parts if not isinstance(part, bool)]
    if not left:
        return every
    return left[0] if len(left) == 1 else (" and " if every else " or ").join(f"({part})" for part in left)


def _any_of(field: str, values: Sequence[Value]) -> Expression:
    return f"{field} in [{', '.join(map(_literal, values))}]" if values else False


def _literal(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        raise LimbeckError(
            f"where: {value} is outside the range that Milvus compares; write a smaller number",
            code="E-FILTER-VALUE",
        )
    return json.dumps(value, ensure_ascii=False)


def _inside(value: Value) -> Value:
    """Return a value to compare with integers, which must be in the range of signed 64-bit integers."""
    if isinstance(value, int | float) and not -(2**63) <= value < 2**63:
        raise LimbeckError(
            f"where: {value} is outside the range that Milvus compares; write a smaller number",
            code="E-FILTER-VALUE",
        )
    return value


def _text(test: Test, field: str, kind: pa.DataType) -> Expression:
    if test.verb == "in":
        return _any_of(field, list(test.values))
    value = str(test.values[0])
    if test.verb == "like":
        start = value.rstrip("*")
        if "*" in start or "?" in start or len(value) > len(start) + 1:
            raise LimbeckError(
                f"where: Milvus matches only the start of a text, not {value!r}; write {test.column} "
                "startswith …, or use --engine exact",
                code="E-ENGINE-CANNOT",
            )
        return f"{field} == {_literal(value)}" if value == start else _starts(field, start)
    if test.verb == "startswith":
        return _starts(field, value)
    return f"{field} {_SIGNS[test.verb][0]} {_literal(value)}"


def _starts(field: str, start: str) -> Expression:
    """Return a test for the start of a text, as a range up to the next start, which needs no escaping."""
    if not start:
        return True
    low, kept = f"{field} >= {_literal(start)}", start.rstrip("\U0010ffff")
    if not kept:
        return low
    following = ord(kept[-1]) + 1
    end = kept[:-1] + chr(0xE000 if following == 0xD800 else following)
    return f"({low}) and ({field} < {_literal(end)})"


def _whole(test: Test, field: str, kind: pa.DataType) -> Expression:
    within = [_inside(value) for value in test.values]
    if is_time(kind):
        values = [as_number(pa.scalar(value).cast(kind)).as_py() for value in within]
    else:
        values = [value for value in within if not isinstance(value, str)]
    if test.verb == "in":
        return _any_of(field, [int(value) for value in values if value == int(value)])
    value, sign = values[0], test.verb
    if value != int(value):  # 2.5 is between the integers 2 and 3
        if sign in ("=", "!="):
            return sign == "!="
        value = math.ceil(value) if sign in ("<", ">=") else math.floor(value)
    return f"{field} {_SIGNS[sign][0]} {int(value)}"


def _real(test: Test, field: str, kind: pa.DataType) -> Expression:
    values = [
        float(pa.scalar(value, kind).as_py()) for value in test.values
    ]  # rounded to the column's precision
    if test.verb == "in":
        return _any_of(field, values)
    return f"{field} {_SIGNS[test.verb][0]} {_literal(values[0])}"


def _truth(test: Test, field: str, kind: pa.DataType) -> Expression:
    if test.verb == "in":
        holds = [value for value in (False, True) if value in test.values]
    else:
        holds = [value for value in (False, True) if _SIGNS[test.verb][1](value, bool(test.values[0]))]
    return len(holds) == 2 if len(holds) != 1 else f"{field} == {_literal(holds[0])}"


def _texts(test: Test, field: str, kind: pa.DataType) -> Expression:
    return f"array_contains_any({field}, [{', '.join(map(_literal, test.values))}])"


def _wholes(test: Test, field: str, kind: pa.DataType) -> Expression:
    values = [int(value) for value in map(_inside, test.values) if value == int(value)]
    return f"array_contains_any({field}, [{', '.join(map(_literal, values))}])" if values else False


_TESTS: dict[str, Callable[[Test, str, pa.DataType], Expression]] = {
    "text": _text,
    "whole": _whole,
    "real": _real,
    "truth": _truth,
    "texts": _texts,
    "wholes": _wholes,
}
