"""Exact search against sorting everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limbeck.index import exact
from limbeck.index.exact import search_codes, search_radius, search_vectors
from raising import raises_code


@pytest.fixture
def always_share(monkeypatch):
    """Share out even small searches, as large ones are."""
    monkeypatch.setattr(exact, "WORTH_A_THREAD", 1)


def few_values(seed: int, count: int, width: int) -> np.ndarray:
    """Codes with few distinct distances, so that ties abound."""
    return np.random.default_rng(seed).integers(0, 4, (count, width), dtype=np.uint8)


def naive(queries, items, k, mask=None):
    rows = np.arange(len(items)) if mask is None else np.flatnonzero(mask)
    distances = np.unpackbits(queries[:, None] ^ items[None, rows], axis=-1).sum(axis=-1)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(distances, order, axis=1), rows[order]


def assert_same(got, want) -> None:
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


@pytest.mark.parametrize("width", [1, 2, 3, 4, 8, 12, 16, 24, 32, 64])
def test_every_length_number_of_threads_and_mask(width, always_share):
    for count, asked in ((1, 2), (300, 33), (1500, 6), (5000, 2)):  # 6 share a slice, 2 do not
        items, queries = few_values(width, count, width), few_values(width + 1, asked, width)
        rng = np.random.default_rng(0)
        for mask, k in itertools.product(
            (None, rng.random(count) < 0.5, rng.random(count) < 0.02), (1, 10, 6000)
        ):
            want = naive(queries, items, k, mask)
            for threads in (1, 2):
                got = search_codes(queries, items, k, mask=mask, threads=threads)
                assert got[0].dtype == np.int32 and got[1].dtype == np.int64
                assert_same(got, want)


@pytest.mark.parametrize(
    ("width", "bits"), [(1, 3), (2, 16), (3, 7), (8, 1), (8, 16), (8, 63), (16, 65), (12, 50)]
)
def test_a_prefix_is_compared_inside_the_kernel(width, bits, always_share):
    items, queries = few_values(width, 5000, width), few_values(width + 1, 3, width)
    cut = np.packbits(np.arange(8 * width) < bits)
    mask = np.random.default_rng(0).random(5000) < 0.5
    for allowed, threads in itertools.product((None, mask), (1, 2)):
        want = naive(queries & cut, items & cut, 50, allowed)
        assert_same(search_codes(queries, items, 50, mask=allowed, threads=threads, bits=bits), want)
        within = search_radius(queries, items, 1, mask=allowed, threads=threads, bits=bits)
        for got, plain in zip(
            within, search_radius(queries & cut, items & cut, 1, mask=allowed), strict=True
        ):
            assert_same(got, plain)
    few = np.arange(5000) % 100 == 0
    assert_same(
        search_codes(queries, items, 5, mask=few, bits=bits), naive(queries & cut, items & cut, 5, few)
    )
    assert_same(search_codes(queries, items, 9, bits=8 * width), search_codes(queries, items, 9))
    for wrong in (0, 8 * width + 1, 2.0, True):
        with raises_code("E-OPTION-RANGE", "bits:"):
            search_codes(queries, items, 5, bits=wrong)


@pytest.mark.parametrize("order", ["falling", "rising", "equal"])
@pytest.mark.parametrize("k", [1, 7, 700])
def test_orders_that_are_hard_for_a_running_limit(order, k, always_share):
    ones = {"falling": np.arange(6000)[::-1], "rising": np.arange(6000), "equal": np.full(6000, 9)}[
        order
    ] % 65
    items = np.packbits(np.arange(64) < ones[:, None], axis=1)
    for threads in (1, 3):
        assert_same(search_codes(items[:2], items, k, threads=threads), naive(items[:2], items, k))


drawn_codes = st.tuples(
    hnp.arrays(np.uint8, (2, 4), elements=st.integers(0, 7)),
    hnp.arrays(np.uint8, (30, 4), elements=st.integers(0, 7)),
    hnp.arrays(np.uint8, (4,)),
    hnp.arrays(bool, (30,)),
    st.integers(1, 35),
    st.integers(0, 33),
)


@settings(deadline=None, max_examples=60)
@given(drawn_codes)
def test_properties(drawn):
    queries, items, flip, mask, k, radius = drawn
    distances, rows = search_codes(queries, items, k)
    assert_same(search_codes(queries ^ flip, items ^ flip, k), (distances, rows))
    assert_same(
        search_codes(queries, items, 1), (distances[:, :1], rows[:, :1])
    )  # a prefix of a longer answer
    assert_same(
        search_codes(np.repeat(queries, 2, axis=1), np.repeat(items, 2, axis=1), k), (2 * distances, rows)
    )
    assert_same(search_codes(queries, items, k, mask=mask), naive(queries, items, k, mask))
    everything = search_codes(queries, items, 30)
    for q, (near, near_rows) in enumerate(search_radius(queries, items, radius)):
        inside = everything[0][q] <= radius
        assert_same((near, near_rows), (everything[0][q][inside], everything[1][q][inside]))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("width", [2, 8, 12])
def test_radius_over_several_slices(width, threads):
    items, queries = few_values(0, 9000, width), few_values(1, 2, width)
    mask = np.random.default_rng(2).random(9000) < 0.3
    for radius, allowed in itertools.product((0, 1, 5, 10_000), (None, mask)):
        found = search_radius(queries, items, radius, mask=allowed, threads=threads)
        for query, got in zip(queries, found, strict=True):
            distances, rows = naive(query[None], items, 9000, allowed)
            inside = distances[0] <= radius
            assert got[0].dtype == np.int32 and got[1].dtype == np.int64
            assert_same(got, (distances[0][inside], rows[0][inside]))


def test_memory_map_strided_and_unaligned_items(tmp_path):
    items, queries = few_values(0, 5000, 8), few_values(1, 3, 8)
    np.save(tmp_path / "points.npy", items)
    mapped = np.load(tmp_path / "points.npy", mmap_mode="r")
    shifted = np.frombuffer(b"\0" + items.tobytes(), dtype=np.uint8)[1:].reshape(-1, 8)
    strided = np.hstack([items, items])[:, :8]
    want = naive(queries, items, 20)
    for version in (mapped, shifted, strided):
        assert_same(search_codes(queries, version, 20), want)


def test_prefix_of_codes_is_their_search():
    items, queries = few_values(3, 400, 8), few_values(4, 3, 8)
    assert_same(search_codes(queries[:, :2], items[:, :2], 50), naive(queries[:, :2], items[:, :2], 50))


def test_nothing_to_find_and_nobody_asking():
    items, queries = few_values(0, 50, 8), few_values(1, 3, 8)
    for got in (
        search_codes(queries, items[:0], 5),
        search_codes(queries, items, 5, mask=np.zeros(50, bool)),
        search_vectors(np.ones((3, 2)), np.ones((0, 2)), 5),
        search_vectors(np.ones((3, 2)), np.ones((4, 2)), 5, mask=np.zeros(4, bool)),
    ):
        assert got[0].shape == got[1].shape == (3, 0)
    assert search_codes(queries[:0], items, 5)[1].shape == (0, 5)
    assert search_vectors(np.ones((0, 2)), np.ones((4, 2)), 5)[1].shape == (0, 4)
    assert search_radius(queries[:0], items, 5) == []
    assert [len(rows) for _, rows in search_radius(queries, items[:0], 5)] == [0, 0, 0]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("asked", [1, 3, 70])
def test_vectors_with_ties_in_whole_numbers(asked, threads, always_share):
    rng = np.random.default_rng(asked)
    items, queries = (rng.integers(-2, 3, (n, 7)).astype(np.float32) for n in (1500, asked))
    scores = queries @ items.T  # whole numbers: exact in any order of summation
    for mask, k in itertools.product((None, rng.random(1500) < 0.4), (1, 10, 2000)):
        rows = np.arange(1500) if mask is None else np.flatnonzero(mask)
        order = np.argsort(-scores[:, rows], axis=1, kind="stable")[:, :k]
        got = search_vectors(queries, items, k, mask=mask, threads=threads)
        assert got[0].dtype == np.float32 and got[1].dtype == np.int64
        assert_same(got, (np.take_along_axis(scores[:, rows], order, axis=1), rows[order]))


@pytest.mark.parametrize("dim", [1, 17, 64, 300])
def test_equal_vectors_tie_wherever_they_stand_and_whoever_asks(dim, always_share):
    rng = np.random.default_rng(dim)
    distinct = rng.standard_normal((40, dim)).astype(np.float32)
    items, queries = distinct[rng.integers(0, 40, 3000)], rng.standard_normal((9, dim)).astype(np.float32)
    scores, rows = search_vectors(queries, items, 3000, threads=2)
    np.testing.assert_allclose(
        scores, np.sort(queries.astype(float) @ items.T)[:, ::-1], rtol=1e-4, atol=1e-4
    )
    assert all(len(set(s)) <= 40 for s in scores.tolist())
    assert ((np.diff(scores) < 0) | (np.diff(rows) > 0)).all(), "ties in row order"
    for q in range(9):
        assert_same(
            search_vectors(queries[q : q + 1], items, 3000, threads=1), (scores[q : q + 1], rows[q : q + 1])
        )


def test_vectors_of_other_precision_and_infinite_scores():
    items = np.array([[1, 0], [3e38, 3e38], [-3e38, -3e38]], np.float64)
    scores, rows = search_vectors(np.array([[1, 1]], np.float16), items, 3)
    assert rows.tolist() == [[1, 0, 2]] and scores.tolist() == [[np.inf, 1, -np.inf]]


CODES = np.zeros((2, 8), np.uint8)
VECTORS = np.ones((2, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: search_codes(CODES, CODES, 0), ("E-OPTION-RANGE", "k: 0")),
        (lambda: search_codes(CODES, CODES, -1), ("E-OPTION-RANGE", "k: -1")),
        (lambda: search_codes(CODES, CODES, 1.0), ("E-OPTION-RANGE", "1.0")),
        (lambda: search_codes(CODES[0], CODES, 1), ("E-ARRAY-SHAPE", "queries")),
        (lambda: search_codes(CODES[:, :4], CODES, 1), ("E-CODES-LENGTH", "32-bit")),
        (lambda: search_codes(CODES, CODES.astype(int), 1), ("E-CODES-FORM", "items", "int64")),
        (lambda: search_codes(CODES, CODES, 1, mask=[True]), ("E-ARRAY-SHAPE", "mask:")),
        (lambda: search_codes(CODES, CODES, 1, mask=np.ones(2)), ("E-ARRAY-SHAPE", "mask")),
        (lambda: search_codes(CODES, CODES, 1, threads=0), ("E-OPTION-RANGE", "threads:")),
        (lambda: search_radius(CODES, CODES, -1), ("E-OPTION-RANGE", "radius: -1")),
        (lambda: search_radius(CODES, CODES, 0.5), ("E-OPTION-RANGE", "radius", "0.5")),
        (lambda: search_vectors(VECTORS, VECTORS, 0), ("E-OPTION-RANGE", "k: 0")),
        (lambda: search_vectors(VECTORS, VECTORS[:, :2], 1), ("E-ARRAY-SHAPE", "width 4", "width 2")),
        (lambda: search_vectors(VECTORS * np.nan, VECTORS, 1), ("E-ARRAY-VALUES", "queries", "NaN")),
        (
            lambda: search_vectors(VECTORS, VECTORS * np.array([[1], [np.nan]]), 1),
            ("E-ARRAY-VALUES", "items", "row 1", "NaN"),
        ),
        (lambda: search_vectors(VECTORS.astype(int), VECTORS, 1), ("E-ARRAY-SHAPE", "queries", "int64")),
        (lambda: search_vectors(VECTORS, CODES, 1), ("E-ARRAY-SHAPE", "items", "uint8")),
    ],
)
def test_errors(call, message):
    with raises_code(*message) as caught:
        call()
    assert "\n" not in str(caught.value)
