"""Histograms, precision-recall by radius, P@N."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from limbeck.metrics import distance_histograms, precision_recall
from raising import raises_code


def problem(seed: int, queries: int = 7, items: int = 60, width: int = 2, labels: int = 4):
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (queries, width), dtype=np.uint8),
        rng.integers(0, 256, (items, width), dtype=np.uint8),
        rng.random((queries, labels)) < 0.4,
        rng.random((items, labels)) < 0.3,
    )


def by_hand(queries, items, query_labels, item_labels):
    distances = np.unpackbits(queries[:, None] ^ items[None], axis=-1).sum(axis=-1)
    return distances, (query_labels[:, None] & item_labels[None]).any(axis=-1)


@pytest.mark.parametrize("labels", [1, 24, 64, 65, 200])
@pytest.mark.parametrize("items", [1, 2047, 2049, 5000])
def test_histograms_count(items, labels):
    data = problem(items, queries=20, items=items, width=3, labels=labels)
    counts, hits = distance_histograms(*data, threads=2)
    distances, relevant = by_hand(*data)
    for q in range(20):
        np.testing.assert_array_equal(counts[q], np.bincount(distances[q], minlength=25))
        np.testing.assert_array_equal(hits[q], np.bincount(distances[q][relevant[q]], minlength=25))


def test_curves_by_radius_against_the_definition():
    data = problem(0)
    data[2][3] = False  # a query without relevant items is left out
    curves = precision_recall(*data)
    distances, relevant = by_hand(*data)
    keep = relevant.any(axis=1)
    assert curves.n_empty == int((~keep).sum()) >= 1
    for radius in range(17):
        inside = distances[keep] <= radius
        hits, size = (inside & relevant[keep]).sum(axis=1), inside.sum(axis=1)
        share = np.where(size > 0, hits / np.maximum(size, 1), 0)
        assert curves.precision[radius] == pytest.approx(share.mean())
        assert curves.recall[radius] == pytest.approx((hits / relevant[keep].sum(axis=1)).mean())
        assert curves.answered[radius] == pytest.approx((size > 0).mean())
    assert curves.recall[-1] == curves.answered[-1] == 1 and (np.diff(curves.recall) >= 0).all()


def test_precision_at_n_is_the_mean_over_all_orders():
    rng = np.random.default_rng(1)
    items = rng.choice(np.array([0, 1, 2, 3], np.uint8), (6, 1))
    query, label, relevant = (
        np.zeros((1, 1), np.uint8),
        np.array([[True]]),
        np.array([1, 0, 1, 1, 0, 0], bool),
    )
    distances = np.unpackbits(items, axis=1).sum(axis=1)
    groups = [relevant[distances == d].tolist() for d in np.unique(distances)]
    ranked = [
        list(itertools.chain(*chosen))
        for chosen in itertools.product(*(itertools.permutations(group) for group in groups))
    ]
    curves = precision_recall(query, items, label, relevant[:, None], ns=[1, 2, 3, 5, 6, 50])
    assert curves.ns.tolist() == [1, 2, 3, 5, 6, 6]
    for n, precision, recall in zip(curves.ns, curves.precision_at, curves.recall_at, strict=True):
        hits = np.mean([sum(r[:n]) for r in ranked])
        assert precision == pytest.approx(hits / n) and recall == pytest.approx(hits / 3)


def test_errors():
    with raises_code("E-OPTION-RANGE", "ns:"):
        precision_recall(*problem(0), ns=[0])
    queries, items, query_labels, item_labels = problem(0)
    with raises_code("E-METRIC-UNDEFINED", "queries:"):
        precision_recall(queries, items, query_labels & False, item_labels)
