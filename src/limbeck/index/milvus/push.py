"""Loads an index into a new collection, which gets the name when it is complete."""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.files import check_plain
from limbeck.index.ann_index import FOLDER
from limbeck.index.engines.base import Points
from limbeck.index.exact_rescore import longest_row
from limbeck.index.lock import writer_lock
from limbeck.index.milvus.address import ANSWER_SECONDS, Address, connect, one_line_errors
from limbeck.index.milvus.columns import MAX_ENTRIES, MAX_TEXT, POINT, ROW, Column, columns_of, fields_of
from limbeck.index.milvus.record import Layout, Record
from limbeck.index.store import IndexStore
from limbeck.typed import Json

if TYPE_CHECKING:
    from pymilvus import MilvusClient


_BATCH_BYTES = 8 << 20  # of points and metadata per message; servers accept 64 MB
_MAX_LISTS = 65536


@dataclass(frozen=True)
class Pushed:
    """Reports a push.

    Attributes:
        rows: the number of items loaded.
        left_out: the columns that Milvus cannot store.
        collection: the collection that the alias now names.
    """

    rows: int
    left_out: list[str]
    collection: str


def push_index(
    path: Path | str,
    address: str,
    *,
    nlist: int = 0,
    replace: bool = False,
    advance: Callable[[int], None] = lambda count: None,
) -> Pushed:
    """Load the live items of an index into a Milvus collection.

    The push is atomic: items go into a new collection. When it is complete, indexed and loaded, the name (an
    alias) moves to it, and the previous collection is dropped. An interrupted push leaves an unused
    collection, which the next push drops.

    Args:
        path: the index directory.
        address: ``milvus://HOST:PORT/NAME``.
        nlist: the number of inverted lists, of which a search scans some; 0 compares every item.
        replace: replace the collection of another index or model.
        advance: called with the number of items just sent.

    Returns:
        The number of loaded items, the columns left out, and the collection.

    Raises:
        LimbeckError: there is no index or no server, pymilvus is missing, the name is in use, another push of
            this index is running, or Milvus reports an error.
    """
    store, target = IndexStore.open(path), Address.parse(address)
    if isinstance(nlist, bool) or not isinstance(nlist, int) or not 0 <= nlist <= min(_MAX_LISTS, len(store)):
        most = min(_MAX_LISTS, len(store))
        raise LimbeckError(
            f"nlist: {nlist!r} is not a whole number from 0 to {most} (0 compares every item)",
            code="E-OPTION-RANGE",
        )
    if not len(store):
        raise LimbeckError(f"{store.path}: holds no items; add some first", code="E-INDEX-EMPTY")
    client = connect(target)
    layout, columns = Layout.of(store.space, nlist), columns_of(store)
    points = Points(store.points, layout.items)
    longest = max(map(longest_row, points.pieces())) if layout.metric == "IP" else 0.0
    record = Record(
        store.space.to_json(),
        store.manifest.space_id,
        str(Path(store.path).resolve()),
        store.manifest.generation,
        store.manifest.segments,
        len(store),
        columns,
        nlist,
        longest,
    )
    check_plain(store.path / FOLDER)
    with writer_lock(store.path / FOLDER), one_line_errors(target):
        before = _holder(client, target, store, replace=replace)
        _drop_leftovers(client, target, before)
        fresh = f"{target.name}_{uuid.uuid4().hex[:8]}"
        try:
            _create(client, fresh, record, layout, points.columns)
            for rows in _rows(store, layout, columns):
                client.insert(fresh, rows, timeout=ANSWER_SECONDS)
                advance(len(rows))
            _make_ready(client, fresh, record, layout)
            (client.create_alias if before is None else client.alter_alias)(fresh, target.name)
        except BaseException:
            with contextlib.suppress(Exception):
                client.drop_collection(fresh)
            raise
        if before is not None:
            client.drop_collection(before)
    held = {column.name for column in columns}
    return Pushed(len(store), [name for name in store.schema.names if name not in held], fresh)


