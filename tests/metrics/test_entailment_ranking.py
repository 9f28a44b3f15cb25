"""AUC and AP of chains against scikit-learn and against counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.metrics import entailment_ranking
from raising import raises_code


def test_values_by_hand() -> None:
    # Own texts .9 and .5; others .5 and .1: three pairs are right and one is a tie.
    found = entailment_ranking(np.array([[0.9, 0.5, 0.5, 0.1]]), np.array([[True, True, False, False]]))
    assert found.auc == pytest.approx(3.5 / 4)
    assert found.ap == pytest.approx((1 + 2 / 3) / 2)  # the second step holds both texts at .5
    assert found.distinct == pytest.approx(2 / 4)
    assert found.zeros == 0


def test_equal_scores_say_nothing() -> None:
    found = entailment_ranking(np.zeros((3, 5)), np.tile([True, False, False, False, True], (3, 1)))
    assert (found.auc, found.ap) == (0.5, pytest.approx(2 / 5))
    assert (found.distinct, found.zeros) == (0, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.integers(1, 5))
def test_as_scikit_learn_computes_it(seed: int, own: int, other: int, levels: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(seed)
    scores = random.integers(0, levels, (4, own + other)).astype(float)  # with many ties
    positive = np.zeros(scores.shape, bool)
    positive[:, :own] = True
    scores[1, own - 1 :] = np.where(random.random(other + 1) < 0.3, np.nan, scores[1, own - 1 :])
    scores[1, [0, -1]] = 1.0
    found = entailment_ranking(scores, positive)
    for row in range(len(scores)):
        there = ~np.isnan(scores[row])
        truth, values = positive[row][there], scores[row][there]
        assert found.per_query["auc"][row] == pytest.approx(metrics.roc_auc_score(truth, values))
        assert found.per_query["ap"][row] == pytest.approx(metrics.average_precision_score(truth, values))


def test_a_picture_without_texts_of_both_kinds() -> None:
    with raises_code("E-ARRAY-VALUES", "row 1"):
        entailment_ranking(np.ones((2, 2)), np.array([[True, False], [True, True]]))
    with raises_code("E-ARRAY-SHAPE", "(2, 2)"):
        entailment_ranking(np.ones((2, 2)), np.ones((2, 3), bool))
