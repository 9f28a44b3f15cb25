"""Compute NDCG by Hamming distance or similarity, graded by the number of shared labels."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.kernel import kernel
from limbeck.codes.threads import run_threads, thread_count
from limbeck.codes.words import fill_distances, popcount
from limbeck.errors import LimbeckError
from limbeck.metrics.empty import check_empty, settle_empty
from limbeck.metrics.histograms import CHUNK, LabelledCodes
from limbeck.typed import Json

GAINS = {"exponential": lambda grade: 2.0**grade - 1, "linear": lambda grade: grade}


@dataclasses.dataclass(frozen=True, eq=False)
class Ndcg:
    """NDCG with its settings.

    Attributes:
        value: k → mean over the queries that count.
        per_query: k → float64 (Q,); NaN where a query without relevant items was skipped.
        n_empty: number of queries that share no label with any item.
        settings: the values of gain and empty.
    """

    value: dict[int, float]
    per_query: dict[int, np.ndarray]
    n_empty: int
    settings: dict[str, Json]


def hamming_ndcg(
    query_codes: ArrayLike,
    item_codes: ArrayLike,
    query_labels: ArrayLike,
    item_labels: ArrayLike,
    *,
    ks: Sequence[int] = (100,),
    gain: str = "exponential",
    empty: str = "skip",
    threads: int | None = None,
) -> Ndcg:
    """Compute NDCG@k in expectation over ties, without sorting and in constant memory per thread.

    DCG@k is the sum over the first k ranks of gain / log2(1 + rank); NDCG@k divides it by the DCG@k of the
    best order. At equal distance, every rank has the mean gain of the group in expectation (ours).

    Args:
        query_codes: packed codes, uint8 (Q, B).
        item_codes: packed codes, uint8 (N, B).
        query_labels: bool (Q, C).
        item_labels: bool (N, C); the grade of an item is the number of labels it shares with the query.
        ks: the values of k; those above N count as N.
        gain: gain of a grade g: ``exponential`` is 2^g - 1 (Burges et al. 2005), ``linear`` is g.
        empty: as for `hamming_map`, for queries that share no label with any item.
        threads: number of threads; one per core if None.

    Returns:
        The means and the per-query values for each k.

    Raises:
        LimbeckError: an array, a k or a setting is invalid.
    """
    data = LabelledCodes.read(query_codes, item_codes, query_labels, item_labels)
    _check_settings(ks, gain, empty)
    n, most = len(data.items), int(np.asarray(query_labels, dtype=bool).sum(axis=1).max())
    gains = np.asarray(GAINS[gain](np.arange(most + 1, dtype=np.float64)))
    counts = np.zeros((len(data.queries), data.bits + 1), dtype=np.int64)
    sums = np.zeros((len(data.queries), data.bits + 1))
    grades = np.zeros((len(data.queries), most + 1), dtype=np.int64)
    tasks = [
        functools.partial(
            _grade_block,
            data.queries[rows],
            data.items,
            data.query_labels[rows],
            data.item_labels,
            gains,
            counts[rows],
            sums[rows],
            grades[rows],
        )
        for rows in data.blocks()
    ]
    run_threads(tasks, thread_count(threads))
    discounts = np.append(0, np.cumsum(1 / np.log2(1 + np.arange(1, min(n, max(ks)) + 1))))
    full = np.asarray(grades[:, 1:].any(axis=1))
    value, per_query, n_empty = {}, {}, 0
    for k in ks:
        dcg = _gained(counts, sums, discounts, min(k, n))
        ideal = _gained(grades[:, ::-1], grades[:, ::-1] * gains[::-1], discounts, min(k, n))
        scores = np.divide(dcg, ideal, out=np.full(len(full), np.nan), where=full)
        value[int(k)], per_query[int(k)], n_empty = settle_empty(scores, empty)
    return Ndcg(value, per_query, n_empty, {"gain": gain, "empty": empty})


def ranking_ndcg(
    similarity: ArrayLike,
    grades: ArrayLike,
    *,
    ks: Sequence[int] = (100,),
    gain: str = "exponential",
    empty: str = "skip",
) -> Ndcg:
    """Compute NDCG@k of rankings by similarity, in expectation over ties, as `hamming_ndcg` for hash codes.

    Args:
        similarity: real (Q, N), higher is nearer.
        grades: integers (Q, N), 0 or more, such as the number of shared labels.
        ks: as for `hamming_ndcg`.
        gain: as for `hamming_ndcg`.
        empty: as for `hamming_ndcg`.

    Returns:
        The means and the per-query values for each k.

    Raises:
        LimbeckError: an array, a k or a setting is invalid.
    """
    scores, grade = np.asarray(similarity, dtype=np.float64), np.asarray(grades)
    _check_settings(ks, gain, empty)
    if scores.ndim != 2 or grade.shape != scores.shape or not scores.size or not np.isfinite(scores).all():
        raise LimbeckError(
            f"similarity {scores.shape} and grades {grade.shape}: give equal shapes (Q, N), all finite",
            code="E-ARRAY-SHAPE",
        )
    count, n = scores.shape
    gains = np.asarray(GAINS[gain](grade.astype(np.float64)))
    discounts = np.append(0, np.cumsum(1 / np.log2(1 + np.arange(1, min(n, max(ks)) + 1))))
    dcg, ideal = np.zeros((len(ks), count)), np.zeros((len(ks), count))
    most = int(grade.max(initial=0))
    ladder = np.asarray(GAINS[gain](np.arange(most, -1, -1, dtype=np.float64)))[None]
    last = n - min(n, max(ks))  # ranks after max(ks) are not sorted
    for q in range(count):
        nearest = np.flatnonzero(scores[q] >= np.partition(scores[q], last)[last])
        levels, group = np.unique(-scores[q, nearest], return_inverse=True)  # the nearest first
        sizes = np.bincount(group, minlength=len(levels))[None]
        sums = np.bincount(group, weights=gains[q, nearest], minlength=len(levels))[None]
        best = np.bincount(grade[q], minlength=most + 1)[None, ::-1]
        for at, k in enumerate(ks):
            dcg[at, q] = _gained(sizes, sums, discounts, min(k, n))[0]
            ideal[at, q] = _gained(best, best * ladder, discounts, min(k, n))[0]
    value, per_query, n_empty = {}, {}, 0
    full = grade.any(axis=1)
    for at, k in enumerate(ks):
        each = np.divide(dcg[at], ideal[at], out=np.full(count, np.nan), where=full)
        value[int(k)], per_query[int(k)], n_empty = settle_empty(each, empty)
    return Ndcg(value, per_query, n_empty, {"gain": gain, "empty": empty})


def _check_settings(ks: Sequence[int], gain: str, empty: str) -> None:
    if not ks or any(isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1 for k in ks):
        raise LimbeckError(f"ks: {ks!r} is not a list of whole numbers of at least 1", code="E-OPTION-RANGE")
    if gain not in GAINS:
        raise LimbeckError(
            f"gain: {gain!r} is unknown; choose from {', '.join(GAINS)}", code="E-OPTION-CHOICE"
        )
    check_empty(empty)


def _gained(counts: np.ndarray, sums: np.ndarray, discounts: np.ndarray, k: int) -> np.ndarray:
    """Return DCG@k (Q,) of tie groups, best first, with ``counts`` items and ``sums`` of gains (Q, G)."""
    ends = np.minimum(counts.cumsum(axis=1), k)
    starts = np.concatenate([np.zeros((len(ends), 1), np.int64), ends[:, :-1]], axis=1)
    mean = np.divide(sums, counts, out=np.zeros(counts.shape), where=counts > 0)
    result: np.ndarray = (mean * (discounts[ends] - discounts[starts])).sum(axis=1)
    return result


@kernel
def _grade_block(
    queries: np.ndarray,
    items: np.ndarray,
    query_labels: np.ndarray,
    item_labels: np.ndarray,
    gains: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    grades: np.ndarray,
) -> None:  # pragma: no cover
    """Add up a block of queries: items and gains by distance (q, bits + 1), and items by grade (q, G)."""
    distances = np.empty(CHUNK, dtype=np.uint16)
    for start in range(0, items.shape[0], CHUNK):
        chunk, labels = items[start : start + CHUNK], item_labels[start : start + CHUNK]
        size = chunk.shape[0]
        for q in range(queries.shape[0]):
            fill_distances(chunk, queries[q], distances[:size])
            for i in range(size):
                grade = np.uint64(0)
                for word in range(query_labels.shape[1]):
                    grade += popcount(labels[i, word] & query_labels[q, word])
                counts[q, distances[i]] += 1
                sums[q, distances[i]] += gains[grade]
                grades[q, grade] += 1
