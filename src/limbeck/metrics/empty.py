"""What becomes of queries without any relevant item: said once, for every metric."""

from __future__ import annotations

import numpy as np

from limbeck.errors import LimbeckError

EMPTY = ("skip", "zero", "error")


def check_empty(empty: str) -> None:
    """Refuse an unknown rule."""
    if empty not in EMPTY:
        raise LimbeckError(f"empty: {empty!r} is unknown; choose from {', '.join(EMPTY)}")


def settle_empty(per_query: np.ndarray, empty: str) -> tuple[float, np.ndarray, int]:
    """Apply the rule to values (Q,) in which NaN marks a query without relevant items.

    Returns:
        (mean, values, number of such queries): ``skip`` leaves NaN and out of the mean, ``zero`` counts 0.

    Raises:
        LimbeckError: for ``error`` if there is one, and for ``skip`` if there are no others.
    """
    lacking = np.isnan(per_query)
    count = int(lacking.sum())
    if count and empty == "error":
        raise LimbeckError(
            f"queries: {count} have no relevant item, the first in row {int(np.argmax(lacking))}; "
            "the metric asked for (empty: error) has no value then; take one that skips them or counts them "
            "as zero, or leave them out of the query split"
        )
    if empty == "zero":
        per_query = np.where(lacking, 0.0, per_query)
    elif count == len(per_query):
        raise LimbeckError(
            f"queries: none of the {count} has a relevant item; check the labels of both sides"
        )
    return float(np.nanmean(per_query)), per_query, count
