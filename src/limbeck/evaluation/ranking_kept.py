"""How much of a float ranking a search of codes keeps (ours); everything is counted on held-out queries."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

TOP, SHORT = 10, 100


@dataclasses.dataclass(frozen=True)
class Held:
    """Held-out queries and the database that they rank.

    Attributes:
        scores: similarity of the floats, float32 (Q, N), higher is nearer; -inf for an item that is left out.
        own: the item (Q,) that a caption belongs to; None for queries without one.
        relevant: bool (Q, N), items that share a label with the query; None without labels.
    """

    scores: np.ndarray
    own: np.ndarray | None = None
    relevant: np.ndarray | None = None

    @functools.cached_property
    def ranking(self) -> np.ndarray:
        """The items as the floats rank them, int64 (Q, N)."""
        return ranked(self.scores)


@dataclasses.dataclass(frozen=True)
class Agreement:
    """What one search keeps of the float ranking, each a share from 0 to 1.

    Attributes:
        overlap: of the first 10 by floats, those among the first 10 (overlap@10).
        top: queries whose first item by floats is among the first 100.
        reranked: overlap@10 after the first 100 are ranked again by the floats.
        recall: captions whose own picture is among the first 10 (R@10); None without captions.
        reranked_recall: R@10 after re-ranking.
        mean_precision: mean average precision by labels; None without labels.
    """

    overlap: float
    top: float
    reranked: float
    recall: float | None = None
    reranked_recall: float | None = None
    mean_precision: float | None = None


def ranked(scores: np.ndarray) -> np.ndarray:
    """Return the items of each row of scores (Q, N), highest first, ties by item, int64 (Q, N)."""
    return np.argsort(-scores, axis=1, kind="stable")


def agreement(held: Held, found: np.ndarray) -> Agreement:
    """Compare the rankings ``found``, int64 (Q, N), with those of the floats.

    Items that are left out must come last in both.
    """
    wanted = held.ranking
    short = found[:, :SHORT]
    floats = np.take_along_axis(held.scores, short, 1)
    again = np.take_along_axis(short, np.lexsort((short, -floats), axis=1), 1)
    precision = None
    if held.relevant is not None and held.relevant.any():
        precision = _mean_precision(np.take_along_axis(held.relevant, found, 1))
    return Agreement(
        overlap=_overlap(found, wanted),
        top=float((short == wanted[:, :1]).any(axis=1).mean()),
        reranked=_overlap(again, wanted),
        recall=_recall(held, found),
        reranked_recall=_recall(held, again),
        mean_precision=precision,
    )


def _overlap(found: np.ndarray, wanted: np.ndarray) -> float:
    same = found[:, :TOP, None] == wanted[:, None, :TOP]
    return float(same.any(axis=2).sum(axis=1).mean() / min(TOP, wanted.shape[1]))


def _recall(held: Held, found: np.ndarray) -> float | None:
    return None if held.own is None else float((found[:, :TOP] == held.own[:, None]).any(axis=1).mean())


def _mean_precision(relevant: np.ndarray) -> float:
    """Return the mean over queries with a relevant item; ``relevant`` is in the order of the ranking."""
    relevant = relevant[relevant.any(axis=1)]
    precision = np.cumsum(relevant, axis=1) / np.arange(1, relevant.shape[1] + 1)
    return float(((precision * relevant).sum(axis=1) / relevant.sum(axis=1)).mean())
