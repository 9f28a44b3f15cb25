"""Accuracy over items and over classes, ties in expectation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.metrics import best_classes, mean_per_class, top1
from raising import raises_code

problems = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.lists(st.sampled_from([0.0, -0.0, 0.5, 1.0]), min_size=4, max_size=4), min_size=n, max_size=n
        ),
        st.lists(st.integers(0, 3), min_size=n, max_size=n),
    )
)


@settings(deadline=None, max_examples=80)
@given(problems)
def test_accuracy_by_hand(drawn):
    similarity, true = drawn
    right = []
    for row, wanted in zip(similarity, true, strict=True):
        tied = [c for c, value in enumerate(row) if value == max(row)]
        right.append((wanted in tied) / len(tied))
    predicted = best_classes(np.array(similarity, np.float32))
    found = top1(predicted, np.array(true))
    np.testing.assert_allclose(found.per_query, right, atol=1e-12)
    assert found.value == pytest.approx(sum(right) / len(right))
    by_class = {c: [r for r, t in zip(right, true, strict=True) if t == c] for c in sorted(set(true))}
    classes = mean_per_class(predicted, np.array(true))
    assert classes.classes.tolist() == list(by_class)
    assert classes.counts.tolist() == [len(values) for values in by_class.values()]
    assert classes.value == pytest.approx(np.mean([np.mean(values) for values in by_class.values()]))


def test_small_classes_count_as_much_as_large_ones():
    true, predicted = np.array([0] * 9 + [1]), np.zeros(10, int)
    assert top1(predicted, true).value == 0.9
    assert mean_per_class(predicted, true).value == 0.5


def test_one_answer_an_item_is_the_same_as_lists_of_one():
    true, predicted = np.array([0, 1, 2]), np.array([0, 2, 2])
    assert top1(predicted, true).per_query.tolist() == [1, 0, 1]
    assert top1([[0], [2], [2]], true).value == top1(predicted, true).value == pytest.approx(2 / 3)
    assert top1([[0, 1], [2], [2]], true).per_query.tolist() == [0.5, 0, 1]


@pytest.mark.parametrize(
    ("predicted", "true", "match"),
    [
        ([0, 1], [0], ("E-ARRAY-ROWS", "2 predictions", "1 items")),
        ([0], np.empty(0, int), ("E-ARRAY-SHAPE", "true")),
        ([0], [0.5], ("E-ARRAY-SHAPE", "true")),
        ([0], [-1], ("E-ARRAY-SHAPE", "true")),
        ([-1], [0], ("E-ARRAY-TYPE", "predicted")),
        ([0.5], [0], ("E-ARRAY-TYPE", "predicted")),
        ([[0], []], [0, 1], ("E-ARRAY-TYPE", "predicted")),
    ],
)
def test_bad_numbers_are_refused(predicted, true, match):
    with raises_code(*match):
        top1(predicted, np.array(true))


def test_bad_similarities_are_refused():
    with raises_code("E-ARRAY-VALUES", "NaN"):
        best_classes([[0.1, np.nan]])
    with raises_code("E-ARRAY-SHAPE", "similarity:"):
        best_classes([0.1, 0.2])
    with raises_code("E-ARRAY-SHAPE", "similarity:"):
        best_classes(np.empty((3, 0)))
