"""Searches exactly: every item is compared, ties go by row, and the result does not depend on the threads."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.packing import as_words, check_code_pair, read_only
from limbeck.codes.threads import run_threads, spans, thread_count
from limbeck.errors import LimbeckError
from limbeck.index.scan_codes import scan_nearest, scan_within
from limbeck.index.scan_vectors import GROUP, scan_highest

QUERY_BLOCK = 64  # queries that share one pass over the items
WORTH_A_THREAD = 12 << 20  # bytes to compare, below which another thread does not pay
_SPARSE = 16  # below one allowed row in 16, searching a copy of the allowed rows is faster


def search_codes(
    queries: ArrayLike,
    items: ArrayLike,
    k: int,
    *,
    mask: ArrayLike | None = None,
    threads: int | None = None,
    bits: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k nearest codes by Hamming distance.

    Args:
        queries: packed codes, uint8 (Q, B).
        items: packed codes, uint8 (N, B); a memory map is not copied.
        k: the number of hits, at least 1; a larger k than items returns all.
        mask: bool (N,), True for allowed rows; None allows all.
        threads: the number of threads; None uses one per core.
        bits: compare only the first bits, which are the coarse ones of a nested code; all by default.

    Returns:
        (distances int32 (Q, k'), rows int64 (Q, k')), ordered by (distance, row); k' is the smaller of k and
        the number of allowed rows.

    Raises:
        LimbeckError: the arrays are not codes or do not fit each other, k is below 1, or the mask is wrong.
    """
    left, right = check_code_pair(queries, items)
    allowed, wanted = _check_mask(mask, len(right)), _check_k(k)
    if allowed is not None and _SPARSE * np.count_nonzero(allowed) < len(right):
        kept = np.flatnonzero(allowed)
        distances, rows = search_codes(left, right[kept], wanted, threads=threads, bits=bits)
        return distances, kept[rows]
    wanted = min(wanted, len(right) if allowed is None else int(np.count_nonzero(allowed)))
    keep, length = _kept_bits(bits, left.shape[1]), 8 * left.shape[1]
    query_words, stored, permitted = as_words(left), as_words(right), _mask_bytes(allowed)
    if not wanted or not len(left):
        return np.empty((len(left), wanted), np.int32), np.empty((len(left), wanted), np.int64)
    workers = thread_count(threads)
    plan = _Plan(len(left), right, wanted, workers)
    distances = np.empty((len(left), plan.parts, plan.width), dtype=np.int32)
    rows = np.empty((len(left), plan.parts, plan.width), dtype=np.int64)
    tasks = [
        functools.partial(
            scan_nearest,
            stored[start:stop],
            query_words[block],
            keep,
            permitted[start:stop],
            start,
            length,
            distances[block, part],
            rows[block, part],
        )
        for block in plan.blocks
        for part, (start, stop) in enumerate(plan.stretches)
    ]
    run_threads(tasks, workers)
    return _merge(distances, rows, wanted)


