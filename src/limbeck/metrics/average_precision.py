"""Compute mean average precision with explicit rules for ties, the normalizer and empty queries.

The literature uses several definitions of "mAP". On short hash codes they differ by more than most gains.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from limbeck.codes.kernel import kernel
from limbeck.codes.threads import run_threads, thread_count
from limbeck.errors import LimbeckError
from limbeck.metrics.empty import check_empty, settle_empty
from limbeck.metrics.histograms import CHUNK, LabelledCodes, count_block, mark_distances
from limbeck.metrics.tie_groups import (
    FIRST_K,
    NORMALIZERS,
    ROW,
    TIES,
    group_average_precision,
    normalized,
)


class MapRules(TypedDict):
    """The rules of a mean average precision: the keyword arguments of `hamming_map`."""

    k: int | None
    ties: str
    normalizer: str
    empty: str


@dataclasses.dataclass(frozen=True, eq=False)
class MeanAveragePrecision:
    """A mean average precision with its settings.

    Attributes:
        value: mean of ``per_query`` over the queries that count.
        per_query: float64 (Q,); NaN where a query without relevant items was skipped.
        n_empty: number of queries without a relevant item.
        settings: the values of k, ties, normalizer and empty.
    """

    value: float
    per_query: np.ndarray
    n_empty: int
    settings: MapRules


def hamming_map(
    query_codes: ArrayLike,
    item_codes: ArrayLike,
    query_labels: ArrayLike,
    item_labels: ArrayLike,
    *,
    k: int | None = None,
    ties: str = "expected",
    normalizer: str = "relevant",
    empty: str = "skip",
    threads: int | None = None,
) -> MeanAveragePrecision:
    """Compute the mAP of a ranking by Hamming distance, without sorting and in constant memory per thread.

    Args:
        query_codes: packed codes, uint8 (Q, B).
        item_codes: packed codes, uint8 (N, B).
        query_labels: bool (Q, C).
        item_labels: bool (N, C); an item is relevant if it shares a label with the query.
        k: only the first k ranks count; all N if None or larger than N.
        ties: order of items at equal distance. ``expected`` gives the exact mean over all orders.
            ``optimistic`` and ``pessimistic`` put relevant items first or last. ``id`` keeps the row order.
        normalizer: divisor of the sum of the precisions at the relevant items among the first k.
            ``relevant``: the number R of relevant items. ``min``: min(k, R). ``hits``: the number of relevant
            items among the first k (0 / 0 = 0). ``first_k``: the mean over the first min(k, R) relevant items
            at any rank; it cannot be combined with ``expected``.
        empty: a query without a relevant item is left out (``skip``), counts 0 (``zero``) or raises an error
            (``error``).
        threads: number of threads; one per core if None. The result does not depend on it.

    Returns:
        The mean and the per-query values.

    Raises:
        LimbeckError: an array or a setting is invalid; a query has no relevant item and ``empty`` is
            ``error``; no query has a relevant item, unless ``empty`` is ``zero``.

    Source: the closed form for tie groups is ours (`limbeck.metrics.tie_groups`).
    """
    data = LabelledCodes.read(query_codes, item_codes, query_labels, item_labels)
    settings = _check_settings(k, ties, normalizer, empty)
    places = len(data.items) if k is None else min(k, len(data.items))
    per_query = np.empty(len(data.queries))
    tasks = [
        functools.partial(
            _score_block,
            data.queries[rows],
            data.items,
            data.query_labels[rows],
            data.item_labels,
            data.bits,
            places if k is None or normalizer != "first_k" else k,
            TIES[ties],
            NORMALIZERS[normalizer],
            per_query[rows],
        )
        for rows in data.blocks()
    ]
    run_threads(tasks, thread_count(threads))
    return _result(per_query, settings)


def ranking_map(
    similarity: ArrayLike,
    relevant: ArrayLike,
    *,
    k: int | None = None,
    ties: str = "expected",
    normalizer: str = "relevant",
    empty: str = "skip",
) -> MeanAveragePrecision:
    """Compute the mAP of any ranking, with the rules of `hamming_map`.

    Args:
        similarity: real (Q, N), higher is nearer; exactly equal values tie.
        relevant: bool (Q, N).
        k: as for `hamming_map`.
        ties: as for `hamming_map`.
        normalizer: as for `hamming_map`.
        empty: as for `hamming_map`.

    Returns:
        The mean and the per-query values.

    Raises:
        LimbeckError: as for `hamming_map`, or a similarity is NaN.
    """
    scores, wanted = _check_ranking(similarity, relevant)
    settings = _check_settings(k, ties, normalizer, empty)
    count = scores.shape[1]
    places = count if k is None else (k if normalizer == "first_k" else min(k, count))
    per_query = np.empty(len(scores))
    # Equal scores are one group, in whose inside only the rule by row order looks; others sort faster.
    kind: Literal["stable"] | None = "stable" if ties == "id" else None
    for q, row in enumerate(scores):
        order = np.argsort(-row, kind=kind)
        ranked = row[order]
        # In row order every item is a group by itself.
        first = (
            np.arange(count) if ties == "id" else np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        )
        counts = np.diff(first, append=count)
        hits = np.add.reduceat(wanted[q, order].astype(np.int64), first)
        rule = TIES["optimistic" if ties == "id" else ties]
        per_query[q] = group_average_precision(counts, hits, places, rule, NORMALIZERS[normalizer])
    return _result(per_query, settings)


def _check_settings(k: int | None, ties: str, normalizer: str, empty: str) -> MapRules:
    """Check the settings and return them as a dict."""
    if k is not None and (isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1):
        raise LimbeckError(
            f"k: {k!r} is not a whole number of at least 1; leave it out to rank all items",
            code="E-OPTION-RANGE",
        )
    for field, value, known in (("ties", ties, TIES), ("normalizer", normalizer, NORMALIZERS)):
        if value not in known:
            raise LimbeckError(
                f"{field}: {value!r} is unknown; choose from {', '.join(known)}", code="E-OPTION-CHOICE"
            )
    check_empty(empty)
    if normalizer == "first_k" and ties == "expected":
        raise LimbeckError(
            "ties: 'expected' is not defined for normalizer 'first_k'; change one of the two",
            code="E-OPTION-CONFLICT",
        )
    return {"k": None if k is None else int(k), "ties": ties, "normalizer": normalizer, "empty": empty}


def _check_ranking(similarity: ArrayLike, relevant: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Check a similarity matrix, real (Q, N), and its relevance, bool (Q, N)."""
    scores, wanted = np.asarray(similarity), np.asarray(relevant)
    if scores.ndim != 2 or scores.dtype.kind not in "iuf" or 0 in scores.shape:
        raise LimbeckError(
            f"similarity: is {scores.dtype} {scores.shape}, expected real numbers (Q, N)",
            code="E-ARRAY-SHAPE",
        )
    if wanted.shape != scores.shape or wanted.dtype != np.bool_:
        raise LimbeckError(
            f"relevant: is {wanted.dtype} {wanted.shape}, expected bool {scores.shape}", code="E-ARRAY-SHAPE"
        )
    if scores.dtype.kind == "f" and np.isnan(scores).any():
        raise LimbeckError("similarity: has NaN; check the inputs of the encoder", code="E-ARRAY-VALUES")
    # Unsigned integers would wrap around when negated.
    return (scores if scores.dtype.kind == "f" else scores.astype(np.int64)), wanted