def _holder(client: MilvusClient, target: Address, store: IndexStore, *, replace: bool) -> str | None:
    """Return the collection that the alias names; None if there is none.

    Raises:
        LimbeckError: it may not be replaced: it is not ours, or it is of another index or model.
    """
    if not client.has_collection(target.name):
        return None
    found = client.describe_collection(target.name)
    name = str(found["collection_name"])
    if target.name not in found.get("aliases", ()):
        raise LimbeckError(
            f"{target}: a collection that limbeck index push did not make has this name; choose another",
            code="E-MILVUS-COLLECTION",
        )
    if not replace and not Record.from_text(found.get("description", ""), target).is_of(store):
        raise LimbeckError(
            f"{target}: holds another index or model; choose another name, or use --replace",
            code="E-MILVUS-COLLECTION",
        )
    return name


def _drop_leftovers(client: MilvusClient, target: Address, current: str | None) -> None:
    """Drop the collections of interrupted pushes to this name."""
    for name in client.list_collections():
        if re.fullmatch(rf"{target.name}_[0-9a-f]{{8}}", name) and name != current:
            found = client.describe_collection(name)
            if not found.get("aliases"):
                Record.from_text(found.get("description", ""), name)
                client.drop_collection(name)


def _create(client: MilvusClient, name: str, record: Record, layout: Layout, columns: int) -> None:
    from pymilvus import DataType

    plain = {"whole": DataType.INT64, "real": DataType.DOUBLE, "truth": DataType.BOOL}
    schema = client.create_schema(auto_id=False, enable_dynamic_field=False, description=record.to_text())
    schema.add_field(ROW, DataType.INT64, is_primary=True)
    if layout.metric == "HAMMING":
        schema.add_field(POINT, DataType.BINARY_VECTOR, dim=8 * columns)
    else:
        schema.add_field(POINT, DataType.FLOAT_VECTOR, dim=columns)
    for column in record.columns:
        options: dict[str, Json] = {}
        if column.kind in ("text", "texts"):
            options["max_length"] = MAX_TEXT
        if column.kind in ("texts", "wholes"):
            element = DataType.VARCHAR if column.kind == "texts" else DataType.INT64
            options |= {"element_type": element, "max_capacity": MAX_ENTRIES}
            schema.add_field(column.field, DataType.ARRAY, **options)
        else:
            schema.add_field(column.field, plain.get(column.kind, DataType.VARCHAR), **options)
        if column.present is not None:
            schema.add_field(column.present, DataType.BOOL)
    client.create_collection(name, schema=schema, consistency_level="Strong")


def _rows(store: IndexStore, layout: Layout, columns: list[Column]) -> Iterator[list[dict[str, Json]]]:
    """Yield the live rows of a store in Milvus' form, one message at a time."""
    for start, segment in zip(store.starts, store.segments, strict=False):
        each = segment.points[:1].nbytes + segment.items.nbytes // max(1, segment.rows)
        step = max(1, min(1 << 14, _BATCH_BYTES // (1 + each)))
        for first in range(0, segment.rows, step):
            alive = segment.alive(first, first + step)
            points = layout.items(np.asarray(segment.points[first : first + step][alive]))
            table = segment.items.slice(first, step).filter(pa.array(alive))
            fields: dict[str, Sequence[Json | np.ndarray]] = {
                ROW: (start + first + np.flatnonzero(alive)).tolist(),
                POINT: [point.tobytes() for point in points] if layout.metric == "HAMMING" else list(points),
            }
            for column in columns:
                fields |= fields_of(column, table)
            if len(table):
                yield [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]


def _make_ready(client: MilvusClient, name: str, record: Record, layout: Layout) -> None:
    """Flush, index and load the inserted items.

    Raises:
        LimbeckError: items are missing in the collection.
    """
    client.flush(name)
    wanted = client.prepare_index_params()
    params = {"nlist": record.lists} if record.lists else {}
    wanted.add_index(field_name=POINT, index_type=layout.kind, metric_type=layout.metric, params=params)
    client.create_index(name, wanted)
    client.load_collection(name)
    found = client.query(name, filter="", output_fields=["count(*)"], consistency_level="Strong")
    count = found[0]["count(*)"]
    if count != record.rows:
        raise LimbeckError(
            f"{name}: {count} of {record.rows} items arrived; push again", code="E-MILVUS-SERVER"
        )
