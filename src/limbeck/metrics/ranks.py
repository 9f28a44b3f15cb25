"""Any-hit recall and median rank, in expectation over ties, from three counts a query (ours).

The first relevant item of a ranking is one of those that tie at the best relevant similarity. How many items
stand before that tie group, how many are in it and how many of those are relevant decides everything here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.metrics.empty import check_empty, settle_empty
from limbeck.spaces import Space

BLOCK_CELLS = 1 << 24  # similarities held at once by `retrieval_ranks`: 64 MB


@dataclasses.dataclass(frozen=True, eq=False)
class RecallAtK:
    """Any-hit recall.

    Attributes:
        value: k -> mean over the queries that count.
        per_query: k -> float64 (Q,), the probability of a hit among the first k; NaN where skipped.
        n_empty: queries without a relevant item.
    """

    value: dict[int, float]
    per_query: dict[int, np.ndarray]
    n_empty: int


@dataclasses.dataclass(frozen=True, eq=False)
class FirstRelevant:
    """Where the first relevant item of each query stands.

    Attributes:
        before: int64 (Q,), items more similar than every relevant one.
        tied: int64 (Q,), items exactly as similar as the best relevant one, itself included.
        relevant: int64 (Q,), the relevant ones among those; 0 for a query without relevant items.
    """

    before: np.ndarray
    tied: np.ndarray
    relevant: np.ndarray

    def ranks(self) -> np.ndarray:
        """Expected rank of the first relevant item, float64 (Q,), from 1; NaN without one.

        The first of r items drawn among n places stands at (n + 1) / (r + 1) on average.
        """
        rank = self.before + (self.tied + 1) / (self.relevant + 1)
        return np.where(self.relevant > 0, rank, np.nan)

    def hit_probability(self, k: int) -> np.ndarray:
        """Probability of a relevant item among the first k, float64 (Q,); NaN without one."""
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
            raise LimbeckError(f"k: {k!r} is not a whole number of at least 1")
        drawn = np.clip(k - self.before, 0, self.tied)
        certain = drawn > self.tied - self.relevant
        result = np.where(self.relevant > 0, certain.astype(np.float64), np.nan)
        for q in np.flatnonzero(~certain & (drawn > 0) & (self.relevant > 0)):
            result[q] = 1 - _miss_probability(int(self.tied[q]), int(self.relevant[q]), int(drawn[q]))
        return result

    def recall(self, ks: Iterable[int], *, empty: str = "skip") -> RecallAtK:
        """Any-hit recall at each k; ``empty`` as in `recall_at_k`."""
        check_empty(empty)
        settled = {int(k): settle_empty(self.hit_probability(k), empty) for k in ks}
        if not settled:
            raise LimbeckError("ks: is empty; give at least one k")
        return RecallAtK(
            value={k: mean for k, (mean, _, _) in settled.items()},
            per_query={k: values for k, (_, values, _) in settled.items()},
            n_empty=int((self.relevant == 0).sum()),
        )

    def median_rank(self) -> float:
        """Median over the queries that have a relevant item."""
        ranks = self.ranks()
        if np.isnan(ranks).all():
            raise LimbeckError(f"queries: none of the {len(ranks)} has a relevant item; check the pairing")
        return float(np.nanmedian(ranks))


def recall_at_k(
    similarity: ArrayLike,
    relevant: ArrayLike | Sequence[ArrayLike],
    ks: Iterable[int],
    *,
    empty: str = "skip",
) -> RecallAtK:
    """Share of queries with at least one relevant item among the first k, in expectation over ties.

    Args:
        similarity: real (Q, N), higher is nearer; exactly equal values tie. NaN is refused.
        relevant: bool (Q, N), or for each query the numbers of its relevant items.
        ks: the numbers of places; more than N means all.
        empty: a query without relevant items is left out (``skip``), counts 0 (``zero``) or is refused
            (``error``).

    Returns:
        `RecallAtK`. In the tie group that k cuts, a query hits with 1 - C(n - r, m) / C(n, m).
    """
    return first_relevant(similarity, relevant).recall(ks, empty=empty)


def median_rank(similarity: ArrayLike, relevant: ArrayLike | Sequence[ArrayLike]) -> float:
    """Median over queries of the expected rank of the first relevant item; arguments as in `recall_at_k`."""
    return first_relevant(similarity, relevant).median_rank()


def first_relevant(similarity: ArrayLike, relevant: ArrayLike | Sequence[ArrayLike]) -> FirstRelevant:
    """Count what stands before and beside the first relevant item; arguments as in `recall_at_k`."""
    scores = np.asarray(similarity)
    if scores.ndim != 2 or scores.dtype.kind not in "iuf" or 0 in scores.shape:
        raise LimbeckError(f"similarity: is {scores.dtype} {scores.shape}, expected real numbers (Q, N)")
    return _count(scores, _relevant_rows(relevant, *scores.shape))


def retrieval_ranks(
    queries: ArrayLike, items: ArrayLike, relevant: ArrayLike | Sequence[ArrayLike], space: Space
) -> FirstRelevant:
    """`first_relevant` for points of a space, computed in blocks of queries: no Q x N matrix is ever held.

    Args:
        queries: points of ``space``, (Q, width).
        items: points of ``space``, (N, width).
        relevant: bool (Q, N), or for each query the numbers of its relevant items.
        space: says what is near.

    Returns:
        `FirstRelevant`, with ``.recall(ks)``, ``.median_rank()`` and ``.ranks()``.
    """
    asked, stored = space.check(queries, what="queries"), space.check(items, what="items")
    if not len(asked) or not len(stored):
        raise LimbeckError(f"points: {len(asked)} queries and {len(stored)} items leave nothing to rank")
    wanted = _relevant_rows(relevant, len(asked), len(stored))
    step = max(1, BLOCK_CELLS // len(stored))
    parts = [
        _count(space.similarity(asked[start : start + step], stored), wanted[start : start + step])
        for start in range(0, len(asked), step)
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
            raise LimbeckError("similarity: holds NaN; see what the encoder was given")
        if rows.size:
            best = row[rows].max()
            counts[:, q] = (row > best).sum(), (row == best).sum(), (row[rows] == best).sum()
    return FirstRelevant(before=counts[0], tied=counts[1], relevant=counts[2])


def _relevant_rows(relevant: ArrayLike | Sequence[ArrayLike], queries: int, items: int) -> list[np.ndarray]:
    """Both ways to say what is relevant as one: int64 item numbers for each query."""
    if isinstance(relevant, np.ndarray) and relevant.dtype == np.bool_:
        if relevant.shape != (queries, items):
            raise LimbeckError(f"relevant: has shape {relevant.shape}, expected ({queries}, {items})")
        return [np.flatnonzero(row) for row in relevant]
    if (
        isinstance(relevant, np.ndarray)
        and relevant.shape == (queries, items)
        and np.isin(relevant, (0, 1)).all()
    ):
        raise LimbeckError(
            "relevant: numbers 0 and 1 are ambiguous; give bool (Q, N), or lists of item numbers"
        )
    if isinstance(relevant, np.ndarray | list | tuple) and len(relevant) == queries:
        return [_item_numbers(numbers, q, items) for q, numbers in enumerate(relevant)]
    raise LimbeckError(
        f"relevant: is neither bool ({queries}, {items}) nor a list of {queries} arrays of item numbers"
    )


def _item_numbers(numbers: ArrayLike, query: int, items: int) -> np.ndarray:
    array = np.asarray(numbers)
    if array.size == 0:
        return np.empty(0, dtype=np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= items:
        raise LimbeckError(f"relevant: query {query} needs item numbers from 0 to {items - 1}")
    return np.unique(array).astype(np.int64)


def _miss_probability(n: int, r: int, m: int) -> float:
    """C(n - r, m) / C(n, m) as a product of min(m, r) factors below 1: nothing to overflow or cancel."""
    steps, other = min(m, r), max(m, r)
    places = n - np.arange(steps)
    return float(np.prod((places - other) / places))
