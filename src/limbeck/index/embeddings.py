"""Float embeddings kept beside codes, and the second stage of a search that ranks by them.

They stand in the items' column `COLUMN`, memory-mapped like the others, so that only those of a short list
are read; adding, compacting and exporting take them along.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.items import as_items
from limbeck.index.query import check_k
from limbeck.index.store import IndexStore

COLUMN = "embedding"


def with_embeddings(items: Any, embeddings: np.ndarray) -> pa.Table:
    """A table of items with their embeddings, float32 (N, D), as a further column.

    Raises:
        LimbeckError: not one finite float row an item.
    """
    table, array = as_items(items), np.asarray(embeddings)
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != len(table) or not array.shape[1]:
        raise LimbeckError(
            f"embeddings: {array.dtype} {array.shape}; give one float row an item ({len(table)}, D)"
        )
    bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
    if bad.size:
        raise LimbeckError(f"embeddings: row {bad[0]} holds NaN or infinity; see what it was made from")
    values = pa.array(np.ascontiguousarray(array, dtype=np.float32).ravel())
    return table.append_column(COLUMN, pa.FixedSizeListArray.from_arrays(values, array.shape[1]))


def embedding_width(store: IndexStore) -> int | None:
    """Numbers in an embedding; None where the index keeps none."""
    if COLUMN not in store.schema.names:
        return None
    kind = store.schema.field(COLUMN).type
    return kind.list_size if pa.types.is_fixed_size_list(kind) else None


def embeddings_at(store: IndexStore, rows: np.ndarray) -> np.ndarray:
    """float32 (n, D): the embeddings of some rows (n,), in their order.

    Raises:
        LimbeckError: the index keeps none, or one of the items has none.
    """
    width = embedding_width(store)
    if width is None:
        raise LimbeckError(f"{store.path}: keeps no embeddings; build it with --keep-embeddings")
    found = np.empty((len(rows), width), dtype=np.float32)
    number = np.searchsorted(store.starts, rows, side="right") - 1
    for at in np.unique(number):
        here = np.flatnonzero(number == at)
        local, column = rows[here] - store.starts[at], store.segments[at].items.column(COLUMN)
        ends = np.cumsum([len(chunk) for chunk in column.chunks])
        piece = np.searchsorted(ends, local, side="right")
        for part in np.unique(piece):
            those, chunk = piece == part, column.chunk(int(part))
            taken = chunk.take(pa.array(local[those] - (ends[part] - len(chunk))))
            if taken.null_count:
                row = rows[here[those]][int(np.argmax(taken.is_null().to_numpy(zero_copy_only=False)))]
                name = store.metadata([row])[0]["id"]
                raise LimbeckError(
                    f"{store.path}: item {name!r} has no embedding; add it again with --replace"
                )
            found[here[those]] = taken.flatten().to_numpy().reshape(-1, width)
    return found


def reranked(
    store: IndexStore, embeddings: np.ndarray, shortlists: list[np.ndarray], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The k items of each short list whose embeddings have the highest inner product with the query's.

    For models with codes this is the score they were trained by, before the signs were taken.

    Args:
        store: an index that keeps embeddings.
        embeddings: (Q, D) of the queries.
        shortlists: rows (m,) for each query.
        k: hits wanted.

    Returns:
        For each query scores float64 (k',) and rows int64 (k',), highest first, ties by row.

    Raises:
        LimbeckError: as `embeddings_at`, and queries of another width.
    """
    asked, width = np.asarray(embeddings, dtype=np.float64), embedding_width(store)
    if width is not None and (asked.ndim != 2 or asked.shape[1] != width):
        raise LimbeckError(f"embeddings: {asked.shape}, the index keeps those of width {width}")
    found = []
    for query, rows in zip(asked, shortlists, strict=True):
        scores = embeddings_at(store, rows).astype(np.float64) @ query
        order = np.lexsort((rows, -scores))[:k]
        found.append((scores[order], rows[order]))
    return found


def check_rerank(store: IndexStore, rerank: int, k: int | None, radius: float | None = None) -> int:
    """The k (10 by default) of a search that ranks ``rerank`` items anew; refused where that is not possible.

    Raises:
        LimbeckError: a radius, points that are no codes, no embeddings kept, k below 1, ``rerank`` below k.
    """
    if radius is not None:
        raise LimbeckError("rerank: takes no radius; the nearest by codes are ranked anew")
    if store.space.storage != "codes":
        raise LimbeckError(f"rerank: the points of {store.space!r} are floats already; leave it out")
    if embedding_width(store) is None:
        raise LimbeckError(f"{store.path}: keeps no embeddings; build it with --keep-embeddings")
    wanted = check_k(10 if k is None else k)
    if isinstance(rerank, bool) or not isinstance(rerank, int | np.integer) or rerank < wanted:
        raise LimbeckError(f"rerank: {rerank!r} is below k = {wanted}; rank at least as many as are wanted")
    return wanted
