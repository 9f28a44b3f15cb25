"""The share of relevant pairs under a protocol of shared labels, and the label that causes most of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WARN_ABOVE = 0.4
"""Share of relevant pairs above which any order of the database scores high."""


@dataclass(frozen=True)
class Relevance:
    """Shares between 0 and 1.

    Attributes:
        share: the share of query–database pairs with a common label.
        label: the most frequent label.
        covers: the share of rows that have it.
        without: ``share`` without that label.
    """

    share: float
    label: str
    covers: float
    without: float

    @property
    def in_words(self) -> str:
        """The shares as a sentence, without the label's name."""
        return (
            f"{self.share:.0%} of the query-database pairs share a label, about the mAP of a random order; "
            f"without the label that most rows have ({self.covers:.0%}) it would be {self.without:.0%}"
        )


def relevance(query: np.ndarray, database: np.ndarray, names: Sequence[str]) -> Relevance | None:
    """Compute the share of relevant pairs of labels, bool (Q, C) and (N, C); None without labels or rows."""
    if not len(query) or not len(database) or not names:
        return None
    counts = query.sum(axis=0) + database.sum(axis=0)
    most = int(np.argmax(counts))
    others = np.arange(len(names)) != most
    return Relevance(
        share=_share(query, database),
        label=names[most],
        covers=float(counts[most] / (len(query) + len(database))),
        without=_share(query[:, others], database[:, others]),
    )


def _share(query: np.ndarray, database: np.ndarray) -> float:
    """Return the share of pairs with a common label; rows of equal labels are counted together."""
    if not query.shape[1]:
        return 0.0
    left, left_counts = np.unique(query, axis=0, return_counts=True)
    right, right_counts = np.unique(database, axis=0, return_counts=True)
    wide, total = right.T.astype(np.float32), 0
    for start in range(0, len(left), 256):
        block = slice(start, start + 256)
        shared = (left[block].astype(np.float32) @ wide) > 0
        total += int(left_counts[block] @ (shared @ right_counts))
    return total / (len(query) * len(database))
