"""Score a split by its pairs: R@k and median rank both ways, several captions a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

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
    directions: Sequence[str] = ("i2t", "t2i"),
) -> Scores:
    """Recall and median rank among the pictures and texts of one split.

    Args:
        space: gives the similarity.
        images: points of the pictures, one a row.
        texts: points of the texts, any number a row.
        ks: the places counted, e.g. (1, 5, 10).
        median_rank: also the median over queries of the rank of the first relevant item.
        directions: ``i2t``: each picture among all texts, any of its own is a hit; ``t2i``: each text among
            all pictures.

    Returns:
        For each direction ``r@k`` (share of queries, 0 to 1) and ``median_rank`` (1 is best); per query the
        rank of the first relevant item. Equal similarities count in expectation over their orders.
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
    """For each query the numbers of the items that belong to its row of the pairs table."""
    order = np.argsort(items.rows, kind="stable")
    ordered = items.rows[order]
    first = np.searchsorted(ordered, queries.rows, side="left")
    last = np.searchsorted(ordered, queries.rows, side="right")
    return [order[start:stop] for start, stop in zip(first.tolist(), last.tolist(), strict=True)]
