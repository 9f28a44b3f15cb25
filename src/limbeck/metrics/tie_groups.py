"""Compute the average precision of one ranking with ties from the sizes of its tie groups (ours).

A ranking is a list of tie groups, best first: ``counts[g]`` items, of which ``hits[g]`` are relevant. Below,
p items and R relevant items come before a group of n items with r relevant ones. m ranks of the group count:
all n, except in the group that k cuts. H is the harmonic number and h = H(p + m) - H(p).
"""

from __future__ import annotations

import numpy as np

from limbeck.codes.kernel import kernel

EXPECTED, OPTIMISTIC, PESSIMISTIC, ROW = range(4)
RELEVANT, MIN, HITS, FIRST_K = range(4)
TIES = {"expected": EXPECTED, "optimistic": OPTIMISTIC, "pessimistic": PESSIMISTIC, "id": ROW}
NORMALIZERS = {"relevant": RELEVANT, "min": MIN, "hits": HITS, "first_k": FIRST_K}


_SMALL = 256
_TABLE = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, _SMALL + 1))])  # H(0) ... H(256)


@kernel
def harmonic_gap(p: int, m: int) -> float:  # pragma: no cover
    """Return H(p + m) - H(p) = 1/(p+1) + ... + 1/(p+m) to about 1e-15, without adding up the terms."""
    if p + m <= _SMALL:
        return _TABLE[p + m] - _TABLE[p]
    start = 0.0
    if p < _SMALL:
        start = _TABLE[_SMALL] - _TABLE[p]
        p, m = _SMALL, p + m - _SMALL
    # Euler-Maclaurin, H(x) = ln x + gamma + 1/2x - 1/12x^2 + 1/120x^4 - ...; the next term is below 1e-16
    a, b = 1 / p, 1 / (p + m)
    return start + np.log1p(m / p) + (b - a) / 2 - (b**2 - a**2) / 12 + (b**4 - a**4) / 120


@kernel
def group_average_precision(
    counts: np.ndarray, hits: np.ndarray, k: int, ties: int, normalizer: int
) -> float:  # pragma: no cover
    """Return the average precision of a ranking; NaN without a relevant item.

    Args:
        counts: int64 (G,), items per group, best group first; empty groups are allowed.
        hits: int64 (G,), relevant items per group.
        k: number of ranks that count, at most the number of items; for `FIRST_K` any number.
        ties: `EXPECTED`, `OPTIMISTIC` or `PESSIMISTIC`.
        normalizer: a value of `NORMALIZERS`; `FIRST_K` cannot be combined with `EXPECTED`.
    """
    total = hits.sum()
    if total == 0:
        return np.nan
    wanted = min(k, total)
    precisions, seen, found = 0.0, 0, 0
    for group in range(counts.shape[0]):
        n, r = counts[group], hits[group]
        if n == 0:
            continue
        m = n if normalizer == FIRST_K else min(n, k - seen)
        if ties == EXPECTED:
            if m < n and normalizer == HITS:
                return _expected_over_hits(precisions, m, n, r, seen, found)
            precisions += _expected_precisions(m, n, r, seen, found)
            found += r
        else:
            ahead = 0 if ties == OPTIMISTIC else n - r
            take = min(r, m - ahead)
            if normalizer == FIRST_K:
                take = min(take, wanted - found)
            for j in range(1, take + 1):
                precisions += (found + j) / (seen + ahead + j)
            found += max(take, 0)
        seen += n
        if found >= wanted if normalizer == FIRST_K else seen >= k:
            break
    return normalized(precisions, found, total, k, normalizer)


@kernel
def normalized(
    precisions: float, found: int, total: int, k: int, normalizer: int
) -> float:  # pragma: no cover
    """Divide the sum of precisions by the divisor of the normalizer; 0 / 0 = 0."""
    if normalizer == RELEVANT:
        return precisions / total
    if normalizer == HITS:
        return precisions / found if found else 0.0
    return precisions / min(k, total)


@kernel
def _expected_precisions(m: int, n: int, r: int, p: int, found: int) -> float:  # pragma: no cover
    """Return the expected sum of the precisions at the relevant items among the first m ranks of a group.

    Rank j of the group has a relevant item with probability r / n. Given that, (j - 1)(r - 1) / (n - 1) of
    the ranks before it in the group have one in expectation. The result is the sum over j of
    r / n * (R + 1 + (j - 1)(r - 1) / (n - 1)) / (p + j).
    """
    if r == 0 or m == 0:
        return 0.0
    h = harmonic_gap(p, m)
    value = (found + 1) * h
    if n > 1:
        value += (r - 1) / (n - 1) * (m - (p + 1) * h)
    return r / n * value


@kernel
def _expected_over_hits(
    before: float, m: int, n: int, r: int, p: int, found: int
) -> float:  # pragma: no cover
    """Return the expectation of (sum of precisions / hits) where k cuts a group; the two are dependent.

    The number s of relevant items among the first m ranks is hypergeometric. Given s, their ranks are random
    among the m, so the group contributes as much as a whole group of m items with s relevant ones.
    """
    low, high = max(0, m - (n - r)), min(r, m)
    peak = min(max((m + 1) * (r + 1) // (n + 2), low), high)
    total, weights = 0.0, 0.0
    # Weights are relative to the most likely s. Their exact ratios give the others without factorials.
    for step in (1, -1):
        s, weight = peak, 1.0
        while low <= s <= high and weight > 1e-25:
            if step == 1 or s != peak:
                weights += weight
                if found + s > 0:
                    part = before + _expected_precisions(m, m, s, p, found)
                    total += weight * part / (found + s)
            if step == 1:
                weight *= (r - s) * (m - s) / ((s + 1) * (n - r - m + s + 1))
            else:
                weight *= s * (n - r - m + s) / ((r - s + 1) * (m - s + 1))
            s += step
    return total / weights
