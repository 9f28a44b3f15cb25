"""Contains the kernels of multi-index hashing, which fill and search buckets of codes that share a part."""

from __future__ import annotations

import numpy as np

from limbeck.codes.kernel import kernel
from limbeck.codes.words import popcount

_TOGETHER = 64  # buckets looked up before one is read, so that their memory accesses overlap


@kernel
def keys_of(codes: np.ndarray, table: np.ndarray, keys: np.ndarray) -> None:  # pragma: no cover
    """Cut codes (n, B) into parts, uint32 (n, m), by what each byte gives to each part, (B, 256, m)."""
    for i in range(codes.shape[0]):
        keys[i] = table[0, codes[i, 0]]
        for b in range(1, codes.shape[1]):
            for part in range(keys.shape[1]):
                keys[i, part] |= table[b, codes[i, b], part]


@kernel
def place_entries(
    keys: np.ndarray, first_row: int, part: int, free: np.ndarray, entries: np.ndarray
) -> None:  # pragma: no cover
    """Put codes, cut into parts (n, m), into the buckets of one part: their other parts and their rows.

    ``free`` (buckets,) holds the next free place of each bucket and is updated; ``entries`` is uint32 (N, m).
    """
    for i in range(keys.shape[0]):
        at = free[keys[i, part]]
        free[keys[i, part]] += 1
        column = 0
        for other in range(keys.shape[1]):
            if other != part:
                entries[at, column] = keys[i, other]
                column += 1
        entries[at, column] = first_row + i


@kernel
def search_buckets(
    queries: np.ndarray,
    widths: np.ndarray,
    starts: np.ndarray,
    offsets: np.ndarray,
    entries: np.ndarray,
    mask: np.ndarray,
    lookup_cost: float,
    budget: float,
    reach: int,
    nearest: np.ndarray,
    work: np.ndarray,
) -> None:  # pragma: no cover
    """Find the k nearest codes of each query: search around each of its parts, at a growing radius.

    A code at distance s * m + p or less is within s of the query in one of the parts up to p, or within s - 1
    in another part (Norouzi, Punjani and Fleet 2014, section 2). It is found once all these buckets are read.

    Args:
        queries: uint32 (q, m), cut as `keys_of` does.
        widths: int64 (m,), bits of each part.
        starts: uint32, where each bucket begins, part after part.
        offsets: int64 (m,), where the starts of each part begin.
        entries: uint32 (m, n, m), the other parts and the row of each code, by part and bucket.
        mask: uint8 (n,), 1 for allowed rows; empty if all are allowed.
        lookup_cost: the cost of finding a bucket, in codes.
        budget: the number of codes that may be examined; a query that needs more is given up.
        reach: the greatest distance that counts.
        nearest: int64 (q, k), an output: distance << 32 | row, ascending, with the distance ``reach + 1``
            where there is no further code; -1 where the query was given up.
        work: int64 (q, 2), an output: the numbers of buckets and codes examined.
    """
    parts = widths.shape[0]
    first = np.empty(_TOGETHER, dtype=np.int64)
    last = np.empty(_TOGETHER, dtype=np.int64)
    rest = np.empty(parts - 1, dtype=np.uint32)
    far = np.int64(reach + 1) << 32
    for q in range(queries.shape[0]):
        query, held = queries[q], nearest[q]
        held[:] = far  # a heap, the farthest first
        spent, done = 0.0, False
        work[q] = 0
        for radius in range(widths.max() + 1):
            for part in range(parts):
                if done or spent > budget or radius > widths[part]:
                    continue
                flips = 1.0
                for bit in range(radius):
                    flips *= (widths[part] - bit) / (bit + 1)
                if spent + lookup_cost * flips > budget:
                    spent = budget + 1
                    continue
                end = np.uint64(1) << np.uint64(widths[part])
                flip = (np.uint64(1) << np.uint64(radius)) - np.uint64(1)
                home, inside = np.uint64(query[part]), entries[part]
                for other in range(parts - 1):
                    rest[other] = query[other + (other >= part)]
                while flip < end and spent <= budget:
                    found = 0
                    while found < _TOGETHER and flip < end:
                        at = offsets[part] + np.int64(home ^ flip)
                        first[found], last[found] = starts[at], starts[at + 1]
                        found += first[found] < last[found] <= inside.shape[0]  # beyond it: a damaged file
                        work[q, 0] += 1
                        spent += lookup_cost
                        if radius == 0:
                            flip = end
                        else:  # the next number with the same number of ones
                            low = flip & (~flip + np.uint64(1))
                            high = flip + low
                            flip = (((high ^ flip) >> np.uint64(2)) // low) | high
                    for bucket in range(found):
                        spent += last[bucket] - first[bucket]
                        if spent > budget:
                            break
                        work[q, 1] += last[bucket] - first[bucket]
                        for i in range(first[bucket], last[bucket]):
                            distance = np.int64(radius)
                            for other in range(parts - 1):
                                distance += np.int64(popcount(inside[i, other] ^ rest[other]))
                            row = np.int64(inside[i, parts - 1])
                            place = (distance << 32) | row
                            if (
                                place >= held[0]
                                or row >= inside.shape[0]
                                or (mask.shape[0] and not mask[row])
                            ):
                                continue
                            if not _met_before(inside[i], rest, part, radius):
                                _replace_farthest(held, place)
                done = spent <= budget and min(held[0] >> 32, reach) <= radius * parts + part
        if done:
            held.sort()
        else:
            held[:] = -1


@kernel
def _met_before(entry: np.ndarray, rest: np.ndarray, part: int, radius: int) -> bool:  # pragma: no cover
    """Return whether another part has found this code already: an earlier one as near, or a nearer one."""
    for other in range(rest.shape[0]):
        apart = np.int64(popcount(entry[other] ^ rest[other]))
        if apart < radius or (apart == radius and other < part):
            return True
    return False


@kernel
def _replace_farthest(heap: np.ndarray, value: np.int64) -> None:  # pragma: no cover
    """Replace the first value of a heap, the largest, with another."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= heap.shape[0]:
            break
        if below + 1 < heap.shape[0] and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= value:
            break
        heap[at] = heap[below]
        at = below
    heap[at] = value
