"""Count items by Hamming distance: one pass over the data that all metrics of hash codes share.

Distances are integers from 0 to the number of bits. Average precision, precision-recall and P@N depend only
on the number of items and of relevant items at each distance, per query (ours).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.kernel import kernel
from limbeck.codes.packing import as_words, check_code_pair
from limbeck.codes.threads import run_threads, thread_count
from limbeck.codes.words import fill_distances
from limbeck.errors import LimbeckError
from limbeck.metrics.relevance import label_word_pair

CHUNK = 2048  # items whose codes, labels and distances fit into the L1 cache
QUERY_BLOCK = 16  # queries that share one pass over the items


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledCodes:
    """Checked codes and labels of queries and items, as words for the kernels.

    Attributes:
        queries: unsigned integers (Q, W).
        items: unsigned integers (N, W).
        query_labels: uint64 (Q, L).
        item_labels: uint64 (N, L).
        bits: length of the codes.
    """

    queries: np.ndarray
    items: np.ndarray
    query_labels: np.ndarray
    item_labels: np.ndarray
    bits: int

    @classmethod
    def read(
        cls, query_codes: ArrayLike, item_codes: ArrayLike, query_labels: ArrayLike, item_labels: ArrayLike
    ) -> LabelledCodes:
        """Check and convert the four arrays (packed uint8 codes, bool labels).

        Raises:
            LimbeckError: an array is invalid or empty; the message names it.
        """
        queries, items = check_code_pair(query_codes, item_codes)
        if not len(queries) or not len(items):
            raise LimbeckError(
                f"codes: there are {len(queries)} queries and {len(items)} items; give at least one of each",
                code="E-ARRAY-EMPTY",
            )
        labels = label_word_pair(query_labels, item_labels, len(queries), len(items))
        return cls(as_words(queries), as_words(items), *labels, bits=8 * queries.shape[1])

    def blocks(self) -> list[slice]:
        """Return the blocks of queries; each is the task of one thread."""
        return [slice(start, start + QUERY_BLOCK) for start in range(0, len(self.queries), QUERY_BLOCK)]


def distance_histograms(
    query_codes: ArrayLike,
    item_codes: ArrayLike,
    query_labels: ArrayLike,
    item_labels: ArrayLike,
    *,
    threads: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Count items and relevant items by distance.

    Args:
        query_codes: packed codes, uint8 (Q, B).
        item_codes: packed codes, uint8 (N, B).
        query_labels: bool (Q, C).
        item_labels: bool (N, C); an item is relevant if it shares a label with the query.
        threads: number of threads; one per core if None.

    Returns:
        (counts, hits), both int64 (Q, 8 B + 1): column d counts the items at Hamming distance d.

    Raises:
        LimbeckError: an array is invalid.
    """
    data = LabelledCodes.read(query_codes, item_codes, query_labels, item_labels)
    result = np.zeros((len(data.queries), 2, data.bits + 1), dtype=np.int64)
    tasks = [
        functools.partial(
            count_block,
            data.queries[rows],
            data.items,
            data.query_labels[rows],
            data.item_labels,
            result[rows],
        )
        for rows in data.blocks()
    ]
    run_threads(tasks, thread_count(threads))
    return result[:, 0], result[:, 1]


@kernel
def mark_distances(
    items: np.ndarray, item_labels: np.ndarray, query: np.ndarray, query_labels: np.ndarray, out: np.ndarray
) -> None:  # pragma: no cover
    """Write 2 * distance + relevant for each item to ``out``, uint16 (n,)."""
    fill_distances(items, query, out)
    if query_labels.shape[0] == 1:
        flat, only = item_labels.reshape(item_labels.size), query_labels[0]
        for i in range(out.shape[0]):
            out[i] = 2 * out[i] + np.uint16((flat[i] & only) != 0)
    else:
        for i in range(out.shape[0]):
            shared = np.uint64(0)
            for word in range(query_labels.shape[0]):
                shared |= item_labels[i, word] & query_labels[word]
            out[i] = 2 * out[i] + np.uint16(shared != 0)


@kernel
def count_block(
    queries: np.ndarray,
    items: np.ndarray,
    query_labels: np.ndarray,
    item_labels: np.ndarray,
    result: np.ndarray,
) -> None:  # pragma: no cover
    """Add counts and hits by distance to ``result``, int64 (q, 2, bits + 1)."""
    bins = 2 * result.shape[2]
    # There are two tables, for even and odd items: neighbours often fall into one bin, and reading a counter
    # right after it was written is slow.
    tables = np.zeros((queries.shape[0], 2, bins), dtype=np.uint32)
    marks = np.empty(CHUNK, dtype=np.uint16)
    for start in range(0, items.shape[0], CHUNK):
        chunk, labels = items[start : start + CHUNK], item_labels[start : start + CHUNK]
        size = chunk.shape[0]
        for q in range(queries.shape[0]):
            mark_distances(chunk, labels, queries[q], query_labels[q], marks[:size])
            even, odd = tables[q, 0], tables[q, 1]
            for pair in range(size // 2):
                even[marks[2 * pair]] += np.uint32(1)
                odd[marks[2 * pair + 1]] += np.uint32(1)
            if size % 2:
                even[marks[size - 1]] += np.uint32(1)
    for q in range(queries.shape[0]):
        for distance in range(result.shape[2]):
            other = np.int64(tables[q, 0, 2 * distance]) + np.int64(tables[q, 1, 2 * distance])
            hit = np.int64(tables[q, 0, 2 * distance + 1]) + np.int64(tables[q, 1, 2 * distance + 1])
            result[q, 0, distance] += other + hit
            result[q, 1, distance] += hit
