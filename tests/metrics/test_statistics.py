"""Intervals and tests, against scipy and worked examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from limbeck.errors import LimbeckError
from limbeck.metrics import holm, paired_test, summarize

A, B = [0.81, 0.83, 0.80, 0.84, 0.82], [0.80, 0.815, 0.79, 0.835, 0.80]


def test_summary_against_scipy():
    got = summarize(A, confidence=0.9)
    low, high = stats.t.interval(0.9, 4, loc=np.mean(A), scale=stats.sem(A))
    assert (got.n, got.confidence) == (5, 0.9)
    assert [got.mean, got.sd, got.low, got.high] == pytest.approx([np.mean(A), np.std(A, ddof=1), low, high])


def test_one_run_has_no_interval():
    got = summarize([0.5])
    assert got.mean == 0.5 and got.sd is got.low is got.high is None


def test_paired_test_against_scipy():
    got, want = paired_test(A, B), stats.ttest_rel(A, B)
    low, high = want.confidence_interval(0.95)
    assert [got.t, got.p, got.low, got.high] == pytest.approx([want.statistic, want.pvalue, low, high])
    assert got.difference == pytest.approx(np.mean(A) - np.mean(B)) and got.n == 5
    swapped = paired_test(B, A)
    assert swapped.p == pytest.approx(got.p) and swapped.t == pytest.approx(-got.t)


def test_paired_test_without_spread():
    same = paired_test([0.5, 0.25], [0.5, 0.25])
    assert (same.t, same.p, same.difference) == (0, 1, 0)
    shifted = paired_test([0.5, 0.25], [0.25, 0.0])
    assert shifted.p == 0 and shifted.t == float("inf") and shifted.low == shifted.high == 0.25


def test_holm_worked_example():
    # 4 comparisons: 0.005 x 4, then 0.01 x 3, then max with 0.03 x 2, then 0.04 x 1 raised to the one before
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.9, 0.8]), [1, 1])
    assert holm([]).shape == (0,)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: summarize([]), "values"),
        (lambda: summarize([np.nan]), "finite"),
        (lambda: summarize([1.0], confidence=95), "confidence"),
        (lambda: paired_test([1.0], [2.0]), "two seeds"),
        (lambda: paired_test([1.0, 2.0], [2.0]), "same seeds"),
        (lambda: holm([1.5]), "between 0 and 1"),
    ],
)
def test_errors(call, message):
    with pytest.raises(LimbeckError, match=message):
        call()
