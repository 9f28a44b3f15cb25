"""What a search keeps of a float ranking, beside counting by hand and by sets."""

from __future__ import annotations

import numpy as np
import pytest

from limbeck.evaluation.ranking_kept import Held, agreement, ranked


def test_a_ranking_is_highest_first_with_ties_by_item() -> None:
    np.testing.assert_array_equal(ranked(np.array([[1.0, 3.0, 1.0, -np.inf, 3.0]])), [[1, 4, 0, 2, 3]])


@pytest.mark.parametrize("seed", range(3))
def test_the_shares_are_those_of_sets(seed: int) -> None:
    rng = np.random.default_rng(seed)
    floats = rng.standard_normal((7, 150)).astype(np.float32)
    found = ranked(floats + 2 * rng.standard_normal((7, 150)))
    own, relevant = rng.integers(0, 150, 7), rng.random((7, 150)) < 0.1
    kept = agreement(Held(floats, own, relevant), found)
    wanted = [np.argsort(-row, kind="stable").tolist() for row in floats]
    again = [sorted(row[:100].tolist(), key=lambda i, q=q: -floats[q, i]) for q, row in enumerate(found)]
    rows = found.tolist()
    assert kept.overlap == pytest.approx(
        np.mean([len(set(r[:10]) & set(w[:10])) / 10 for r, w in zip(rows, wanted, strict=True)])
    )
    assert kept.reranked == pytest.approx(
        np.mean([len(set(r[:10]) & set(w[:10])) / 10 for r, w in zip(again, wanted, strict=True)])
    )
    assert kept.top == np.mean([w[0] in r[:100] for r, w in zip(rows, wanted, strict=True)])
    assert kept.recall == np.mean([o in r[:10] for r, o in zip(rows, own, strict=True)])
    assert kept.reranked_recall == np.mean([o in r[:10] for r, o in zip(again, own, strict=True)])
    precisions = []
    for q, row in enumerate(rows):
        hits = [rank for rank, item in enumerate(row, 1) if relevant[q, item]]
        precisions.append(np.mean([n / rank for n, rank in enumerate(hits, 1)]))
    assert kept.mean_precision == pytest.approx(np.mean(precisions))


def test_the_floats_keep_everything_and_what_is_unknown_is_none() -> None:
    held = Held(np.random.default_rng(0).standard_normal((4, 30)).astype(np.float32))
    kept = agreement(held, held.ranking)
    assert (kept.overlap, kept.top, kept.reranked) == (1, 1, 1)
    assert kept.recall is kept.reranked_recall is kept.mean_precision is None
