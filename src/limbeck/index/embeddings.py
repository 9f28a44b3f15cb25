"""Stores float embeddings next to codes, and ranks short lists and ties in distance by them.

The embeddings are the items' column `COLUMN`, in half precision and memory-mapped like the other columns, so
that only the needed rows are read. Adding, compacting and exporting keep them. The manifest records what they
are and how they rank (`limbeck.spaces.Kept`).
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
            f"embeddings: {array.dtype} {array.shape}; give one float row per item ({len(table)}, D)",
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
    if COLUMN in table.column_names:
        raise LimbeckError(f"items: already have a column {COLUMN!r}; rename it", code="E-TABLE-COLUMN")
    return table.append_column(COLUMN, column)


def kept_in(schema: pa.Schema, recorded: Kept | None) -> Kept | None:
    """Return what a schema's embeddings are: as recorded, or unrecorded (version 0.1); None without."""
    kind = schema.field(COLUMN).type if COLUMN in schema.names else None
    if kind is None or not pa.types.is_fixed_size_list(kind) or not pa.types.is_floating(kind.value_type):
        return None
    if recorded is None:
        return Kept("unrecorded", None, kind.list_size)
    return recorded if recorded.width == kind.list_size else None


def kept_of(store: IndexStore) -> Kept | None:
    """Return what the kept embeddings of an index are; None if it keeps none or its points are not codes.

    Raises:
        LimbeckError: the manifest and the column contradict each other.
    """
    if store.space.storage != "codes":
        return None
    recorded = None if store.manifest.embeddings is None else Kept.from_json(store.manifest.embeddings)
    described = kept_in(store.schema, recorded)
    if described is None and recorded is not None:
        raise LimbeckError(
            f"{store.path}: its manifest names kept embeddings of width {recorded.width}, its items have no "
            f"such column; restore the index from a copy or rebuild it",
            code="E-INDEX-DAMAGED",
        )
    return described


def embedding_width(store: IndexStore) -> int | None:
    """Return the width D of the kept embeddings; None if the index keeps none."""
    kept = kept_of(store)
    return None if kept is None else kept.width


def embeddings_at(store: IndexStore, rows: np.ndarray, *, lenient: bool = False) -> np.ndarray:
    """Return the embeddings, float32 (n, D), of the given rows, in their order.

    Args:
        store: an index that keeps embeddings.
        rows: row numbers (n,).
        lenient: return NaN for an item without an embedding instead of an error.

    Raises:
        LimbeckError: the index keeps no embeddings, one is damaged, or an item has none.
    """
    kept = kept_of(store)
    if kept is None:
        raise LimbeckError(
            f"{store.path}: keeps no embeddings; build it with --keep-embeddings", code="E-INDEX-EMBEDDINGS"
        )
    result = np.full((len(rows), kept.width), np.nan, dtype=np.float32)
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
                    f"{store.path}: item {name!r} has no embedding; add it again with --replace",
                    code="E-INDEX-EMBEDDINGS",
                )
            values = taken.flatten().to_numpy().reshape(-1, kept.width)  # `flatten` leaves nulls out
            result[those[there]] = kept.points(values, what=f"{store.path}: kept embeddings")
    return result


def checked_queries(store: IndexStore, embeddings: np.ndarray) -> np.ndarray:
    """Check query embeddings (Q, D) and convert them to the form of the kept ones, float32.

    Raises:
        LimbeckError: the index keeps no embeddings, width or type differ, or the queries contain NaN.
    """
    kept = kept_of(store)
    if kept is None:
        raise LimbeckError(
            f"{store.path}: keeps no embeddings; build it with --keep-embeddings", code="E-INDEX-EMBEDDINGS"
        )
    return kept.points(embeddings)


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
    query_embeddings, kept = checked_queries(store, embeddings), kept_of(store)
    assert kept is not None
    answers = []
    for query, rows in zip(query_embeddings, shortlists, strict=True):
        scores = kept.scores(query, embeddings_at(store, rows))
        order = np.lexsort((rows, -kept.score_sign * scores))[:k]
        answers.append((scores[order], rows[order]))
    return answers


def check_rerank(store: IndexStore, rerank: int, k: int | None, radius: float | None = None) -> int:
    """Check that a search can re-rank its ``rerank`` nearest codes, and return its k (10 by default).

    Raises:
        LimbeckError: a radius is given, the points are not codes, the index keeps no embeddings, k is below
            1, or ``rerank`` is below k.
    """
    if radius is not None:
        raise LimbeckError(
            "rerank: cannot be combined with a radius; leave one of the two out", code="E-OPTION-CONFLICT"
        )
    if store.space.storage != "codes":
        raise LimbeckError(
            f"rerank: the points of {store.space!r} are floats already; leave it out", code="E-OPTION-UNUSED"
        )
    if kept_of(store) is None:
        raise LimbeckError(
            f"{store.path}: keeps no embeddings; build it with --keep-embeddings", code="E-INDEX-EMBEDDINGS"
        )
    wanted = check_k(10 if k is None else k)
    if isinstance(rerank, bool) or not isinstance(rerank, int | np.integer) or rerank < wanted:
        raise LimbeckError(
            f"rerank: {rerank!r} is below k = {wanted}; re-rank at least k items", code="E-OPTION-RANGE"
        )
    return wanted
