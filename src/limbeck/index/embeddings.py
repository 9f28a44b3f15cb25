"""Float embeddings kept beside codes, and what is ranked by them: short lists, and items of equal distance.

They stand in the items' column `COLUMN`, in half precision and memory-mapped like the others, so that only
those that are asked for are read; adding, compacting and exporting take them along. What they are and how
they rank is in the manifest (`limbeck.spaces.Kept`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.items import as_items
from limbeck.index.query import check_k
from limbeck.index.store import IndexStore
from limbeck.spaces import Kept

COLUMN = "embedding"
_HALF_MAX = float(np.finfo(np.float16).max)


def with_embeddings(items: Any, embeddings: np.ndarray, kept: Kept, *, first: int = 0) -> pa.Table:
    """A table of items with their embeddings, float (N, kept.width), as a further column.

    Stored in half precision; of an index that version 0.1 built, in single precision as its others are.
    Errors count rows from ``first`` on.

    Raises:
        LimbeckError: not one finite float row an item, of the width and kind that is kept, or a number above
            the range of half precision.
    """
    table, array = as_items(items), np.asarray(embeddings)
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != len(table) or not array.shape[1]:
        raise LimbeckError(
            f"embeddings: {array.dtype} {array.shape}; give one float row an item ({len(table)}, D)"
        )
    points = kept.points(array, first=first)
    if kept.of != "unrecorded":
        bad = np.flatnonzero((np.abs(points) > _HALF_MAX).any(axis=1))
        if bad.size:
            raise LimbeckError(
                f"embeddings: row {first + bad[0]} holds a number above {_HALF_MAX:g}, too large for half "
                "precision; scale the embeddings down"
            )
        points = points.astype(np.float16)
    values = pa.array(np.ascontiguousarray(points).ravel())
    column = pa.FixedSizeListArray.from_arrays(values, kept.width)
    if COLUMN in table.column_names:
        raise LimbeckError(f"items: have a column {COLUMN!r} of their own; rename it")
    return table.append_column(COLUMN, column)


def kept_in(schema: pa.Schema, recorded: Kept | None) -> Kept | None:
    """What a column of embeddings holds, as recorded, or as version 0.1 left it; None without one."""
    kind = schema.field(COLUMN).type if COLUMN in schema.names else None
    if kind is None or not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
        return None
    if recorded is None:
        return Kept("unrecorded", None, kind.list_size)
    return recorded if recorded.width == kind.list_size else None


def kept_of(store: IndexStore) -> Kept | None:
    """What the embeddings of an index are; None where it keeps none, or has no codes.

    Raises:
        LimbeckError: the manifest says something else of them than the column does.
    """
    if store.space.storage != "codes":
        return None
    recorded = None if store.manifest.embeddings is None else Kept.from_json(store.manifest.embeddings)
    found = kept_in(store.schema, recorded)
    if found is None and recorded is not None:
        raise LimbeckError(
            f"{store.path}: its manifest names kept embeddings of width {recorded.width}, its items have no "
            f"such column; restore the index from a copy or rebuild it"
        )
    return found


def embedding_width(store: IndexStore) -> int | None:
    """Numbers in a kept embedding; None where the index keeps none."""
    kept = kept_of(store)
    return None if kept is None else kept.width


def embeddings_at(store: IndexStore, rows: np.ndarray, *, lenient: bool = False) -> np.ndarray:
    """float32 (n, D): the embeddings of some rows (n,), in their order.

    Args:
        store: an index that keeps embeddings.
        rows: row numbers.
        lenient: give NaN for an item without an embedding.

    Raises:
        LimbeckError: the index keeps none, one that is damaged, or one of the items has none.
    """
    kept = kept_of(store)
    if kept is None:
        raise LimbeckError(f"{store.path}: keeps no embeddings; build it with --keep-embeddings")
    found = np.full((len(rows), kept.width), np.nan, dtype=np.float32)
    number = np.searchsorted(store.starts, rows, side="right") - 1
    for at in np.unique(number):
        here = np.flatnonzero(number == at)
        local, column = rows[here] - store.starts[at], store.segments[at].column(COLUMN)
        ends = np.cumsum([len(chunk) for chunk in column.chunks])
        piece = np.searchsorted(ends, local, side="right")
        for part in np.unique(piece):
            those, chunk = here[piece == part], column.chunk(int(part))
            taken = chunk.take(pa.array(local[piece == part] - (ends[part] - len(chunk))))
            there = taken.is_valid().to_numpy(zero_copy_only=False)
            if not there.all() and not lenient:
                name = store.metadata([rows[those[int(np.argmin(there))]]])[0]["id"]
                raise LimbeckError(
                    f"{store.path}: item {name!r} has no embedding; add it again with --replace"
                )
            values = taken.flatten().to_numpy().reshape(-1, kept.width)  # of nulls nothing
            found[those[there]] = kept.points(values, what=f"{store.path}: kept embeddings")
    return found


def checked_queries(store: IndexStore, embeddings: np.ndarray) -> np.ndarray:
    """Queries (Q, D) as the kept embeddings are: float32.

    Raises:
        LimbeckError: none are kept, another width or type, NaN.
    """
    kept = kept_of(store)
    if kept is None:
        raise LimbeckError(f"{store.path}: keeps no embeddings; build it with --keep-embeddings")
    return kept.points(embeddings)


def reranked(
    store: IndexStore, embeddings: np.ndarray, shortlists: list[np.ndarray], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The k items of each short list whose embeddings are nearest to the query's, as their model measures it.

    Args:
        store: an index that keeps embeddings.
        embeddings: (Q, D) of the queries.
        shortlists: rows (m,) for each query.
        k: hits wanted.

    Returns:
        For each query scores float64 (k',), as `Kept.score_name` says, and rows int64 (k',), nearest first,
        ties by row.

    Raises:
        LimbeckError: as `embeddings_at`, and queries of another width.
    """
    asked, kept = checked_queries(store, embeddings), kept_of(store)
    assert kept is not None
    found = []
    for query, rows in zip(asked, shortlists, strict=True):
        scores = kept.scores(query, embeddings_at(store, rows))
        order = np.lexsort((rows, -kept.score_sign * scores))[:k]
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
    if kept_of(store) is None:
        raise LimbeckError(f"{store.path}: keeps no embeddings; build it with --keep-embeddings")
    wanted = check_k(10 if k is None else k)
    if isinstance(rerank, bool) or not isinstance(rerank, int | np.integer) or rerank < wanted:
        raise LimbeckError(f"rerank: {rerank!r} is below k = {wanted}; rank at least as many as are wanted")
    return wanted
