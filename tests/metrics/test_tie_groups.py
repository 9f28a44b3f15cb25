"""The closed forms for tie groups, against all patterns and against direct sums in large groups."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom
from tie_oracle import all_patterns, average, average_precision

from limbeck.metrics.tie_groups import NORMALIZERS, TIES, group_average_precision, harmonic_gap

groups = st.lists(
    st.integers(0, 5).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), min_size=1, max_size=3
)


def closed_form(sizes: list[tuple[int, int]], k: int, normalizer: str) -> float:
    counts, hits = np.array(sizes, dtype=np.int64).T.copy()
    return group_average_precision(counts, hits, k, TIES["expected"], NORMALIZERS[normalizer])


@settings(deadline=None, max_examples=120)
@given(groups, st.integers(1, 15), st.sampled_from(["relevant", "min", "hits"]))
def test_expectation_over_all_patterns(sizes, k, normalizer):
    k = max(1, min(k, sum(n for n, _ in sizes)))
    got = closed_form(sizes, k, normalizer)
    if sum(r for _, r in sizes) == 0:
        assert np.isnan(got)
    else:
        want = average(average_precision(pattern, k, normalizer) for pattern in all_patterns(sizes))
        assert got == pytest.approx(want, abs=1e-12)


def expected_given_hits(before: float, p: int, found: int, m: int, s: int) -> float:
    """Place by place: s relevant items at random among m places, after p items with `found` relevant ones."""
    j = np.arange(1, m + 1)
    ahead = (j - 1) * (s - 1) / (m - 1) if m > 1 else 0
    return before + float(np.sum(s / m * (found + 1 + ahead) / (p + j)))


@pytest.mark.parametrize(
    ("n", "r", "k"),
    [
        (20_000, 3, 500),
        (20_000, 9_000, 700),
        (20_000, 19_990, 600),
        (3_000, 1, 2_999),
        (190_000, 60_000, 900),
    ],
)
def test_the_group_that_k_cuts_when_it_is_large(n, r, k):
    first, first_hits = 30, 7
    before_rank = np.arange(1, first + 1)
    before = np.sum(
        first_hits / first * (1 + (before_rank - 1) * (first_hits - 1) / (first - 1)) / before_rank
    )
    m = k - first
    chance = hypergeom(n, r, m)
    likely = np.arange(max(0, m - (n - r)), min(r, m) + 1)
    likely = likely[chance.logpmf(likely) > -60]
    weights = chance.pmf(likely)
    values = [expected_given_hits(before, first, first_hits, m, int(s)) for s in likely]
    over_hits = (
        sum(w * v / (first_hits + s) for w, v, s in zip(weights, values, likely, strict=True)) / weights.sum()
    )
    plain = float(np.dot(weights, values) / weights.sum())
    sizes = [(first, first_hits), (n, r), (5, 2)]
    assert closed_form(sizes, k, "hits") == pytest.approx(over_hits, abs=1e-9)
    assert closed_form(sizes, k, "relevant") == pytest.approx(plain / (r + first_hits + 2), abs=1e-9)
    assert closed_form(sizes, k, "min") == pytest.approx(plain / min(k, r + first_hits + 2), abs=1e-9)


def test_one_huge_group_against_the_direct_sum():
    n, r = 1_000_000, 123_456
    j = np.arange(1, n + 1, dtype=np.float64)
    direct = np.sum((1 + (j - 1) * (r - 1) / (n - 1)) / j) / n
    assert closed_form([(n, r)], n, "relevant") == pytest.approx(direct, abs=1e-12)


@pytest.mark.parametrize("p", [0, 1, 100, 255, 256, 257, 5_000])
@pytest.mark.parametrize("m", [0, 1, 2, 155, 156, 3_000, 100_000])
def test_harmonic_gap(p, m):
    direct = math.fsum(1 / i for i in range(p + 1, p + m + 1))
    assert harmonic_gap(p, m) == pytest.approx(direct, rel=2e-14, abs=1e-15)
