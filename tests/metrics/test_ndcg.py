"""NDCG against its definition, averaged over all orders of the ties."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.metrics import hamming_ndcg, ranking_ndcg
from raising import raises_code


def problem(seed: int, queries: int = 6, items: int = 50, width: int = 2, labels: int = 5):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (queries, width), dtype=np.uint8),
        rng.integers(0, 256, (items, width), dtype=np.uint8),
        rng.random((queries, labels)) < 0.5,
        rng.random((items, labels)) < 0.4,
    )


def dcg(gains, k):
    return sum(g / np.log2(1 + place) for place, g in enumerate(list(gains)[:k], start=1))


def gain_of(grades, gain):
    return 2.0**grades - 1 if gain == "exponential" else grades.astype(float)


@pytest.mark.parametrize("gain", ["exponential", "linear"])
def test_equals_the_mean_over_all_orders(gain):
    codes = np.array([[0], [1], [1], [1], [3], [3]], np.uint8)
    labels = np.array([[1, 0, 0], [1, 1, 1], [0, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 1]], bool)
    query = np.ones((1, 3), bool)
    gains = gain_of(labels.sum(1), gain)
    found = hamming_ndcg(np.zeros((1, 1), np.uint8), codes, query, labels, ks=[1, 2, 3, 5, 6, 99], gain=gain)
    for k in (1, 2, 3, 5, 6, 99):
        values = [
            dcg(gains[[0, *middle, *last]], k)
            for middle in itertools.permutations([1, 2, 3])
            for last in itertools.permutations([4, 5])
        ]
        assert found.value[k] == pytest.approx(np.mean(values) / dcg(sorted(gains, reverse=True), k))


@pytest.mark.parametrize("labels", [1, 5, 64, 130])
@pytest.mark.parametrize("width", [1, 2, 3, 8])
def test_equals_sorting_where_nothing_ties(labels, width):
    """Ties broken at random many times, each ranked by sorting."""
    data = problem(labels + width, width=width, labels=labels, items=2050 if labels == 5 else 40)
    found = hamming_ndcg(*data, ks=[10], threads=2)
    rng = np.random.default_rng(0)
    distances = np.unpackbits(data[0][:, None] ^ data[1][None], axis=-1).sum(axis=-1)
    grades = data[2].astype(int) @ data[3].astype(int).T
    draws = 3 if labels == 5 else 400
    for q in range(len(data[0])):
        if not grades[q].any():
            assert np.isnan(found.per_query[10][q])
            continue
        gains = gain_of(grades[q], "exponential")
        best = dcg(np.sort(gains)[::-1], 10)
        values = [
            dcg(gains[np.lexsort((rng.random(len(gains)), distances[q]))], 10) / best for _ in range(draws)
        ]
        spread = np.std(values) / np.sqrt(draws) * 5 + (0.35 if labels == 5 else 1e-9)
        assert found.per_query[10][q] == pytest.approx(np.mean(values), abs=spread)


def test_perfect_and_worst_orders():
    codes = np.arange(8, dtype=np.uint8)[:, None]
    codes = np.sort((1 << codes.astype(int)) - 1, axis=0).astype(np.uint8)  # 0, 1, 3, 7, …: distance 0 … 7
    labels = np.array([[i < 4, i < 2] for i in range(8)])
    query, zero = np.ones((1, 2), bool), np.zeros((1, 1), np.uint8)
    assert hamming_ndcg(zero, codes, query, labels).value[100] == pytest.approx(1)
    assert hamming_ndcg(zero, codes[::-1].copy(), query, labels, ks=[2]).value[2] == 0


def test_queries_without_a_shared_label():
    data = problem(3)
    data[2][2] = False
    skipped, zero = hamming_ndcg(*data), hamming_ndcg(*data, empty="zero")
    assert skipped.n_empty == 1 and np.isnan(skipped.per_query[100][2])
    assert zero.value[100] == pytest.approx(skipped.value[100] * 5 / 6)
    with pytest.raises(LimbeckError):
        hamming_ndcg(*data, empty="error")
    assert skipped.settings == {"gain": "exponential", "empty": "skip"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ks": []}, ("E-OPTION-RANGE", "ks")),
        ({"ks": [0]}, ("E-OPTION-RANGE", "ks")),
        ({"ks": [True]}, ("E-OPTION-RANGE", "ks")),
        ({"gain": "log"}, ("E-OPTION-CHOICE", "gain", "'log'")),
    ],
)
def test_bad_settings(settings, message):
    with raises_code(*message):
        hamming_ndcg(*problem(0), **settings)


def test_threads_do_not_matter():
    data = problem(5, queries=70, items=300)
    one, two = (hamming_ndcg(*data, threads=t).per_query[100] for t in (1, 3))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("gain", ["exponential", "linear"])
@pytest.mark.parametrize("seed", range(4))
def test_a_ranking_by_distance_is_that_of_the_codes(seed, gain):
    """Distances of 16 bits tie often, so both must spread ties alike."""
    queries, items, query_labels, item_labels = problem(seed)
    query_labels[0] = False
    distances = np.unpackbits(queries[:, None] ^ items[None], axis=-1).sum(axis=-1, dtype=int)
    grades = query_labels.astype(int) @ item_labels.astype(int).T
    ks = [1, 7, 50, 99]
    expected = hamming_ndcg(queries, items, query_labels, item_labels, ks=ks, gain=gain)
    found = ranking_ndcg(-distances, grades, ks=ks, gain=gain)
    assert found.n_empty == expected.n_empty >= 1
    for k in ks:
        np.testing.assert_allclose(found.per_query[k], expected.per_query[k], atol=1e-12)
        assert found.value[k] == pytest.approx(expected.value[k])


@pytest.mark.parametrize(
    ("similarity", "grades"),
    [(np.zeros((2, 3)), np.zeros((2, 2), int)), (np.full((1, 2), np.nan), np.ones((1, 2), int)), ([], [])],
)
def test_bad_rankings_are_refused(similarity, grades):
    with pytest.raises(LimbeckError, match="give equal shapes"):
        ranking_ndcg(similarity, grades)
