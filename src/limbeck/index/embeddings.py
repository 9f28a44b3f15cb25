"""Stores float embeddings next to codes, and ranks short lists and ties in distance by them.

The embeddings are the items' column `EMBEDDING` (`limbeck.index.store`), in half precision and memory-mapped
like the other columns, so that only the needed rows are read. Adding, compacting and exporting keep them. The
manifest records what they are and how they rank (`limbeck.spaces.Kept`).
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from limbeck.errors import LimbeckError
from limbeck.index.items import as_items
from limbeck.index.store import EMBEDDING, IndexStore
from limbeck.spaces import Kept

_HALF_MAX = float(np.finfo(np.float16).max)


def with_embeddings(items: object, embeddings: np.ndarray, kept: Kept, *, first: int = 0) -> pa.Table:
    """Return a table of items with their embeddings as an additional column.

    The column is in half precision; for an index of version 0.1 it is in single precision, like its other
    embeddings.

    Args:
        items: N items.
        embeddings: float (N, kept.width).
        kept: describes the embeddings.
        first: the number of the first row, for errors.

    Raises:
        LimbeckError: the embeddings are not one finite float row per item, their width or kind is not that of
            ``kept``, or a number is outside the range of half precision.
    """
    table, array = as_items(items), np.asarray(embeddings)
    if array.ndim != 2 or array.dtype.kind != "f" or len(array) != len(table) or not array.shape[1]:
        raise LimbeckError(
            f"embeddings: holds {array.dtype} {array.shape}; give one float row per item ({len(table)}, D)",
            code="E-ARRAY-SHAPE",
        )
    points = kept.points(array, first=first)
    if kept.of != "unrecorded":
        bad = np.flatnonzero((np.abs(points) > _HALF_MAX).any(axis=1))
        if bad.size:
            raise LimbeckError(
                f"embeddings: row {first + bad[0]} holds a number above {_HALF_MAX:g}, too large for half "
                "precision; scale the embeddings down",
                code="E-ARRAY-VALUES",
            )
        points = points.astype(np.float16)
    values = pa.array(np.ascontiguousarray(points).ravel())
    column = pa.FixedSizeListArray.from_arrays(values, kept.width)
    if EMBEDDING in table.column_names:
        raise LimbeckError(f"items: already have a column {EMBEDDING!r}; rename it", code="E-TABLE-COLUMN")
    return table.append_column(EMBEDDING, column)


def embeddings_at(store: IndexStore, rows: np.ndarray, *, lenient: bool = False) -> np.ndarray:
    """Return the embeddings, float32 (n, D), of the given rows, in their order.

    Args:
        store: an index that keeps embeddings.
        rows: row numbers (n,).
        lenient: return NaN for an item without an embedding instead of an error.

    Raises:
        LimbeckError: the index keeps no embeddings, one is damaged, or an item has none.
    """
    kept = require_kept(store)
    result = np.full((len(rows), kept.width), np.nan, dtype=np.float32)
    if not len(rows):
        return result
    taken = store.items_at(rows, [EMBEDDING]).column(EMBEDDING).combine_chunks()
    there = taken.is_valid().to_numpy(zero_copy_only=False)
    if not there.all() and not lenient:
        name = store.metadata([rows[int(np.argmin(there))]])[0]["id"]
        raise LimbeckError(
            f"{store.path}: item {name!r} has no embedding; add it again with --replace",
            code="E-INDEX-EMBEDDINGS",
        )
    values = taken.flatten().to_numpy().reshape(-1, kept.width)  # `flatten` leaves nulls out
    result[there] = kept.points(values, what=f"{store.path}: kept embeddings")
    return result


def checked_queries(store: IndexStore, embeddings: np.ndarray) -> np.ndarray:
    """Check query embeddings (Q, D) and convert them to the form of the kept ones, float32.

    Raises:
        LimbeckError: the index keeps no embeddings, width or type differ, or the queries contain NaN.
    """
    return require_kept(store).points(embeddings)


def reranked(
    store: IndexStore, embeddings: np.ndarray, shortlists: list[np.ndarray], k: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Re-rank short lists by the kept embeddings, with the score of the model that made them.

    Args:
        store: an index that keeps embeddings.
        embeddings: (Q, D), those of the queries.
        shortlists: for each query the rows (m,) to re-rank.
        k: the number of hits per query.

    Returns:
        For each query the scores float64 (k',), named by `Kept.score_name`, and rows int64 (k',), nearest
        first, ties by row.

    Raises:
        LimbeckError: as `embeddings_at`, or the queries have another width.
    """
    query_embeddings, kept = checked_queries(store, embeddings), require_kept(store)
    answers = []
    for query, rows in zip(query_embeddings, shortlists, strict=True):
        scores = kept.scores(query, embeddings_at(store, rows))
        order = np.lexsort((rows, -kept.score_sign * scores))[:k]
        answers.append((scores[order], rows[order]))
    return answers


def require_kept(store: IndexStore) -> Kept:
    """Return what a search with ``rerank`` ranks by.

    Raises:
        LimbeckError: the index keeps no embeddings.
    """
    if store.kept is None:
        raise LimbeckError(
            f"{store.path}: keeps no embeddings; build it with --keep-embeddings", code="E-INDEX-EMBEDDINGS"
        )
    return store.kept


def check_rerank(store: IndexStore) -> None:
    """Check that a search can re-rank its nearest codes.

    Raises:
        LimbeckError: the points are not codes, or the index keeps no embeddings.
    """
    if store.space.storage != "codes":
        raise LimbeckError(
            f"rerank: the points of {store.space!r} are floats already; leave it out", code="E-OPTION-UNUSED"
        )
    require_kept(store)
