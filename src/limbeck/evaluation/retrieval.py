"""Score a split by its pairs: R@k and median rank in both directions, any number of captions per picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from limbeck.data.protocol import Direction
from limbeck.evaluation.encode import Side
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.results import plain
from limbeck.metrics import retrieval_ranks
from limbeck.spaces import Space


def score_retrieval(
    space: Space,
    images: Side,
    texts: Side,
    ks: Sequence[int],
    *,
    median_rank: bool = True,
    directions: Sequence[Direction] = ("i2t", "t2i"),
) -> Scores:
    """Compute R@k and median rank among the pictures and texts of one split.

    Args:
        space: gives the similarity.
        images: embeddings of the pictures, one per row.
        texts: embeddings of the texts, any number per row.
        ks: the values of k, for example (1, 5, 10).
        median_rank: also compute the median over queries of the rank of the first relevant item.
        directions: ``i2t`` ranks all texts for each picture, and any text of the picture is a hit. ``t2i``
            ranks all pictures for each text.

    Returns:
        Per direction ``r@k`` (share of queries, 0 to 1) and ``median_rank`` (1 is best), and per query the
        rank of the first relevant item. Ties count in expectation over all orders of equal similarities.
    """
    scores = Scores()
    for direction in directions:
        queries, items = (images, texts) if direction == "i2t" else (texts, images)
        ranks = retrieval_ranks(queries.points, items.points, _same_row(queries, items), space)
        metrics = {f"r@{k}": share for k, share in ranks.recall(ks).value.items()}
        if median_rank:
            metrics["median_rank"] = ranks.median_rank()
        scores.metrics[direction] = metrics
        scores.per_query[direction] = plain(ranks.ranks())
    return scores


def _same_row(queries: Side, items: Side) -> list[np.ndarray]:
    """Return, for each query, the numbers of the items of the same row of the pairs table."""
    order = np.argsort(items.rows, kind="stable")
    ordered = items.rows[order]
    first = np.searchsorted(ordered, queries.rows, side="left")
    last = np.searchsorted(ordered, queries.rows, side="right")
    return [order[start:stop] for start, stop in zip(first.tolist(), last.tolist(), strict=True)]
