"""Compare stored codes with the real numbers of a query instead of their signs: asymmetric search.

Dong, Charikar and Li, "Asymmetric distance estimation with sketches for similarity search in high-dimensional
spaces", SIGIR 2008; Gordo et al., "Asymmetric distances for binary embeddings", TPAMI 2014.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from limbeck.codes.packing import read_only
from limbeck.codes.threads import run_threads, thread_count
from limbeck.errors import LimbeckError
from limbeck.index.query import Answer, ExactSearch, check_k, has_numba
from limbeck.index.segment_view import PrefixView, SegmentView
from limbeck.index.store import IndexStore

LARGEST = 1 << 27
"""The bytes of codes up to which a search is asymmetric by default: 40 ms compiled, .2 s by numpy."""

# Numpy adds up 8 bytes in 13 ns and the compiled scan in 2.4 ns (`benchmarks/asymmetric_speed.py`), but the
# import of numba and the first call take .45 s, as long as numpy needs for twice this many bytes.
_BY_NUMPY = 1 << 27
_BLOCK = 1 << 15  # rows whose distances are in memory at once
_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8)
Scan = Callable[[np.ndarray, np.ndarray, np.ndarray], object]  # (codes (n, B), table (B, 256), out (n,))


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
        self._read = 0  # bytes, by numpy

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
                f"query: holds {numbers.dtype} {numbers.shape}; asymmetric search needs floats "
                f"(Q, {self._bits}), the numbers whose signs are the codes",
                code="E-ARRAY-SHAPE",
            )
        if not np.isfinite(numbers).all():
            raise LimbeckError("query: holds NaN or infinity", code="E-ARRAY-VALUES")
        k = min(k, self._store.rows if allowed is None else int(np.count_nonzero(allowed)))
        if not len(numbers) or not k:
            return np.empty((len(numbers), k)), np.empty((len(numbers), k), np.int64)
        scan, workers = self._scan(len(numbers))
        tasks = [functools.partial(self._nearest, scan, query, k, allowed) for query in numbers]
        distances, rows = zip(*run_threads(tasks, workers), strict=True)
        return np.stack(distances), np.stack(rows)

    def range_search(self, points: np.ndarray, radius: float, mask: np.ndarray | None = None) -> list[Answer]:
        """Refuse a radius, whose unit would differ from query to query."""
        raise LimbeckError(
            "asymmetric: cannot be combined with a radius; leave one of the two out", code="E-OPTION-CONFLICT"
        )

    def _scan(self, queries: int) -> tuple[Scan, int]:
        """Return the scan for some queries, and the number of threads that it can use."""
        self._read += queries * self._store.rows * self._store.space.width
        if self._read <= _BY_NUMPY or not has_numba():
            return _add_up, 1
        from limbeck.index.scan_codes import scan_weighted  # with numba, which is slow to import

        return scan_weighted, thread_count(None)

    def _nearest(self, scan: Scan, query: np.ndarray, k: int, allowed: np.ndarray | None) -> Answer:
        """Return distances (k,) and rows (k,) of one query (bits,)."""
        weights = np.abs(query.astype(np.float64))
        differs = _BYTES[None] != (query >= 0).reshape(-1, 1, 8)
        table = read_only((differs * weights.reshape(-1, 1, 8)).sum(axis=2))
        best, rows, limit = np.empty(0), np.empty(0, np.int64), np.inf
        scratch = np.empty(min(_BLOCK, self._store.rows))  # once, because the system's memory calls cost time
        for first, codes in zip(self._store.starts, self._store.points, strict=False):
            for start in range(0, len(codes), _BLOCK):
                block, at = np.ascontiguousarray(codes[start : start + _BLOCK]), first + start
                found = scratch[: len(block)]
                scan(read_only(block), table, found)
                if allowed is not None:
                    found[~allowed[at : at + len(block)]] = np.inf
                near = np.flatnonzero(found < limit)  # an equal distance of a later row comes too late
                if len(near) > k:
                    near = near[found[near] <= np.partition(found[near], k - 1)[k - 1]]
                best, rows = np.concatenate([best, found[near]]), np.concatenate([rows, near + at])
                order = np.argsort(best, kind="stable")[:k]
                best, rows = best[order], rows[order]
                limit = best[-1] if len(best) == k else np.inf
        return best / (weights.mean() or 1.0), rows


def _add_up(codes: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:
    """Write what `limbeck.index.scan_codes.scan_weighted` writes."""
    out[:] = 0
    for byte, entries in enumerate(table):
        out += entries[codes[:, byte]]