def _result(per_query: np.ndarray, settings: MapRules) -> MeanAveragePrecision:
    value, values, n_empty = settle_empty(per_query, settings["empty"])
    return MeanAveragePrecision(value, values, n_empty, settings)


@kernel
def _score_block(
    queries: np.ndarray,
    items: np.ndarray,
    query_labels: np.ndarray,
    item_labels: np.ndarray,
    bits: int,
    k: int,
    ties: int,
    normalizer: int,
    out: np.ndarray,
) -> None:  # pragma: no cover
    """Write the average precision of a block of queries to ``out`` (q,)."""
    table = np.zeros((queries.shape[0], 2, bits + 1), dtype=np.int64)
    count_block(queries, items, query_labels, item_labels, table)
    for q in range(queries.shape[0]):
        if ties == ROW:
            out[q] = _row_order(
                queries[q], items, query_labels[q], item_labels, table[q, 0], table[q, 1], k, normalizer
            )
        else:
            out[q] = group_average_precision(table[q, 0], table[q, 1], k, ties, normalizer)


@kernel
def _row_order(
    query: np.ndarray,
    items: np.ndarray,
    query_labels: np.ndarray,
    item_labels: np.ndarray,
    counts: np.ndarray,
    hits: np.ndarray,
    k: int,
    normalizer: int,
) -> float:  # pragma: no cover
    """Compute average precision with ties in row order; the histograms give the first rank per distance."""
    total = hits.sum()
    if total == 0:
        return np.nan
    rank = np.cumsum(counts) - counts
    hit_rank = np.cumsum(hits) - hits
    marks = np.empty(CHUNK, dtype=np.uint16)
    precisions, found = 0.0, 0
    for start in range(0, items.shape[0], CHUNK):
        chunk, labels = items[start : start + CHUNK], item_labels[start : start + CHUNK]
        size = chunk.shape[0]
        mark_distances(chunk, labels, query, query_labels, marks[:size])
        for i in range(size):
            distance = marks[i] >> 1
            rank[distance] += 1
            if marks[i] & 1:
                hit_rank[distance] += 1
                place = hit_rank[distance] if normalizer == FIRST_K else rank[distance]
                if place <= k:
                    precisions += hit_rank[distance] / rank[distance]
                    found += 1
    return normalized(precisions, found, total, k, normalizer)
