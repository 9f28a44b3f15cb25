"""Maps the items' columns to fields of a collection.

Milvus 2.3 has no null values. A column with nulls gets a second, boolean field, which is false for null.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.store import EMBEDDING, IndexStore
from limbeck.typed import Json

ROW, POINT = "row", "point"
MAX_TEXT, MAX_ENTRIES = 65535, 4096  # bytes of a text, entries of a list: the limits of Milvus
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*")
_TAKEN = {
    ROW, POINT, "and", "or", "not", "in", "like", "exists", "true", "false", "is", "null",
    "json_contains", "json_contains_all", "json_contains_any",
    "array_contains", "array_contains_all", "array_contains_any", "array_length",
}  # fmt: skip
_FILL: dict[str, Json] = {"text": "", "whole": 0, "real": 0.0, "truth": False, "texts": [], "wholes": []}


@dataclass(frozen=True)
class Column:
    """Maps a column of the items to a field of a collection.

    Attributes:
        name: the column's name in the index.
        field: the field's name in the collection.
        kind: "text", "whole" (integer), "real" (float), "truth" (boolean), or for lists "texts", "wholes".
        present: the field that is false for null values; None if the column has no nulls.
    """

    name: str
    field: str
    kind: str
    present: str | None = None


def columns_of(store: IndexStore) -> list[Column]:
    """Return the columns that a collection can store and filter; the others are left out."""
    found = []
    for number, field in enumerate(store.schema):
        kind = _kind(field.type)
        if kind is None or field.name == EMBEDDING:
            continue
        plain = _PLAIN.fullmatch(field.name) and len(field.name) < 200 and field.name.lower() not in _TAKEN
        plain = plain and not re.fullmatch(r"(has|column)_\d+", field.name)
        missing = any(segment.items.column(field.name).null_count for segment in store.segments)
        found.append(
            Column(
                field.name,
                field.name if plain else f"column_{number}",
                kind,
                f"has_{number}" if missing else None,
            )
        )
    return found


def _kind(kind: pa.DataType) -> str | None:
    """Return the `Column.kind` of an Arrow type; None if Milvus cannot store it."""
    if pa.types.is_list(kind):
        inner = _kind(kind.value_type)
        return (
            f"{inner}s" if inner in ("text", "whole") and not pa.types.is_temporal(kind.value_type) else None
        )
    if pa.types.is_string(kind):
        return "text"
    if pa.types.is_boolean(kind):
        return "truth"
    if pa.types.is_floating(kind):
        return "real"
    if (pa.types.is_integer(kind) and not pa.types.is_uint64(kind)) or is_time(kind):
        return "whole"
    return None


def is_time(kind: pa.DataType) -> bool:
    """Return whether a type is a date or timestamp, which are stored as integers in the type's unit."""
    return pa.types.is_date(kind) or pa.types.is_timestamp(kind)


def as_number(array: pa.Array) -> pa.Array:
    """Convert dates and timestamps (array or scalar) to their integers."""
    return (
        array.cast(pa.int32()).cast(pa.int64()) if pa.types.is_date32(array.type) else array.cast(pa.int64())
    )


def fields_of(column: Column, table: pa.Table) -> dict[str, list[Json]]:
    """Return the values of a column's fields for the rows of a table, by field.

    Raises:
        LimbeckError: a text or list is too long for Milvus; the error names its item.
    """
    array = table.column(column.name)
    if is_time(array.type):
        array = as_number(array)
    values = array.to_pylist()
    found: dict[str, list[Json]] = {}
    if column.present is not None:
        found[column.present] = [value is not None for value in values]
    fill = _FILL[column.kind]
    if column.kind in ("texts", "wholes"):
        values = [None if value is None else [one for one in value if one is not None] for value in values]
    values = [fill if value is None else value for value in values]
    if column.kind not in ("whole", "real", "truth"):
        lists = [[value] for value in values] if column.kind == "text" else values
        _check_lengths(column, lists, table)
    return found | {column.field: values}


def _check_lengths(column: Column, values: Sequence[Sequence[object]], table: pa.Table) -> None:
    for row, value in enumerate(values):
        texts = [one for one in value if isinstance(one, str)]
        # a character has at most 4 bytes, so that few texts must be encoded
        long = any(4 * len(text) > MAX_TEXT and len(text.encode()) > MAX_TEXT for text in texts)
        if long or len(value) > MAX_ENTRIES:
            item = table.column("id")[row].as_py()[:80]
            raise LimbeckError(
                f"push: {column.name!r} of item {item!r} is too long; Milvus takes {MAX_TEXT} bytes of text, "
                f"{MAX_ENTRIES} entries of a list; shorten it (limbeck index add --replace)",
                code="E-MILVUS-LIMIT",
            )
