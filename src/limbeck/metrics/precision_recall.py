"""Compute precision and recall of hash codes, by Hamming radius and by number of items returned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.metrics.histograms import distance_histograms

DEFAULT_NS = (1, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclasses.dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall curves; each is the mean over the queries that have a relevant item.

    Attributes:
        radii: int64 (bits + 1,), 0 to the number of bits.
        precision: float64 (bits + 1,), share of relevant items among the items within the radius. A query
            without any item within the radius (a failed look-up) counts 0.
        recall: float64 (bits + 1,), share of the relevant items that are within the radius.
        answered: float64 (bits + 1,), share of the queries with at least one item within the radius.
        ns: int64 (M,), numbers of items returned.
        precision_at: float64 (M,), P@N in expectation over ties.
        recall_at: float64 (M,), share of all relevant items among the first N, in expectation over ties.
        n_empty: number of queries without a relevant item; they are left out.
    """

    radii: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    answered: np.ndarray
    ns: np.ndarray
    precision_at: np.ndarray
    recall_at: np.ndarray
    n_empty: int


def precision_recall(
    query_codes: ArrayLike,
    item_codes: ArrayLike,
    query_labels: ArrayLike,
    item_labels: ArrayLike,
    *,
    ns: Sequence[int] = DEFAULT_NS,
    threads: int | None = None,
) -> PrecisionRecall:
    """Compute precision and recall by Hamming radius and P@N in one pass over the data.

    Args:
        query_codes: packed codes, uint8 (Q, B).
        item_codes: packed codes, uint8 (N, B).
        query_labels: bool (Q, C).
        item_labels: bool (N, C); an item is relevant if it shares a label with the query.
        ns: numbers of items returned, for P@N; those above N count as N.
        threads: number of threads; one per core if None.

    Returns:
        The curves, averaged over queries.

    Raises:
        LimbeckError: an array is invalid; an n is below 1; no query has a relevant item.
    """
    counts, hits = distance_histograms(query_codes, item_codes, query_labels, item_labels, threads=threads)
    wanted = np.asarray(ns, dtype=np.int64)
    if wanted.ndim != 1 or (wanted < 1).any():
        raise LimbeckError(f"ns: {ns!r} is not a list of whole numbers of at least 1", code="E-OPTION-RANGE")
    full = hits.sum(axis=1) > 0
    if not full.any():
        raise LimbeckError(
            f"queries: none of the {len(full)} has a relevant item; check the labels of both sides",
            code="E-METRIC-UNDEFINED",
        )
    returned, relevant = counts[full].cumsum(axis=1), hits[full].cumsum(axis=1)
    total = relevant[:, -1:]
    wanted = np.minimum(wanted, returned[0, -1])
    # Within a tie group the expected number of hits grows linearly: interpolate between its ends.
    expected = np.stack(
        [np.interp(wanted, np.append(0, x), np.append(0, y)) for x, y in zip(returned, relevant, strict=True)]
    )
    return PrecisionRecall(
        radii=np.arange(counts.shape[1]),
        precision=(relevant / np.maximum(returned, 1)).mean(axis=0),
        recall=(relevant / total).mean(axis=0),
        answered=(returned > 0).mean(axis=0),
        ns=wanted,
        precision_at=(expected / wanted).mean(axis=0),
        recall_at=(expected / total).mean(axis=0),
        n_empty=int((~full).sum()),
    )
