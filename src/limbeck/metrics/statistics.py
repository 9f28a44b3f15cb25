"""Test differences between runs: confidence intervals, paired t tests over seeds, Holm."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike

from limbeck.errors import LimbeckError
from limbeck.optional_deps import require


@dataclasses.dataclass(frozen=True)
class Summary:
    """The mean over runs with its t interval; ``sd``, ``low`` and ``high`` are None for a single run."""

    n: int
    mean: float
    sd: float | None
    low: float | None
    high: float | None
    confidence: float


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """A paired t test over seeds: ``difference`` is mean(a - b), ``low`` to ``high`` is its t interval.

    If all differences are equal, ``t`` is 0 and ``p`` is 1 where they are 0; otherwise ``t`` is infinite and
    ``p`` is 0.
    """

    n: int
    difference: float
    sd: float
    low: float
    high: float
    t: float
    p: float
    confidence: float


def summarize(values: ArrayLike, *, confidence: float = 0.95) -> Summary:
    """Compute mean, standard deviation (by n − 1) and t interval of the values of runs.

    Args:
        values: real (n,), n at least 1.
        confidence: confidence level of the interval, between 0 and 1.

    Raises:
        LimbeckError: the values are not a list of finite numbers, or the confidence level is out of range.
    """
    sample = _sample(values, "values")
    _check_confidence(confidence)
    mean = float(sample.mean())
    if len(sample) == 1:
        return Summary(1, mean, None, None, None, confidence)
    sd = float(sample.std(ddof=1))
    half = _half_width(sd, len(sample), confidence)
    return Summary(len(sample), mean, sd, mean - half, mean + half, confidence)


def paired_test(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> PairedTest:
    """Test by a two-sided paired t test whether ``a`` differs from ``b``.

    Args:
        a: real (n,), one value per seed, n at least 2.
        b: real (n,), for the same seeds in the same order.
        confidence: confidence level of the interval, between 0 and 1.

    Returns:
        The test with n − 1 degrees of freedom.

    Raises:
        LimbeckError: the lists differ in length, have fewer than two values or values that are not finite,
            or the confidence level is out of range.

    Source: Student's t test, as `scipy.stats.ttest_rel` (which takes a second to import).
    """
    first, second = _sample(a, "a"), _sample(b, "b")
    if len(first) != len(second):
        raise LimbeckError(
            f"a, b: {len(first)} and {len(second)} runs cannot be paired; give the same seeds",
            code="E-ARRAY-ROWS",
        )
    if len(first) < 2:
        raise LimbeckError(
            "a, b: there is one seed; a paired test needs at least two seeds", code="E-ARRAY-ROWS"
        )
    _check_confidence(confidence)
    change = first - second
    n, difference, sd = len(change), float(change.mean()), float(change.std(ddof=1))
    half = _half_width(sd, n, confidence)
    if sd > 0:
        t = difference / (sd / math.sqrt(n))
        p = float(2 * require("scipy.special").stdtr(n - 1, -abs(t)))
    else:
        t, p = (0.0, 1.0) if difference == 0 else (math.copysign(math.inf, difference), 0.0)
    return PairedTest(n, difference, sd, difference - half, difference + half, t, p, confidence)


def holm(p_values: ArrayLike) -> np.ndarray:
    """Adjust the p values of m comparisons by Holm's method; compare the results with the level directly.

    Args:
        p_values: real (m,), between 0 and 1.

    Returns:
        The adjusted p values, float64 (m,).

    Raises:
        LimbeckError: a value is not between 0 and 1.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise LimbeckError("p_values: must be a list of numbers between 0 and 1", code="E-OPTION-RANGE")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _half_width(sd: float, n: int, confidence: float) -> float:
    return float(require("scipy.special").stdtrit(n - 1, (1 + confidence) / 2)) * sd / math.sqrt(n)


def _sample(values: ArrayLike, what: str) -> np.ndarray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not len(array) or not np.isfinite(array).all():
        raise LimbeckError(f"{what}: must be a list of at least one finite number", code="E-ARRAY-VALUES")
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise LimbeckError(
            f"confidence: {confidence} is not between 0 and 1; give for example 0.95", code="E-OPTION-RANGE"
        )