def search_radius(
    queries: ArrayLike,
    items: ArrayLike,
    radius: int,
    *,
    mask: ArrayLike | None = None,
    threads: int | None = None,
    bits: int | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return all codes within a Hamming radius.

    Args:
        queries: packed codes, uint8 (Q, B).
        items: packed codes, uint8 (N, B).
        radius: the greatest distance, at least 0.
        mask: bool (N,), True for allowed rows; None allows all.
        threads: the number of threads; None uses one per core.
        bits: compare only the first bits; all by default.

    Returns:
        For each query (distances int32 (m,), rows int64 (m,)), ordered by (distance, row).

    Raises:
        LimbeckError: as `search_codes`, or the radius is below 0.
    """
    left, right = check_code_pair(queries, items)
    permitted = _mask_bytes(_check_mask(mask, len(right)))
    if isinstance(radius, bool) or not isinstance(radius, int | np.integer) or radius < 0:
        raise LimbeckError(f"radius: {radius!r} is not a whole number of at least 0", code="E-OPTION-RANGE")
    reach = min(int(radius), 8 * left.shape[1])
    query_words, stored, workers = as_words(left), as_words(right), thread_count(threads)
    keep = _kept_bits(bits, left.shape[1])
    stretches = spans(len(right), workers if len(left) < workers else 1)
    tasks = [
        functools.partial(scan_within, stored[start:stop], query, keep, permitted[start:stop], start, reach)
        for query in query_words
        for start, stop in stretches
    ]
    found = run_threads(tasks, workers)
    results = []
    for first in range(0, len(found), len(stretches)):
        distances, rows = (
            np.concatenate(parts) for parts in zip(*found[first : first + len(stretches)], strict=True)
        )
        order = np.argsort(distances, kind="stable")
        results.append((distances[order], rows[order]))
    return results


def search_vectors(
    queries: ArrayLike, items: ArrayLike, k: int, *, mask: ArrayLike | None = None, threads: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k vectors of highest inner product.

    Equal vectors get equal scores in every row, so ties are exact (`limbeck.index.scan_vectors`).

    Args:
        queries: float (Q, D), finite.
        items: float (N, D); a float32 memory map is not copied, other types are converted to float32.
        k: the number of hits, at least 1; a larger k than items returns all.
        mask: bool (N,), True for allowed rows; None allows all.
        threads: the number of threads; None uses one per core.

    Returns:
        (scores float32 (Q, k'), rows int64 (Q, k')), ordered by (-score, row); k' is the smaller of k and the
        number of allowed rows.

    Raises:
        LimbeckError: the arrays are not vectors or do not fit each other, they contain NaN, k is below 1, or
            the mask is wrong.
    """
    left, right = _check_vectors(queries, "queries"), _check_vectors(items, "items")
    if left.shape[1] != right.shape[1]:
        raise LimbeckError(
            f"queries: width {left.shape[1]} does not fit items of width {right.shape[1]}",
            code="E-ARRAY-SHAPE",
        )
    if not np.isfinite(left).all():
        raise LimbeckError(
            "queries: hold NaN or infinity; check the inputs of the encoder", code="E-ARRAY-VALUES"
        )
    allowed, wanted = _check_mask(mask, len(right)), _check_k(k)
    wanted = min(wanted, len(right) if allowed is None else int(np.count_nonzero(allowed)))
    if not wanted or not len(left):
        return np.empty((len(left), wanted), np.float32), np.empty((len(left), wanted), np.int64)
    padded_queries = np.zeros((-(-len(left) // GROUP) * GROUP, left.shape[1]), dtype=np.float32)
    padded_queries[: len(left)] = left
    permitted, workers = _mask_bytes(allowed), thread_count(threads)
    plan = _Plan(len(padded_queries), right, wanted, workers)
    scores = np.empty((len(padded_queries), plan.parts, plan.width), dtype=np.float32)
    rows = np.empty((len(padded_queries), plan.parts, plan.width), dtype=np.int64)
    tasks = [
        functools.partial(
            scan_highest,
            right[start:stop],
            read_only(padded_queries[block]),
            permitted[start:stop],
            start,
            scores[block, part],
            rows[block, part],
        )
        for block in plan.blocks
        for part, (start, stop) in enumerate(plan.stretches)
    ]
    bad = max(run_threads(tasks, workers))
    if bad >= 0:
        raise LimbeckError(
            f"items: row {bad} holds NaN or infinity; rebuild the index from clean vectors",
            code="E-ARRAY-VALUES",
        )
    flat_scores, flat_rows = (
        scores[: len(left)].reshape(len(left), -1),
        rows[: len(left)].reshape(len(left), -1),
    )
    # places without an item come last; otherwise they would tie with items of score -inf
    order = np.lexsort((flat_rows, -flat_scores, flat_rows < 0), axis=-1)[:, :wanted]
    return np.take_along_axis(flat_scores, order, axis=1), np.take_along_axis(flat_rows, order, axis=1)


class _Plan:
    """Divides a search among threads: by stretches of items if queries are few, by query blocks if many.

    Little work stays on one thread, because waking a thread takes as long as reading some megabytes.
    """

    def __init__(self, queries: int, items: np.ndarray, wanted: int, workers: int) -> None:
        workers = min(workers, 1 + queries * items.nbytes // WORTH_A_THREAD)
        many = queries >= 16 * workers
        size = min(QUERY_BLOCK, -(-queries // workers // GROUP) * GROUP) if many else QUERY_BLOCK
        self.blocks = [slice(start, start + size) for start in range(0, queries, size)]
        self.stretches = spans(len(items), 1 if many else workers)
        self.parts = len(self.stretches)
        self.width = min(wanted, max(stop - start for start, stop in self.stretches))


def _merge(distances: np.ndarray, rows: np.ndarray, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """Merge the stretches' results; a stable sort keeps the row order, because stretches are in row order."""
    if distances.shape[1] == 1:
        return distances[:, 0], rows[:, 0]
    flat_distances, flat_rows = distances.reshape(len(distances), -1), rows.reshape(len(rows), -1)
    order = np.argsort(flat_distances, axis=1, kind="stable")[:, :wanted]
    return np.take_along_axis(flat_distances, order, axis=1), np.take_along_axis(flat_rows, order, axis=1)


def _kept_bits(bits: int | None, width: int) -> np.ndarray:
    """Return words (W,) with ones at the bits to compare, as the kernels take them; empty for all bits."""
    most = 8 * width
    count = most if bits is None else bits
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= most:
        raise LimbeckError(f"bits: {bits!r} is not a whole number from 1 to {most}", code="E-OPTION-RANGE")
    if count == most:
        return as_words(np.zeros((1, width), np.uint8))[0, :0]
    return as_words(np.packbits(np.arange(most) < count)[None])[0]


def _check_k(k: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise LimbeckError(f"k: {k!r} is not a whole number of at least 1", code="E-OPTION-RANGE")
    return int(k)


def _check_mask(mask: ArrayLike | None, items: int) -> np.ndarray | None:
    if mask is None:
        return None
    array = np.asarray(mask)
    if array.dtype != np.bool_ or array.shape != (items,):
        raise LimbeckError(
            f"mask: is {array.dtype} {array.shape}, expected bool ({items},)", code="E-ARRAY-SHAPE"
        )
    return array


def _mask_bytes(mask: np.ndarray | None) -> np.ndarray:
    """Return the mask as uint8 (N,) for the kernels; empty, as are its slices, if all rows are allowed."""
    return read_only(np.empty(0, np.uint8) if mask is None else np.ascontiguousarray(mask).view(np.uint8))


def _check_vectors(vectors: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(vectors)
    if array.ndim != 2 or array.dtype.kind != "f" or array.shape[1] == 0:
        raise LimbeckError(
            f"{what}: is {array.dtype} {array.shape}, expected float vectors (N, D)", code="E-ARRAY-SHAPE"
        )
    array = np.ascontiguousarray(array, dtype=np.float32)
    return read_only(array if array.flags.aligned else array.copy())
