"""The schema of the Parquet table in a pairs directory, and how the table is read and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from limbeck.errors import LimbeckError
from limbeck.files import Kind
from limbeck.tables import plain_table

TABLE = "pairs.parquet"
META = "pairs.json"
FORMAT = "limbeck.pairs/1"
PAIRS = Kind(
    "pairs directory",
    r"pairs\.(json|parquet)|images\.zip|skipped\.jsonl|image_features\.npy",
    META,
    lambda value: str(value.get("format")).startswith("limbeck.pairs/"),
)

_STRINGS = pa.list_(pa.string())
SCHEMA: dict[str, pa.DataType] = {
    "id": pa.string(),
    "image": pa.string(),
    "feature_row": pa.int64(),
    "captions": _STRINGS,
    "tags": _STRINGS,
    "labels": _STRINGS,
    "path": _STRINGS,
    "split": pa.string(),
}
OPTIONAL = ("path", "split")
# Columns of these names mean something else in pairs, encoded sets or indexes.
RESERVED = frozenset({*SCHEMA, "class_path", "embedding"})
# Types of further columns, alone or in lists: those that filters of an index can read.
FURTHER_TYPES = (
    pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean,
    pa.types.is_date, pa.types.is_timestamp, pa.types.is_time, pa.types.is_null,
)  # fmt: skip


def build_table(columns: Mapping[str, Sequence[object]]) -> pa.Table:
    """Build the Arrow table from Python columns; a missing column is null (or an empty list) in every row.

    Further columns, which a search returns with each hit, are Arrow arrays.

    Raises:
        LimbeckError: a column is unknown, columns differ in length, types are wrong, or ids are null or
            repeat.
    """
    further = {
        name: value
        for name, value in columns.items()
        if name not in SCHEMA and isinstance(value, pa.Array | pa.ChunkedArray)
    }
    unknown = sorted(set(columns) - set(SCHEMA) - set(further))
    if unknown:
        raise LimbeckError(
            f"pairs: column {unknown[0]!r} is unknown; known are {', '.join(SCHEMA)}", code="E-TABLE-COLUMN"
        )
    if "id" not in columns:
        raise LimbeckError(
            "pairs: the column 'id' is missing; every pair needs a unique id", code="E-TABLE-COLUMN"
        )
    count = len(columns["id"])
    arrays: dict[str, pa.Array] = {}
    for name, kind in SCHEMA.items():
        if name not in columns:
            if name in OPTIONAL:
                continue
            values: Sequence[object] = [[]] * count if kind == _STRINGS else [None] * count
        else:
            values = columns[name]
        if len(values) != count:
            raise LimbeckError(
                f"pairs: column {name!r} has {len(values)} rows, 'id' has {count}; align them",
                code="E-ARRAY-ROWS",
            )
        try:
            if isinstance(values, pa.Array | pa.ChunkedArray):
                arrays[name] = values.cast(kind)
            else:
                arrays[name] = pa.array(values, type=kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError) as error:
            line = str(error).splitlines()[0]
            raise LimbeckError(
                f"pairs: column {name!r} must hold {kind} ({line})", code="E-TABLE-TYPE"
            ) from None
    for name, column in further.items():
        if len(column) != count:
            raise LimbeckError(
                f"pairs: column {name!r} has {len(column)} rows, 'id' has {count}; align them",
                code="E-ARRAY-ROWS",
            )
        arrays[name] = column
    table = pa.table(arrays)
    check_ids(table, "pairs")
    return table


def read_table(file: Path) -> pa.Table:
    """Read and type-check a pairs table.

    Raises:
        LimbeckError: the file is missing, truncated or foreign, a column is missing or has a wrong type, or
            ids are bad.
    """
    if not file.is_file():
        raise LimbeckError(
            f"{file}: there is no such file; the pairs directory is incomplete, import it again",
            code="E-PAIRS-DAMAGED",
        )
    try:
        table = pq.ParquetFile(file).read()
    except (pa.ArrowException, OSError) as error:
        line = str(error).splitlines()[0][:120]
        raise LimbeckError(
            f"{file}: is truncated or not Parquet ({line}); import the data again", code="E-PAIRS-DAMAGED"
        ) from None
    columns: dict[str, pa.Array] = {}
    for name, kind in SCHEMA.items():
        if name not in table.column_names:
            if name in OPTIONAL:
                continue
            raise LimbeckError(
                f"{file}: column {name!r} is missing; import the data again", code="E-PAIRS-DAMAGED"
            )
        try:
            column = table.column(name).cast(kind)
        except pa.ArrowException:
            found = table.column(name).type
            raise LimbeckError(
                f"{file}: column {name!r} is {found}, must be {kind}", code="E-PAIRS-DAMAGED"
            ) from None
        combined = column.combine_chunks()
        columns[name] = combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
    further = plain_table(table.select([name for name in table.column_names if name not in SCHEMA]))
    result = pa.table(columns | dict(zip(further.column_names, further.columns, strict=True)))
    check_ids(result, str(file))
    return result


def check_ids(table: pa.Table, where: str) -> None:
    """Raise `LimbeckError` for null, empty and repeated ids, naming the first of them."""
    column = table.column("id")
    if column.null_count or pc.any(pc.equal(column, "")).as_py():
        raise LimbeckError(
            f"{where}: a row has no id; give every pair a unique, non-empty id", code="E-ID-FORM"
        )
    if pc.count_distinct(column).as_py() == len(column):
        return
    counts = pc.value_counts(column)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    first = repeated.field("values")[0].as_py()
    raise LimbeckError(
        f"{where}: {len(repeated)} ids are repeated (first: {first!r}); ids must be unique",
        code="E-ID-REPEATED",
    )


def list_parts(table: pa.Table, name: str) -> tuple[np.ndarray, pa.Array]:
    """Split a list column into int64 offsets (N + 1,) and its flat values; a null list counts as empty."""
    column = pc.fill_null(_one_array(table, name), pa.scalar([], type=_STRINGS))
    lengths = np.asarray(pc.list_value_length(column), dtype=np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]), pc.list_flatten(column)


def take_lists(table: pa.Table, name: str, rows: np.ndarray | None = None) -> list[list[str]]:
    """Return a list column as Python lists, for all rows or some; null lists become empty, null items are
    dropped."""
    column = _one_array(table, name)
    if rows is not None:
        column = column.take(pa.array(rows))
    return [[item for item in items if item is not None] if items else [] for items in column.to_pylist()]


def further_columns(table: pa.Table) -> list[str]:
    """Return the names of the columns that are only returned with a hit."""
    return [name for name in table.column_names if name not in SCHEMA]


def _one_array(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name).combine_chunks()
    return column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
