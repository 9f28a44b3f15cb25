"""Apply the rule for queries without a relevant item; every metric uses this module."""

from __future__ import annotations

import numpy as np

from limbeck.errors import LimbeckError

EMPTY = ("skip", "zero", "error")


def check_empty(empty: str) -> None:
    """Raise a `LimbeckError` for an unknown rule."""
    if empty not in EMPTY:
        raise LimbeckError(
            f"empty: {empty!r} is unknown; choose from {', '.join(EMPTY)}", code="E-OPTION-CHOICE"
        )


def settle_empty(per_query: np.ndarray, empty: str) -> tuple[float, np.ndarray, int]:
    """Apply the rule to per-query values, in which NaN marks a query without relevant items.

    Args:
        per_query: float64 (Q,).
        empty: ``skip`` leaves such queries out of the mean and keeps their NaN; ``zero`` sets them to 0;
            ``error`` raises an error.

    Returns:
        (mean, values, number of such queries).

    Raises:
        LimbeckError: the rule is ``error`` and there is such a query, or no other query is left.
    """
    lacking = np.isnan(per_query)
    count = int(lacking.sum())
    if count and empty == "error":
        raise LimbeckError(
            f"queries: {count} have no relevant item, the first in row {int(np.argmax(lacking))}, and the "
            "metric (empty: error) has no value for them; choose a metric that skips them or counts them as "
            "zero, or remove them from the query split",
            code="E-METRIC-UNDEFINED",
        )
    if empty == "zero":
        per_query = np.where(lacking, 0.0, per_query)
    elif count == len(per_query):
        raise LimbeckError(
            f"queries: none of the {count} has a relevant item; check the labels of both sides",
            code="E-METRIC-UNDEFINED",
        )
    return float(np.nanmean(per_query)), per_query, count
