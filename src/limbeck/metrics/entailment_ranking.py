"""Rank texts by how strongly each entails a picture: AUC-ROC and AP, exact under ties.

Source: the PEP measure of ARGENT (arXiv 2603.23311). A picture has a chain of texts, from coarse to fine, as
positives, and the finest texts of other pictures as negatives. We rank the texts of each picture by
themselves and average over the pictures; the paper's abstract does not say whether it pools them (ours).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from limbeck.errors import LimbeckError


@dataclass(frozen=True, eq=False)
class EntailmentRanking:
    """Means over the pictures, and the values of each picture.

    Attributes:
        auc: area under the ROC curve, 0 to 1; .5 for random scores. A tie counts one half.
        ap: average precision, 0 to 1; texts with equal scores enter in one step.
        distinct: share of the scores that differ from every other score of their picture.
        zeros: share of the scores that are exactly 0.
        per_query: ``auc`` and ``ap`` of each picture, float64 (P,).
    """

    auc: float
    ap: float
    distinct: float
    zeros: float
    per_query: dict[str, np.ndarray]


def entailment_ranking(scores: np.ndarray, is_positive: np.ndarray) -> EntailmentRanking:
    """Compare the scores of positives and negatives, picture by picture.

    Args:
        scores: (P, T), higher for a stronger entailment; NaN where a picture has fewer than T texts.
        is_positive: bool (P, T), the texts of the picture's own chain.

    Raises:
        LimbeckError: the shapes differ, or a picture has no positive or no negative.
    """
    scores, is_positive = np.asarray(scores, np.float64), np.asarray(is_positive, bool)
    if scores.ndim != 2 or scores.shape != is_positive.shape or not scores.size:
        raise LimbeckError(
            f"scores, is_positive: have shapes {scores.shape} and {is_positive.shape}; give both as (P, T)",
            code="E-ARRAY-SHAPE",
        )
    there = ~np.isnan(scores)
    positive, negative = there & is_positive, there & ~is_positive
    lacking = np.flatnonzero(~(positive.any(1) & negative.any(1)))
    if lacking.size:
        raise LimbeckError(
            f"scores: row {lacking[0]} has no positive or no negative text; leave it out",
            code="E-ARRAY-VALUES",
        )
    area, precision = np.zeros(len(scores)), np.zeros(len(scores))
    alone = 0
    for row, (values, good, bad) in enumerate(zip(scores, positive, negative, strict=True)):
        own, other = values[good], values[bad]
        above, equal = own[:, None] > other, own[:, None] == other
        area[row] = (above + 0.5 * equal).mean()
        # The step of a positive holds every text whose score is at least its own.
        hits = (own[None, :] >= own[:, None]).sum(1)
        precision[row] = (hits / (hits + (other[None, :] >= own[:, None]).sum(1))).mean()
        alone += int((np.unique(values[there[row]], return_counts=True)[1] == 1).sum())
    return EntailmentRanking(
        auc=float(area.mean()),
        ap=float(precision.mean()),
        distinct=alone / int(there.sum()),
        zeros=float((scores[there] == 0).mean()),
        per_query={"auc": area, "ap": precision},
    )
