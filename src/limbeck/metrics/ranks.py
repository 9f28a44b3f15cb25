"""Compute any-hit recall and median rank, in expectation over ties, from three counts per query (ours).

The first relevant item of a ranking is in the tie group of the highest relevant similarity. Three counts
determine all results: the items before that group, the items in it, and the relevant items in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.metrics.empty import check_empty, settle_empty
from limbeck.spaces import Space

BLOCK_CELLS = 1 << 24  # similarities that `retrieval_ranks` keeps at once: 64 MB


@dataclasses.dataclass(frozen=True, eq=False)
class RecallAtK:
    """Any-hit recall: the share of queries with a relevant item among the first k.

    Attributes:
        value: k → mean over the queries that count.
        per_query: k → float64 (Q,), the probability of a hit among the first k; NaN where skipped.
        n_empty: number of queries without a relevant item.
    """

    value: dict[int, float]
    per_query: dict[int, np.ndarray]
    n_empty: int


@dataclasses.dataclass(frozen=True, eq=False)
class FirstRelevant:
    """The position of the first relevant item of each query.

    Attributes:
        before: int64 (Q,), number of items more similar than every relevant item.
        tied: int64 (Q,), number of items exactly as similar as the most similar relevant item, including it.
        relevant: int64 (Q,), number of relevant items among ``tied``; 0 for a query without relevant items.
    """

    before: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray

    def ranks(self) -> np.ndarray:
        """Return the expected rank of the first relevant item, float64 (Q,), from 1; NaN without one.

        The first of r items placed at random on n ranks has rank (n + 1) / (r + 1) in expectation.
        """
        rank = self.before + (self.tied + 1) / (self.relevant + 1)
        return np.where(self.relevant > 0, rank, np.nan)

    def hit_probability(self, k: int) -> np.ndarray:
        """Return the probability of a relevant item among the first k, float64 (Q,).

        A query without relevant items has NaN.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise LimbeckError(
                f"k: {k!r} is not a whole number of at least 1; give 1 or more", code="E-OPTION-RANGE"
            )
        drawn = np.clip(k - self.before, 0, self.tied)
        certain = drawn > self.tied - self.relevant
        result = np.where(self.relevant > 0, certain.astype(np.float64), np.nan)
        for q in np.flatnonzero(~certain & (drawn > 0) & (self.relevant > 0)):
            result[q] = 1 - _miss_probability(int(self.tied[q]), int(self.relevant[q]), int(drawn[q]))
        return result

    def recall(self, ks: Iterable[int], *, empty: str = "skip") -> RecallAtK:
        """Return any-hit recall at each k; ``empty`` as for `recall_at_k`."""
        check_empty(empty)
        settled = {int(k): settle_empty(self.hit_probability(k), empty) for k in ks}
        if not settled:
            raise LimbeckError("ks: is empty; give at least one k", code="E-OPTION-RANGE")
        return RecallAtK(
            value={k: mean for k, (mean, _, _) in settled.items()},
            per_query={k: values for k, (_, values, _) in settled.items()},
            n_empty=int((self.relevant == 0).sum()),
        )

    def median_rank(self) -> float:
        """Return the median of `ranks` over the queries that have a relevant item."""
        ranks = self.ranks()
        if np.isnan(ranks).all():
            raise LimbeckError(
                f"queries: none of the {len(ranks)} has a relevant item; check the pairing",
                code="E-METRIC-UNDEFINED",
            )
        return float(np.nanmedian(ranks))


def recall_at_k(
    similarity: ArrayLike,
    relevant: ArrayLike | Sequence[ArrayLike],
    ks: Iterable[int],
    *,
    empty: str = "skip",
) -> RecallAtK:
    """Compute the share of queries with a relevant item among the first k, in expectation over ties.

    Where k cuts a tie group of n items with r relevant ones after m of them, the probability of a hit is
    1 - C(n - r, m) / C(n, m) (ours).

    Args:
        similarity: real (Q, N), higher is nearer; exactly equal values tie.
        relevant: bool (Q, N), or for each query the numbers of its relevant items.
        ks: the values of k; those above N count as N.
        empty: a query without a relevant item is left out (``skip``), counts 0 (``zero``) or raises an error
            (``error``).

    Returns:
        The recall at each k.

    Raises:
        LimbeckError: an array or a k is invalid; a similarity is NaN; ``empty`` applies to all queries.
    """
    return first_relevant(similarity, relevant).recall(ks, empty=empty)


def median_rank(similarity: ArrayLike, relevant: ArrayLike | Sequence[ArrayLike]) -> float:
    """Compute the median over queries of the expected rank of the first relevant item.

    Args:
        similarity: as for `recall_at_k`.
        relevant: as for `recall_at_k`.

    Raises:
        LimbeckError: an array is invalid, or no query has a relevant item.
    """
    return first_relevant(similarity, relevant).median_rank()


