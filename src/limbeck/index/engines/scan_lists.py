"""Contains the kernel of the inverted file: it finds the k nearest codes of a few lists (ours)."""

from __future__ import annotations

import numpy as np

from limbeck.codes.kernel import kernel
from limbeck.index.scan_codes import PART, SLICE, _compact, _fill_allowed, _smallest, _write_sorted


@kernel
def scan_lists(
    codes: np.ndarray,
    numbers: np.ndarray,
    starts: np.ndarray,
    chosen: np.ndarray,
    queries: np.ndarray,
    mask: np.ndarray,
    bits: int,
    distances: np.ndarray,
    rows: np.ndarray,
) -> None:  # pragma: no cover
    """Find the k nearest codes of each query in the lists chosen for it, ordered by distance.

    Args:
        codes: unsigned words (n, W), list after list.
        numbers: unsigned (n,), the row of each code.
        starts: int64 (L + 1,), where each list begins.
        chosen: int64 (q, p), the lists of each query.
        queries: unsigned words (q, W).
        mask: uint8 (rows,), 1 for allowed rows; empty if all are allowed.
        bits: length of the codes.
        distances: int32 (q, k), an output; ``bits + 1`` marks places without an item.
        rows: int64 (q, k), an output; -1 at these places.
    """
    wanted = distances.shape[1]
    room = 2 * wanted + PART
    held_distances = np.empty(room, dtype=np.uint16)
    held_rows = np.empty(room, dtype=np.int64)
    tally = np.empty(bits + 2, dtype=np.int64)
    scratch = np.empty(SLICE, dtype=np.uint16)
    keep = queries[0, :0]  # all bits count
    permits = np.empty(SLICE if mask.shape[0] else 0, dtype=np.uint8)
    for q in range(queries.shape[0]):
        query = queries[q]
        held, below, limit = 0, 0, bits + 1
        tally[:] = 0
        for number in chosen[q]:
            for start in range(starts[number], starts[number + 1], SLICE):
                stop = min(start + SLICE, starts[number + 1])
                piece, named = codes[start:stop], numbers[start:stop]
                allowed = permits[: stop - start]
                for i in range(allowed.shape[0]):
                    allowed[i] = mask[named[i]]
                if _smallest(piece, query, keep, allowed, scratch) >= limit:
                    continue
                for inner in range(0, piece.shape[0], PART):
                    part, permitted = piece[inner : inner + PART], allowed[inner : inner + PART]
                    if _smallest(part, query, keep, permitted, scratch) >= limit:
                        continue
                    found = scratch[: part.shape[0]]
                    _fill_allowed(part, query, keep, permitted, found)
                    for i in range(part.shape[0]):
                        distance = np.int64(found[i])
                        if distance >= limit:
                            continue
                        if held == room:
                            held = _compact(held_distances, held_rows, limit, wanted - below)
                        held_distances[held] = distance
                        held_rows[held] = named[inner + i]
                        held += 1
                        tally[distance] += 1
                        below += 1
                        while below >= wanted:
                            limit -= 1
                            below -= tally[limit]
        _write_sorted(held_distances[:held], held_rows[:held], bits, distances[q], rows[q])
