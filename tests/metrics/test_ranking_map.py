"""Mean average precision of real-valued rankings."""

from __future__ import annotations

import numpy as np
import pytest
from tie_oracle import all_orders, average, average_precision, ordered

from limbeck.errors import LimbeckError
from limbeck.metrics import hamming_map, ranking_map

SETTINGS = [
    (t, n)
    for t in ("expected", "optimistic", "pessimistic", "id")
    for n in ("relevant", "min", "hits", "first_k")
    if (t, n) != ("expected", "first_k")
]


@pytest.mark.parametrize(("ties", "normalizer"), SETTINGS)
def test_every_rule_equals_the_mean_over_all_orders(ties, normalizer):
    rng = np.random.default_rng(0)
    scores = rng.choice([-0.5, 0.0, -0.0, 0.25], (4, 6)).astype(np.float32)
    relevant = rng.random((4, 6)) < 0.5
    relevant[3] = False
    for k in (1, 3, 5, 8, None):
        got = ranking_map(scores, relevant, k=k, ties=ties, normalizer=normalizer)
        assert got.n_empty == 1 and np.isnan(got.per_query[3])
        for value, row, wanted in zip(got.per_query[:3], scores, relevant.astype(int), strict=False):
            if ties == "expected":
                want = average(average_precision(r, k or 6, normalizer) for r in all_orders(-row, wanted))
            else:
                want = average_precision(ordered(-row, wanted, ties), k or 6, normalizer)
            assert value == pytest.approx(want, abs=1e-12)


@pytest.mark.parametrize(("ties", "normalizer"), SETTINGS)
def test_agrees_with_hamming_map(ties, normalizer):
    rng = np.random.default_rng(1)
    queries, items = (rng.integers(0, 256, (n, 2), dtype=np.uint8) for n in (6, 300))
    query_labels, item_labels = rng.random((6, 5)) < 0.3, rng.random((300, 5)) < 0.3
    query_labels[:, 0] = item_labels[0, 0] = True
    distances = np.unpackbits(queries[:, None] ^ items[None], axis=-1).sum(axis=-1)
    relevant = (query_labels[:, None] & item_labels[None]).any(axis=-1)
    for k in (10, 100, None):
        kwargs = {"k": k, "ties": ties, "normalizer": normalizer}
        left = hamming_map(queries, items, query_labels, item_labels, **kwargs)
        right = ranking_map(-distances.astype(np.int64), relevant, **kwargs)
        np.testing.assert_allclose(left.per_query, right.per_query, rtol=0, atol=1e-12)
        assert left.settings == right.settings


def test_unsigned_and_infinite_scores():
    relevant = np.array([[True, False, False]])
    assert ranking_map(np.array([[3, 2, 1]], np.uint8), relevant).value == 1
    assert ranking_map(np.array([[-np.inf, np.inf, 0.0]]), relevant).value == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("scores", "relevant", "message"),
    [
        (np.full((1, 2), np.nan), np.ones((1, 2), bool), "NaN"),
        (np.ones((1, 2)), np.ones((1, 3), bool), "relevant"),
        (np.ones((1, 2)), np.ones((1, 2)), "expected bool"),
        (np.ones(2), np.ones(2, bool), "similarity"),
        (np.ones((0, 2)), np.ones((0, 2), bool), "similarity"),
    ],
)
def test_errors(scores, relevant, message):
    with pytest.raises(LimbeckError, match=message):
        ranking_map(scores, relevant)