def first_relevant(similarity: ArrayLike, relevant: ArrayLike | Sequence[ArrayLike]) -> FirstRelevant:
    """Count the items ranked before and tied with the first relevant item of each query.

    Args:
        similarity: as for `recall_at_k`.
        relevant: as for `recall_at_k`.

    Raises:
        LimbeckError: an array is invalid, or a similarity is NaN.
    """
    scores = np.asarray(similarity)
    if scores.ndim != 2 or scores.dtype.kind not in "iuf" or 0 in scores.shape:
        raise LimbeckError(
            f"similarity: is {scores.dtype} {scores.shape}, expected real numbers (Q, N)",
            code="E-ARRAY-SHAPE",
        )
    return _count(scores, _relevant_rows(relevant, *scores.shape))


def retrieval_ranks(
    queries: ArrayLike, items: ArrayLike, relevant: ArrayLike | Sequence[ArrayLike], space: Space
) -> FirstRelevant:
    """Compute `first_relevant` for points of a space in blocks of queries, without a Q × N matrix in memory.

    Args:
        queries: points of ``space``, (Q, width).
        items: points of ``space``, (N, width).
        relevant: bool (Q, N), or for each query the numbers of its relevant items.
        space: gives the similarity.

    Returns:
        The counts, with ``.recall(ks)``, ``.median_rank()`` and ``.ranks()``.

    Raises:
        LimbeckError: the points or ``relevant`` are invalid or empty.
    """
    left, right = space.check(queries, what="queries"), space.check(items, what="items")
    if not len(left) or not len(right):
        raise LimbeckError(
            f"points: there are {len(left)} queries and {len(right)} items; give at least one of each",
            code="E-ARRAY-EMPTY",
        )
    wanted = _relevant_rows(relevant, len(left), len(right))
    step = max(1, BLOCK_CELLS // len(right))
    parts = [
        _count(space.similarity(left[start : start + step], right), wanted[start : start + step])
        for start in range(0, len(left), step)
    ]
    return FirstRelevant(
        before=np.concatenate([part.before for part in parts]),
        tied=np.concatenate([part.tied for part in parts]),
        relevant=np.concatenate([part.relevant for part in parts]),
    )


def _count(scores: np.ndarray, wanted: Sequence[np.ndarray]) -> FirstRelevant:
    counts = np.zeros((3, len(scores)), dtype=np.int64)
    for q, (row, rows) in enumerate(zip(scores, wanted, strict=True)):
        if row.dtype.kind == "f" and np.isnan(row).any():
            raise LimbeckError("similarity: has NaN; check the inputs of the encoder", code="E-ARRAY-VALUES")
        if rows.size:
            best = row[rows].max()
            counts[:, q] = (row > best).sum(), (row == best).sum(), (row[rows] == best).sum()
    return FirstRelevant(before=counts[0], tied=counts[1], relevant=counts[2])


def _relevant_rows(relevant: ArrayLike | Sequence[ArrayLike], queries: int, items: int) -> list[np.ndarray]:
    """Convert both forms of ``relevant`` to int64 item numbers per query."""
    if isinstance(relevant, np.ndarray) and relevant.dtype == np.bool_:
        if relevant.shape != (queries, items):
            raise LimbeckError(
                f"relevant: has shape {relevant.shape}, expected ({queries}, {items})", code="E-ARRAY-SHAPE"
            )
        return [np.flatnonzero(row) for row in relevant]
    if (
        isinstance(relevant, np.ndarray)
        and relevant.shape == (queries, items)
        and np.isin(relevant, (0, 1)).all()
    ):
        raise LimbeckError(
            "relevant: integers 0 and 1 are ambiguous; give bool (Q, N), or lists of item numbers",
            code="E-ARRAY-TYPE",
        )
    if isinstance(relevant, np.ndarray | list | tuple) and len(relevant) == queries:
        return [_item_numbers(numbers, q, items) for q, numbers in enumerate(relevant)]
    raise LimbeckError(
        f"relevant: is neither bool ({queries}, {items}) nor a list of {queries} arrays of item numbers",
        code="E-ARRAY-SHAPE",
    )


def _item_numbers(numbers: ArrayLike, query: int, items: int) -> np.ndarray:
    array = np.asarray(numbers)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= items:
        raise LimbeckError(
            f"relevant: query {query} needs item numbers from 0 to {items - 1}", code="E-ARRAY-VALUES"
        )
    return np.unique(array).astype(np.int64)


def _miss_probability(n: int, r: int, m: int) -> float:
    """Return C(n - r, m) / C(n, m) as a product of min(m, r) factors below 1, without overflow."""
    steps, other = min(m, r), max(m, r)
    places = n - np.arange(steps)
    return float(np.prod((places - other) / places))
