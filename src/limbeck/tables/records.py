"""JSON and JSON lines: objects with named fields become columns and keep the types of the format."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.typed import Json

_EXACT = 1 << 53
_MAX_INT = 1 << 63
_CONSTANTS = {"Infinity": float("inf"), "-Infinity": float("-inf")}


class _RepeatedKeyError(ValueError):
    """An object that repeats a name."""


class _Float(float):
    """A number with its literal: as an id, 1.10 differs from 1.1."""

    literal: str


def _float(literal: str) -> _Float:
    value = _Float(literal)
    value.literal = literal
    return value


def load_json(
    text: str,
    name: str,
    hook: Callable[[dict[str, Json]], object] | None = None,
    *,
    line: int | None = None,
    number: Callable[[str], float] = float,
) -> Any:
    """Return the value of a JSON text; ``NaN``, which is not JSON but occurs, is null.

    Args:
        text: the text.
        name: the file, for the error.
        hook: called with each object; its return value replaces the object.
        line: the number of the text's line in the file; None if the text is the whole file.
        number: converts a literal with a fraction or an exponent.

    Raises:
        LimbeckError: it is not JSON, is nested too deeply, or repeats a name; the error names file and line.
    """
    where = name if line is None else f"{name}: line {line}"

    def pairs(items: list[tuple[str, Json]]) -> object:
        found = dict(items)
        if len(found) != len(items):
            names = [name for name, _ in items]
            raise _RepeatedKeyError(next(name for name in names if names.count(name) > 1))
        return found if hook is None else hook(found)

    try:
        return json.loads(text, object_pairs_hook=pairs, parse_float=number, parse_constant=_CONSTANTS.get)
    except json.JSONDecodeError as error:
        at = error.lineno if line is None else line
        raise LimbeckError(
            f"{name}: line {at} is not JSON ({error.msg}); correct or restore it", code="E-JSON-SYNTAX"
        ) from None
    except _RepeatedKeyError as error:
        raise LimbeckError(
            f"{where} has the field {error.args[0]!r} twice; keep one", code="E-JSON-SYNTAX"
        ) from None
    except RecursionError:
        raise LimbeckError(
            f"{where} is nested too deeply to be read; flatten it", code="E-JSON-SYNTAX"
        ) from None
    except ValueError as error:  # a number of more digits than Python converts
        raise LimbeckError(f"{where} is not readable ({error}); correct it", code="E-JSON-SYNTAX") from None


def read_records(text: str, name: str, lines: bool) -> tuple[list[dict[str, Json]], list[int] | None]:
    """Read the objects of JSON lines, with their line numbers, or of a JSON list.

    Raises:
        LimbeckError: it is not JSON, or a value is not an object; the error names the line or entry.
    """
    if lines:
        records, numbers = [], []
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                record = load_json(line, name, line=number, number=_float)
                records.append(_object(record, f"{name}: line {number}"))
                numbers.append(number)
        return records, numbers
    content = load_json(text, name, number=_float)
    if not isinstance(content, list):
        raise LimbeckError(
            f"{name}: contains {_kind(content)}, not a list of objects; write [{{…}}, {{…}}]",
            code="E-TABLE-FORM",
        )
    return [_object(item, f"{name}: entry {at}") for at, item in enumerate(content, start=1)], None


def to_columns(
    records: list[dict[str, Json]], text: Collection[str], name: str
) -> tuple[pa.Table, list[str], list[str]]:
    """Return the columns of records in the order of first occurrence, those kept as text, and notes.

    A column of ``text`` contains text, or lists of texts where every value is such a list; other lists and
    objects become JSON text. Values of several types make a column text. Halves of surrogate pairs, which no
    text can store, become U+FFFD.
    """
    names = list(dict.fromkeys(key for record in records for key in record))
    arrays, mixed, notes = [], [], []
    for key in names:
        values = [record.get(key) for record in records]
        array = None if key in text else _typed(values)
        if array is None:
            array, repaired = _texts(values)
            if key not in text and any(v is not None and not isinstance(v, str) for v in values):
                mixed.append(key)
            if repaired:
                what = f"{repaired:,} values of column {key!r} contain half a surrogate pair"
                notes.append(f"{name}: {what}; it became U+FFFD")
        arrays.append(array)
    if not names and records:
        raise LimbeckError(
            f"{name}: its objects have no fields; give each row named fields", code="E-TABLE-HEADER"
        )
    clean = [_clean(key)[0] for key in names]
    return pa.table(arrays, names=clean), mixed, notes


def _typed(values: list[Json]) -> pa.Array | None:
    """Return the values in their own type; None where they must be text."""
    kinds = {float if isinstance(value, float) else type(value) for value in values if value is not None}
    if kinds == {str} or not kinds:
        return None
    if kinds <= {int, float}:
        limit = _EXACT if float in kinds else _MAX_INT - 1
        if any(isinstance(value, int) and abs(value) > limit for value in values):
            return None
    elif len(kinds) > 1 or kinds & {str}:
        return None
    try:
        array = pa.array(values)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError, RecursionError):
        return None
    return None if pa.types.is_null(array.type) else array


def _texts(values: list[Json]) -> tuple[pa.Array, int]:
    """Return the values as text, or as lists of texts if all are lists, and the number of repaired ones."""
    there = [value for value in values if value is not None]
    lists = bool(there) and all(
        isinstance(value, list) and all(isinstance(item, str | int | float) for item in value)
        for value in there
    )
    repaired = 0

    def one(value: object) -> str | None:
        nonlocal repaired
        text, changed = _clean(value if isinstance(value, str) else _scalar(value))
        repaired += changed
        return text

    if lists:
        inner = [[one(item) for item in value] if isinstance(value, list) else None for value in values]
        return pa.array(inner, pa.list_(pa.string())), repaired
    return pa.array([None if value is None else one(value) for value in values], pa.string()), repaired


def _scalar(value: object) -> str:
    return value.literal if isinstance(value, _Float) else json.dumps(value, ensure_ascii=False)


def _clean(text: str) -> tuple[str, bool]:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"), True
    return text, False


def whole_text(value: object) -> tuple[object, int]:
    """Return a JSON value without halves of surrogate pairs, and the number of repaired texts."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        parts = [whole_text(item) for item in value]
        return [part for part, _ in parts], sum(count for _, count in parts)
    if isinstance(value, dict):
        fields = {_clean(key)[0]: whole_text(item) for key, item in value.items()}
        return {key: item for key, (item, _) in fields.items()}, sum(count for _, count in fields.values())
    return value, 0


def _object(value: object, where: str) -> dict[str, Json]:
    if not isinstance(value, dict):
        raise LimbeckError(f"{where} is {_kind(value)}, not an object with named fields", code="E-TABLE-ROW")
    return value


def _kind(value: object) -> str:
    names = {list: "a list", dict: "an object", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
