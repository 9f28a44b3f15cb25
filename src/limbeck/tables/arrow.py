"""Arrow and Parquet columns in plain types: text is text, however its writer stored it."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limbeck.errors import LimbeckError
from limbeck.regular import regular_file


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type without dictionaries, views, large forms, extensions, half floats, at every depth."""
    if isinstance(kind, pa.BaseExtensionType):
        return plain_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return plain_type(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if _is_list(kind):
        return pa.list_(plain_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct(
            [pa.field(kind.field(at).name, plain_type(kind.field(at).type)) for at in range(kind.num_fields)]
        )
    return kind


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return the columns in their plain types, without metadata."""
    return pa.schema([pa.field(field.name, plain_type(field.type)) for field in schema])


def plain_table(table: pa.Table) -> pa.Table:
    """Convert a table to plain types."""
    columns = [pa.chunked_array([_plain(chunk) for chunk in column.chunks], plain_type(column.type))
               for column in table.columns]  # fmt: skip
    return pa.table(columns, schema=plain_schema(table.schema))


def open_parquet(path: Path) -> pq.ParquetFile:
    """Open a Parquet file.

    Raises:
        LimbeckError: the file is not readable as Parquet, or repeats a column name.
    """
    try:
        file = pq.ParquetFile(regular_file(path))
        names = file.schema_arrow.names
    except (pa.ArrowException, OSError) as error:
        raise LimbeckError(
            f"{path}: is not readable as Parquet ({first_line(error)}); restore it", code="E-FILE-DAMAGED"
        ) from None
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise LimbeckError(
            f"{path}: column {repeated!r} is repeated; give each column its own name", code="E-TABLE-HEADER"
        )
    return file


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text (at most 120 characters), for a one-line message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _plain(array: pa.Array) -> pa.Array:
    kind = array.type
    wanted = plain_type(kind)
    if wanted == kind:
        return array
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(array.storage)
    if pa.types.is_dictionary(kind):
        return _plain(array.dictionary_decode())
    if pa.types.is_struct(kind):
        fields = [_plain(array.field(at)) for at in range(kind.num_fields)]
        mask = array.is_null() if array.null_count else None
        return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=mask)
    if _is_list(kind):
        return _plain_list(array, wanted)
    return array.cast(wanted)


def _plain_list(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    lengths = array.value_lengths().fill_null(0)
    offsets = pa.concat_arrays([pa.array([0], pa.int32()), pc.cumulative_sum(lengths.cast(pa.int32()))])
    mask = array.is_null() if array.null_count else None
    return pa.ListArray.from_arrays(offsets, _plain(array.flatten()), type=wanted, mask=mask)


def _is_list(kind: pa.DataType) -> bool:
    views = (getattr(pa.types, name, None) for name in ("is_list_view", "is_large_list_view"))
    return (
        pa.types.is_list(kind)
        or pa.types.is_large_list(kind)
        or pa.types.is_fixed_size_list(kind)
        or any(view is not None and view(kind) for view in views)
    )
