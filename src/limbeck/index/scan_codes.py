"""Contains the kernels of the exact Hamming search (ours).

Most slices of codes contain none of the k nearest. The first pass over a slice therefore computes only its
smallest distance, which vectorises to a few instructions per eight codes and runs at memory speed. A slice is
examined again only if its smallest distance is below the k-th best so far.

Codes of three words or more vectorise best if the same word of neighbouring codes lies side by side. Where
many queries share a slice, it is turned once for all of them.
"""

from __future__ import annotations

import numpy as np

from limbeck.codes.kernel import kernel
from limbeck.codes.words import fill_distances, popcount

SLICE = 4096  # codes: 32 KB of 64-bit codes, within the first-level cache
# Few queries are bound by memory: smaller slices cost nothing and save second passes, above all at k = 100.
STEP = 1024  # words
FEW = 4
PART = 64  # codes per second pass
TURNED = 4096  # words of a turned slice: 32 KB
GROUP = 4  # words of a turned code that one loop takes
_FAR = np.uint16(0xFFFF)


@kernel
def scan_nearest(
    items: np.ndarray,
    queries: np.ndarray,
    keep: np.ndarray,
    mask: np.ndarray,
    first_row: int,
    bits: int,
    distances: np.ndarray,
    rows: np.ndarray,
) -> None:  # pragma: no cover
    """Find the k nearest codes of one stretch of items for each query, ordered by (distance, row).

    Args:
        items: unsigned words (n, W).
        queries: unsigned words (q, W).
        keep: unsigned words (W,), ones at the bits to compare; empty for all bits.
        mask: uint8 (n,), 1 for allowed rows; empty if all are allowed.
        first_row: number of the first item, added to the rows.
        bits: length of the codes.
        distances: int32 (q, k), an output; ``bits + 1`` marks places without an item.
        rows: int64 (q, k), an output.
    """
    count, wanted = queries.shape[0], distances.shape[1]
    # The nearest so far, in row order. A new item must have a distance below `limit`.
    room = min(2 * wanted + PART, items.shape[0])
    held_distances = np.empty((count, room), dtype=np.uint16)
    held_rows = np.empty((count, room), dtype=np.int64)
    held = np.zeros(count, dtype=np.int64)
    tally = np.zeros((count, bits + 2), dtype=np.int64)
    below = np.zeros(count, dtype=np.int64)
    limit = np.full(count, bits + 1, dtype=np.int64)
    scratch = np.empty(SLICE, dtype=np.uint16)
    flat, words = items.reshape(items.size), queries.shape[1]
    plain = mask.shape[0] == 0 and keep.shape[0] == 0
    bare, turned = plain and words == 1, plain and 2 < words <= TURNED // PART and count > FEW
    padded, columns = _turned(queries if turned else queries[:0])
    step = columns.shape[1] if turned else SLICE if count > FEW else max(PART, STEP // words)
    for start in range(0, items.shape[0], step):
        stop = min(start + step, items.shape[0])
        if turned:
            _turn(items[start:stop], columns)
        for q in range(count):
            query = queries[q]
            # A view of one flat array is cheap compared with the pass; views of all arrays are not.
            if bare:
                if _smallest_word(flat[start:stop], query[0]) >= limit[q]:
                    continue
            elif turned:
                if _smallest_turned(columns, stop - start, padded[q], scratch) >= limit[q]:
                    continue
            elif plain and _smallest_words(flat[start * words : stop * words], query) >= limit[q]:
                continue
            piece, allowed = items[start:stop], mask[start:stop]
            if not plain and _smallest(piece, query, keep, allowed, scratch) >= limit[q]:
                continue
            for inner in range(0, piece.shape[0], PART):
                at, end = start + inner, min(start + inner + PART, stop)
                if bare:
                    if _smallest_word(flat[at:end], query[0]) >= limit[q]:
                        continue
                elif plain and _smallest_words(flat[at * words : end * words], query) >= limit[q]:
                    continue
                part, permitted = piece[inner : inner + PART], allowed[inner : inner + PART]
                if not plain and _smallest(part, query, keep, permitted, scratch) >= limit[q]:
                    continue
                found = scratch[: part.shape[0]]
                _fill_allowed(part, query, keep, permitted, found)
                for i in range(part.shape[0]):
                    distance = np.int64(found[i])
                    if distance >= limit[q]:
                        continue
                    if held[q] == room:
                        held[q] = _compact(held_distances[q], held_rows[q], limit[q], wanted - below[q])
                    held_distances[q, held[q]] = distance
                    held_rows[q, held[q]] = first_row + start + inner + i
                    held[q] += 1
                    tally[q, distance] += 1
                    below[q] += 1
                    while below[q] >= wanted:
                        limit[q] -= 1
                        below[q] -= tally[q, limit[q]]
    for q in range(count):
        _write_sorted(held_distances[q, : held[q]], held_rows[q, : held[q]], bits, distances[q], rows[q])


@kernel
def scan_within(
    items: np.ndarray, query: np.ndarray, keep: np.ndarray, mask: np.ndarray, first_row: int, radius: int
) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    """Return all items within ``radius``: distances int32 (m,), rows int64 (m,), ordered by (distance, row).

    The first pass counts and the second one places, so that the result is written in order. The arguments
    are those of `scan_nearest`, but ``query`` has shape (W,).
    """
    scratch = np.empty(SLICE, dtype=np.uint16)
    slices = (items.shape[0] + SLICE - 1) // SLICE
    holds = np.zeros(slices, dtype=np.bool_)
    tally = np.zeros(radius + 2, dtype=np.int64)
    for number in range(slices):
        start = number * SLICE
        piece, allowed = items[start : start + SLICE], mask[start : start + SLICE]
        if _smallest(piece, query, keep, allowed, scratch) <= radius:
            holds[number] = True
            _fill_allowed(piece, query, keep, allowed, scratch)
            for i in range(piece.shape[0]):
                if scratch[i] <= radius:
                    tally[scratch[i] + 1] += 1
    place = np.cumsum(tally)
    distances = np.empty(place[radius + 1], dtype=np.int32)
    rows = np.empty(place[radius + 1], dtype=np.int64)
    for number in range(slices):
        if not holds[number]:
            continue
        start = number * SLICE
        piece, allowed = items[start : start + SLICE], mask[start : start + SLICE]
        _fill_allowed(piece, query, keep, allowed, scratch)
        for i in range(piece.shape[0]):
            distance = scratch[i]
            if distance <= radius:
                distances[place[distance]] = distance
                rows[place[distance]] = first_row + start + i
                place[distance] += 1
    return distances, rows


@kernel
def scan_weighted(codes: np.ndarray, table: np.ndarray, out: np.ndarray) -> None:  # pragma: no cover
    """Write for each code (n, B) the sum of its bytes' entries in ``table`` (B, 256) to ``out`` (n,).

    Bytes are added in their order, so that equal codes have equal sums, here and by numpy.
    """
    for i in range(codes.shape[0]):
        total = 0.0
        for byte in range(codes.shape[1]):
            total += table[byte, codes[i, byte]]
        out[i] = total


@kernel
def _smallest(
    items: np.ndarray, query: np.ndarray, keep: np.ndarray, mask: np.ndarray, scratch: np.ndarray
) -> int:  # pragma: no cover
    """Return the smallest distance to an allowed item; 65535 if none is allowed."""
    if mask.shape[0] == 0 and keep.shape[0] == 0:
        return _smallest_words(items.reshape(items.size), query)
    found, smallest = scratch[: items.shape[0]], _FAR
    _fill_allowed(items, query, keep, mask, found)
    for i in range(found.shape[0]):
        smallest = min(smallest, found[i])
    return int(smallest)


@kernel
def _smallest_words(flat: np.ndarray, query: np.ndarray) -> int:  # pragma: no cover
    """Return the smallest distance of one query (W,) to items, whose words lie in one row (n * W,)."""
    smallest, words = np.uint64(_FAR), query.shape[0]
    if words == 1:
        return _smallest_word(flat, query[0])
    if words == 2:
        first, second = query[0], query[1]
        for i in range(flat.shape[0] // 2):
            distance = popcount(flat[2 * i] ^ first) + popcount(flat[2 * i + 1] ^ second)
            smallest = min(smallest, np.uint64(distance))
    elif words == 4:
        first, second, third, fourth = query[0], query[1], query[2], query[3]
        for i in range(flat.shape[0] // 4):
            distance = popcount(flat[4 * i] ^ first) + popcount(flat[4 * i + 1] ^ second)
            distance += popcount(flat[4 * i + 2] ^ third) + popcount(flat[4 * i + 3] ^ fourth)
            smallest = min(smallest, np.uint64(distance))
    else:
        items = flat.reshape(flat.shape[0] // words, words)
        for i in range(items.shape[0]):
            total = np.uint64(0)
            for word in range(words):
                total += np.uint64(popcount(items[i, word] ^ query[word]))
            smallest = min(smallest, total)
    return int(smallest)


@kernel
def _smallest_word(flat: np.ndarray, query: int) -> int:  # pragma: no cover
    """Return the smallest distance of one word to words (n,)."""
    smallest = np.uint64(_FAR)
    for i in range(flat.shape[0]):
        smallest = min(smallest, np.uint64(popcount(flat[i] ^ query)))
    return int(smallest)


@kernel
def _turned(queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # pragma: no cover
    """Return the queries, padded with zeros to whole groups of words, and room for a turned slice."""
    width = -(-queries.shape[1] // GROUP) * GROUP
    padded = np.zeros((queries.shape[0], width), dtype=queries.dtype)
    padded[:, : queries.shape[1]] = queries
    return padded, np.zeros((width, TURNED // width if queries.shape[0] else 0), dtype=queries.dtype)


@kernel
def _turn(items: np.ndarray, columns: np.ndarray) -> None:  # pragma: no cover
    """Write items (n, W) to the first n entries of the first W columns."""
    for i in range(items.shape[0]):
        for word in range(items.shape[1]):
            columns[word, i] = items[i, word]


@kernel
def _smallest_turned(
    columns: np.ndarray, count: int, query: np.ndarray, scratch: np.ndarray
) -> int:  # pragma: no cover
    """Return the smallest distance of a padded query to the first ``count`` turned codes."""
    found, last = scratch[:count], columns.shape[0] - GROUP
    found[:] = 0
    for word in range(0, last, GROUP):
        a, b, c, d = query[word], query[word + 1], query[word + 2], query[word + 3]
        one, two = columns[word, :count], columns[word + 1, :count]
        three, four = columns[word + 2, :count], columns[word + 3, :count]
        for i in range(count):
            distance = (
                popcount(one[i] ^ a) + popcount(two[i] ^ b) + popcount(three[i] ^ c) + popcount(four[i] ^ d)
            )
            found[i] += np.uint16(distance)
    a, b, c, d = query[last], query[last + 1], query[last + 2], query[last + 3]
    one, two = columns[last, :count], columns[last + 1, :count]
    three, four = columns[last + 2, :count], columns[last + 3, :count]
    smallest = np.uint64(_FAR)
    for i in range(count):
        distance = (
            popcount(one[i] ^ a) + popcount(two[i] ^ b) + popcount(three[i] ^ c) + popcount(four[i] ^ d)
        )
        smallest = min(smallest, np.uint64(found[i]) + np.uint64(distance))
    return int(smallest)


@kernel
def _fill_allowed(
    items: np.ndarray, query: np.ndarray, keep: np.ndarray, mask: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover
    """Write the distances over the bits to keep, and 65535 for rows that are not allowed."""
    if keep.shape[0]:
        _fill_kept(items, query, keep, out)
    else:
        fill_distances(items, query, out)
    for i in range(mask.shape[0]):
        out[i] |= np.uint16(mask[i]) - np.uint16(1)  # 0 - 1 wraps to all ones


@kernel
def _fill_kept(
    items: np.ndarray, query: np.ndarray, keep: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover
    """Write the distances over the bits that are ones in ``keep``."""
    flat, words = items.reshape(items.size), query.shape[0]
    if words == 1:
        only, kept = query[0], keep[0]
        for i in range(flat.shape[0]):
            out[i] = popcount((flat[i] ^ only) & kept)
        return
    for i in range(items.shape[0]):
        distance = np.uint64(0)
        for word in range(words):
            distance += popcount((items[i, word] ^ query[word]) & keep[word])
        out[i] = distance


@kernel
def _compact(distances: np.ndarray, rows: np.ndarray, limit: int, ties: int) -> int:  # pragma: no cover
    """Drop items beyond the limit, keep the first ``ties`` items at the limit, and return the new count."""
    kept = 0
    for i in range(distances.shape[0]):
        if distances[i] > limit:
            continue
        if distances[i] == limit:
            if ties == 0:
                continue
            ties -= 1
        distances[kept] = distances[i]
        rows[kept] = rows[i]
        kept += 1
    return kept


@kernel
def _write_sorted(
    held_distances: np.ndarray, held_rows: np.ndarray, bits: int, distances: np.ndarray, rows: np.ndarray
) -> None:  # pragma: no cover
    """Write the items by a counting sort on distance, which keeps the row order within a distance."""
    place = np.zeros(bits + 2, dtype=np.int64)
    for i in range(held_distances.shape[0]):
        place[held_distances[i] + 1] += 1
    place = np.cumsum(place)
    for i in range(held_distances.shape[0]):
        distance = held_distances[i]
        if place[distance] < distances.shape[0]:
            distances[place[distance]] = distance
            rows[place[distance]] = held_rows[i]
        place[distance] += 1
    for empty in range(held_distances.shape[0], distances.shape[0]):
        distances[empty] = bits + 1
        rows[empty] = -1
