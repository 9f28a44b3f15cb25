"""Handles the items table of an index or encoded set: ids, paths and other columns returned with a hit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError

_NULLS = 1 << 16
Items: TypeAlias = pa.Table | Mapping[str, Sequence[object]]


def as_items(items: Items) -> pa.Table:
    """Convert items to an Arrow table whose first column is ``id``; all-null columns become strings.

    Raises:
        LimbeckError: there is no column ``id``, ``id`` or ``path`` are not strings, an id is empty, or a
            column mixes types.
    """
    table = items if isinstance(items, pa.Table) else pa.table({k: _column(k, v) for k, v in items.items()})
    if "id" not in table.column_names:
        raise LimbeckError(
            "items: column 'id' is missing; every item needs a unique string id", code="E-TABLE-COLUMN"
        )
    fields = []
    for field in table.schema:
        kind = _plain_type(field.type)
        if field.name in ("id", "path") and not pa.types.is_string(kind):
            raise LimbeckError(
                f"items: column {field.name!r} holds {field.type}, not strings; convert it first",
                code="E-TABLE-TYPE",
            )
        fields.append(pa.field(field.name, kind))
    table = table.cast(pa.schema(fields))
    ids = table.column("id")
    empty = [row for row, value in enumerate(ids.to_pylist()) if not value]
    if empty:
        raise LimbeckError(
            f"items: row {empty[0]} has no id; give each item a non-empty unique string", code="E-ID-FORM"
        )
    return table.select(["id", *[name for name in table.column_names if name != "id"]])


def _column(name: str, values: Sequence[object]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise LimbeckError(
            f"items: column {name!r} mixes types ({error}); give one type", code="E-TABLE-TYPE"
        ) from None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type to store: string for nulls and all string layouts, also within lists."""
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_plain_type(kind.value_type))
    return kind


def joint_schema(schemas: Iterable[pa.Schema], what: str) -> pa.Schema:
    """Return all columns of several schemas, in order of appearance.

    Raises:
        LimbeckError: a column has two types; the error starts with ``what`` and names the column.
    """
    fields: dict[str, pa.Field] = {}
    for schema in schemas:
        for field in schema:
            known = fields.setdefault(field.name, pa.field(field.name, field.type))
            if known.type != field.type:
                raise LimbeckError(
                    f"{what}: column {field.name!r} holds {field.type}, in the index {known.type}; "
                    "convert it (types never change)",
                    code="E-TABLE-TYPE",
                )
    return pa.schema(fields.values())


def with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return the table with all columns of a schema; missing ones are null."""
    rows, columns = len(table), []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table.column(field.name))
            continue
        piece = pa.nulls(min(rows, _NULLS), field.type)
        columns.append(
            pa.chunked_array([piece] * (rows // _NULLS) + [piece.slice(0, rows % _NULLS)], field.type)
        )
    return pa.table(columns, schema=schema)


def as_new_items(items: Items, known: pa.Schema, what: str) -> pa.Table:
    """Convert items like `as_items`, with the columns of an index first; null columns take the index's type.

    Raises:
        LimbeckError: as `as_items`, or a column has another type than in the index.
    """
    table = items if isinstance(items, pa.Table) else pa.table({k: _column(k, v) for k, v in items.items()})
    for number, field in enumerate(table.schema):
        if field.name in known.names and _untyped(field.type):
            column = table.column(number).cast(known.field(field.name).type)
            table = table.set_column(number, field.name, column)
    table = as_items(table)
    return with_columns(table, joint_schema([known, table.schema], what))


def _untyped(kind: pa.DataType) -> bool:
    """Return whether a type is null or list of null, which Arrow infers from empty values only."""
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return pa.types.is_null(kind.value_type if is_list else kind)


def schema_json(schema: pa.Schema) -> list[list[str]]:
    """Return ``[[column, type], ...]``, as a manifest records it."""
    return [[field.name, str(field.type)] for field in schema]


def hash_ids(ids: Iterable[str]) -> np.ndarray:
    """Return (n,) uint64: the 8-byte BLAKE2b hash of each id's UTF-8 form."""
    digests = b"".join(
        hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).digest() for value in ids
    )
    return np.frombuffer(digests, dtype="<u8")


class _TableWriter(Protocol):
    def write_table(self, table: pa.Table) -> None: ...


class TableBuffer:
    """Collects small tables and writes them in pieces of ``rows`` rows, which gives few, even chunks."""

    def __init__(self, writer: _TableWriter, rows: int = 1 << 16) -> None:
        self._writer, self._rows, self._held = writer, rows, 0
        self._waiting: list[pa.Table] = []

    def append(self, table: pa.Table) -> None:
        """Add rows and write each piece that is full."""
        self._waiting.append(table)
        self._held += len(table)
        while self._held >= self._rows:
            self._flush(self._rows)

    def flush(self) -> None:
        """Write the remaining rows."""
        if self._held:
            self._flush(self._held)

    def _flush(self, rows: int) -> None:
        joined = pa.concat_tables(self._waiting)
        self._writer.write_table(joined.slice(0, rows).combine_chunks())
        rest = joined.slice(rows)
        self._waiting, self._held = ([rest] if len(rest) else []), len(rest)
