"""Compare stored codes with the real numbers of a query instead of their signs: asymmetric search.

Dong, Charikar and Li, "Asymmetric distance estimation with sketches for similarity search in high-dimensional
spaces", SIGIR 2008; Gordo et al., "Asymmetric distances for binary embeddings", TPAMI 2014.
"""

from __future__ import annotations

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.query import Answer, ExactSearch, check_k
from limbeck.index.segment_view import PrefixView, SegmentView
from limbeck.index.store import IndexStore

_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)


class AsymmetricSearch:
    """Search the codes of a store exactly by weighted Hamming distance, ties by row.

    A bit weighs as much as the query's number is away from 0; the weights have mean 1. The order is that of
    the inner product of the query's numbers with the items' signs, highest first.
    """

    def __init__(self, store: IndexStore | SegmentView | PrefixView) -> None:
        if store.space.storage != "codes":
            raise LimbeckError(
                f"asymmetric: the points of {store.space!r} are floats already; leave it out",
                code="E-OPTION-UNUSED",
            )
        self._store, self._allowed = store, ExactSearch(store).allowed
        self._bits = 8 * store.space.width

    def __call__(self, points: np.ndarray, k: int, mask: np.ndarray | None = None) -> Answer:
        """Return distances float64 (Q, k') and rows int64 (Q, k') as `ExactSearch` does.

        Args:
            points: float (Q, bits), the numbers whose signs are the queries' codes.
            k: the number of hits, at least 1.
            mask: bool (rows,), True for allowed rows; all by default.

        Raises:
            LimbeckError: k is below 1, or the numbers are not finite floats of this width.
        """
        k, numbers, allowed = check_k(k), np.asarray(points), self._allowed(mask)
        if numbers.ndim != 2 or numbers.dtype.kind != "f" or numbers.shape[1] != self._bits:
            raise LimbeckError(
                f"query: {numbers.dtype} {numbers.shape}; asymmetric search needs floats (Q, {self._bits}), "
                "the numbers whose signs are the codes",
                code="E-ARRAY-SHAPE",
            )
        if not np.isfinite(numbers).all():
            raise LimbeckError("query: holds NaN or infinity", code="E-ARRAY-VALUES")
        rows = np.arange(self._store.rows) if allowed is None else np.flatnonzero(allowed)
        k = min(k, len(rows))
        scores, found = np.empty((len(numbers), k)), np.empty((len(numbers), k), np.int64)
        for q, query in enumerate(numbers.astype(np.float64)):
            distances = self._distances(query)[rows]
            if k:
                near = np.flatnonzero(distances <= np.partition(distances, k - 1)[k - 1])
                best = near[np.argsort(distances[near], kind="stable")[:k]]
                scores[q], found[q] = distances[best], rows[best]
        return scores, found

    def range_search(self, points: np.ndarray, radius: float, mask: np.ndarray | None = None) -> list[Answer]:
        """Refuse a radius, whose unit would differ from query to query."""
        raise LimbeckError(
            "asymmetric: cannot be combined with a radius; leave one of the two out", code="E-OPTION-CONFLICT"
        )

    def _distances(self, query: np.ndarray) -> np.ndarray:
        """Return the distance of one query (bits,) to every row, float64 (rows,).

        Bytes are added in their order, so that equal codes have equal distances.
        """
        weights = np.abs(query)
        differs = _BYTES[None] != (query >= 0).reshape(-1, 1, 8)
        table = (differs * weights.reshape(-1, 1, 8)).sum(axis=2)  # (bytes, 256)
        parts = []
        for codes in self._store.points:
            total = np.zeros(len(codes))
            for byte, entries in enumerate(table):
                total += entries[codes[:, byte]]
            parts.append(total)
        return np.concatenate([np.zeros(0), *parts]) / (weights.mean() or 1.0)
