"""Recall and ranks in expectation over ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limbeck.errors import LimbeckError
from limbeck.metrics import first_relevant, median_rank, ranks, recall_at_k, retrieval_ranks
from limbeck.spaces import Hamming, Lorentz, Sphere
from raising import raises_code


def orders(row: np.ndarray, relevant: np.ndarray):
    groups = [relevant[row == value].tolist() for value in np.unique(row)[::-1]]
    for chosen in itertools.product(*(itertools.permutations(group) for group in groups)):
        yield list(itertools.chain(*chosen))


problems = st.tuples(
    hnp.arrays(np.float32, (2, 6), elements=st.sampled_from([0.0, -0.0, 0.5, 1.0])), hnp.arrays(bool, (2, 6))
)


@settings(deadline=None, max_examples=60)
@given(problems)
def test_recall_and_rank_are_means_over_all_orders(drawn):
    scores, relevant = drawn
    found = first_relevant(scores, relevant)
    for q, (row, wanted) in enumerate(zip(scores, relevant, strict=True)):
        if not wanted.any():
            assert np.isnan(found.ranks()[q]) and np.isnan(found.hit_probability(1)[q])
            continue
        ranked = list(orders(row, wanted))
        assert found.ranks()[q] == pytest.approx(np.mean([r.index(True) + 1 for r in ranked]), abs=1e-12)
        for k in (1, 2, 3, 6, 10):
            want = np.mean([any(r[:k]) for r in ranked])
            assert found.hit_probability(k)[q] == pytest.approx(want, abs=1e-12)


def test_lists_and_matrices_say_the_same():
    rng = np.random.default_rng(0)
    scores, relevant = rng.standard_normal((8, 30)), rng.random((8, 30)) < 0.1
    relevant[:, 7], relevant[0] = True, False
    lists = [np.flatnonzero(row) for row in relevant]
    lists[1] = np.repeat(lists[1], 2)[::-1]  # repeated and unordered numbers mean the same
    left, right = (recall_at_k(scores, r, [1, 5, 10]) for r in (relevant, lists))
    for k in (1, 5, 10):
        np.testing.assert_array_equal(left.per_query[k], right.per_query[k])
        assert left.value[k] == pytest.approx(np.nanmean(left.per_query[k]))
    assert left.n_empty == right.n_empty == 1


def test_empty_rules():
    scores, relevant = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([[True, False], [False, False]])
    assert recall_at_k(scores, relevant, [1]).value == {1: 1.0}
    assert recall_at_k(scores, relevant, [1], empty="zero").value == {1: 0.5}
    with raises_code("E-METRIC-UNDEFINED", "row 1"):
        recall_at_k(scores, relevant, [1], empty="error")
    with raises_code("E-METRIC-UNDEFINED", "queries:"):
        recall_at_k(scores, np.zeros((2, 2), bool), [1])
    assert median_rank(scores, relevant) == 1
    with raises_code("E-METRIC-UNDEFINED", "queries:"):
        median_rank(scores, np.zeros((2, 2), bool))


def test_all_equal_scores_give_chance():
    scores, relevant = np.zeros((1, 1000)), [[3, 5, 8, 900, 901]]
    found = first_relevant(scores, relevant)
    assert found.ranks()[0] == pytest.approx(1001 / 6)
    assert found.hit_probability(1)[0] == pytest.approx(5 / 1000)
    assert found.hit_probability(995)[0] == pytest.approx(
        1 - 1 / 8_250_291_250_200, abs=1e-15
    )  # 1 - 1/C(1000, 5)
    assert found.hit_probability(996)[0] == 1


@pytest.mark.parametrize(
    ("space", "draw"), [(Sphere(6), "floats"), (Lorentz(6, 0.5), "floats"), (Hamming(16), "codes")]
)
def test_points_in_blocks_equal_the_whole_matrix(space, draw, monkeypatch):
    rng = np.random.default_rng(2)
    if draw == "codes":
        queries, items = (rng.integers(0, 256, (n, 2), dtype=np.uint8) for n in (11, 40))
    else:
        queries, items = (rng.standard_normal((n, 6)) for n in (11, 40))
        queries, items = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, items))
    relevant = rng.random((11, 40)) < 0.1
    whole = first_relevant(space.similarity(queries, items), relevant)
    monkeypatch.setattr(ranks, "BLOCK_CELLS", 100)
    blocks = retrieval_ranks(queries, items, relevant, space)
    np.testing.assert_array_equal(blocks.ranks(), whole.ranks())
    np.testing.assert_array_equal(blocks.relevant, whole.relevant)
    assert blocks.recall([1, 5]).value == whole.recall([1, 5]).value
    assert blocks.median_rank() == whole.median_rank()


SCORES = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("scores", "relevant", "ks", "message"),
    [
        (SCORES, np.ones((2, 3), bool), [0], "k: 0"),
        (SCORES, np.ones((2, 3), bool), [], "ks"),
        (SCORES, np.ones((3, 3), bool), [1], "relevant"),
        (SCORES, np.ones((2, 3), int), [1], "ambiguous"),
        (SCORES, [[0]], [1], "list of 2"),
        (SCORES, [[0], [3]], [1], "query 1 needs item numbers from 0 to 2"),
        (SCORES, [[0], [-1]], [1], "query 1"),
        (SCORES, [[0.5], [1]], [1], "query 0"),
        (SCORES * np.nan, np.ones((2, 3), bool), [1], "NaN"),
        (SCORES[0], np.ones((2, 3), bool), [1], "similarity"),
    ],
)
def test_errors(scores, relevant, ks, message):
    with pytest.raises(LimbeckError, match=message):
        recall_at_k(scores, relevant, ks)


def test_points_are_checked_by_their_space():
    with raises_code("E-ARRAY-SHAPE", "queries:", "width 3"):
        retrieval_ranks(np.zeros((1, 3), np.uint8), np.zeros((2, 2), np.uint8), [[0]], Hamming(16))
    with raises_code("E-ARRAY-EMPTY", "points:"):
        retrieval_ranks(np.zeros((0, 2), np.uint8), np.zeros((2, 2), np.uint8), [], Hamming(16))
