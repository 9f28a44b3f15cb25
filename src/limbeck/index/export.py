"""Exports an index to files that other programs read, without the removed rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from limbeck.errors import LimbeckError
from limbeck.files import atomic_file, write_atomic
from limbeck.index.arrays import npy_header
from limbeck.index.store import IndexStore
from limbeck.optional_deps import require
from limbeck.tables import split_lines

POINT = "point"


def export_index(path: Path | str, out: Path | str) -> list[Path]:
    """Export the live rows of an index in row order; the suffix of ``out`` selects the format.

    * ``.parquet``: all columns and ``point`` (codes as fixed-size binary, vectors as a fixed-size list of
      float32); the file's metadata include ``limbeck.space``.
    * ``.npy``: the stored points, and a file ``.ids.txt`` with one id per line, which `index build --codes`
      reads.
    * ``.faiss``: a flat faiss index (binary for codes, else inner product over `Space.index_items`), and a
      file ``.ids.txt``: faiss id i is line i of it, counted from 0.

    Args:
        path: the index directory.
        out: the file to write.

    Returns:
        The files written.

    Raises:
        LimbeckError: there is no index, the suffix is unknown, ``out`` exists or is inside the index, a
            column is named ``point``, an id has a line break, faiss is not installed, or the disk is full.
    """
    out = Path(out)
    writers = {".parquet": _parquet, ".npy": _npy, ".faiss": _faiss}
    if out.suffix not in writers:
        raise LimbeckError(
            f"{out}: the format is unknown; end the name in .parquet, .npy or .faiss", code="E-PATH-ENDING"
        )
    files = [out] if out.suffix == ".parquet" else [out, out.with_suffix(".ids.txt")]
    for file in files:
        if file.exists():
            raise LimbeckError(
                f"{file}: already exists; choose another name, or remove it", code="E-PATH-EXISTS"
            )
    store = IndexStore.open(path)
    if Path(path).resolve() in out.resolve().parents:
        raise LimbeckError(
            f"{out}: is inside the index directory; choose another place", code="E-PATH-OVERLAP"
        )
    if len(files) > 1:
        write_atomic(files[1], _ids(store))
    try:
        with atomic_file(out) as stream:
            writers[out.suffix](store, stream)
    except BaseException:
        for file in files[1:]:
            file.unlink(missing_ok=True)
        raise
    return files


def _parquet(store: IndexStore, stream: BinaryIO) -> None:
    if POINT in store.schema.names:
        raise LimbeckError(
            f"{store.path}: its items already have a column {POINT!r}; export .npy instead",
            code="E-TABLE-COLUMN",
        )
    width, codes = store.space.width, store.space.storage == "codes"
    kind = pa.binary(width) if codes else pa.list_(pa.float32(), width)
    about = {
        "limbeck.space": json.dumps(store.space.to_json()),
        "limbeck.space_id": store.manifest.space_id or "",
        "limbeck.media_root": store.manifest.media_root or "",
    }
    schema = store.schema.append(pa.field(POINT, kind)).with_metadata(about)
    with pq.ParquetWriter(stream, schema, compression="zstd") as writer:
        for points, table in store.live_batches():
            flat = np.ascontiguousarray(points)
            if codes:
                column = pa.FixedSizeBinaryArray.from_buffers(kind, len(flat), [None, pa.py_buffer(flat)])
            else:
                column = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), width)
            writer.write_table(table.append_column(POINT, column).cast(schema))


def _npy(store: IndexStore, stream: BinaryIO) -> None:
    stream.write(npy_header(store.space.dtype, (len(store), store.space.width)))
    for points, _ in store.live_batches():
        stream.write(np.ascontiguousarray(points).data)


def _faiss(store: IndexStore, stream: BinaryIO) -> None:
    engine = require("faiss")
    space, index = store.space, None
    for points, _ in store.live_batches():
        rows = space.index_items(points)
        if index is None:
            codes = space.storage == "codes"
            index = engine.IndexBinaryFlat(8 * space.width) if codes else engine.IndexFlatIP(rows.shape[1])
        index.add(np.ascontiguousarray(rows))
    if index is None:
        raise LimbeckError(f"{store.path}: there are no items to export", code="E-INDEX-EMPTY")
    write = engine.write_index_binary if space.storage == "codes" else engine.write_index
    write(index, engine.PyCallbackIOWriter(stream.write))


def _ids(store: IndexStore) -> str:
    lines = []
    for _, table in store.live_batches():
        for item_id in table.column("id").to_pylist():
            if split_lines(item_id) != [item_id]:
                raise LimbeckError(
                    f"{store.path}: id {item_id!r} holds a line break; export .parquet instead",
                    code="E-ID-FORM",
                )
            lines.append(item_id)
    return "".join(f"{line}\n" for line in lines)
