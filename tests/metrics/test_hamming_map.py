"""Mean average precision of codes, against every order of the ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tie_oracle import all_orders, average, average_precision, ordered

from limbeck.errors import LimbeckError
from limbeck.metrics import hamming_map
from raising import raises_code

NORMALIZERS = ("relevant", "min", "hits", "first_k")
TIES = ("expected", "optimistic", "pessimistic", "id")
SETTINGS = [(t, n) for t in TIES for n in NORMALIZERS if (t, n) != ("expected", "first_k")]


def problem(seed: int, queries: int, items: int, width: int, labels: int = 3, spread: int = 4):
    """Codes with many equal distances, and labels; few different codes, so that ties abound."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(0, 256, (spread, width), dtype=np.uint8)
    return (
        centres[rng.integers(0, spread, queries)],
        centres[rng.integers(0, spread, items)],
        rng.random((queries, labels)) < 0.5,
        rng.random((items, labels)) < 0.4,
    )


def by_hand(query_codes, item_codes, query_labels, item_labels):
    """Per query: distances (N,) and relevance (N,) as 0 and 1."""
    distances = np.unpackbits(query_codes[:, None] ^ item_codes[None], axis=-1).sum(axis=-1)
    relevance = (query_labels[:, None] & item_labels[None]).any(axis=-1).astype(int)
    return zip(distances, relevance, strict=True)


def oracle(distances, relevance, k, ties, normalizer) -> float:
    places = k or len(relevance)
    if ties != "expected":
        return average_precision(ordered(distances, relevance, ties), places, normalizer)
    return average(average_precision(r, places, normalizer) for r in all_orders(distances, relevance))


@pytest.mark.parametrize(("ties", "normalizer"), SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_every_rule_equals_the_mean_over_all_orders(seed, ties, normalizer):
    data = problem(seed, queries=4, items=6, width=1)
    for k in (1, 2, 3, 4, 6, 9, None):
        got = hamming_map(*data, k=k, ties=ties, normalizer=normalizer, empty="zero").per_query
        wanted = [oracle(d, r, k, ties, normalizer) for d, r in by_hand(*data)]
        np.testing.assert_allclose(got, np.nan_to_num(wanted), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ties", "normalizer"), [s for s in SETTINGS if s[0] != "expected"])
@pytest.mark.parametrize("width", [2, 3, 8, 16])
def test_fixed_orders_at_every_length_over_several_chunks(width, ties, normalizer):
    data = problem(width, queries=20, items=4500, width=width, labels=70, spread=60)
    for k in (100, 4000, None):
        got = hamming_map(*data, k=k, ties=ties, normalizer=normalizer, threads=2).per_query[:3]
        for value, (distances, relevance) in zip(
            got, by_hand(*(x[:3] if len(x) == 20 else x for x in data)), strict=True
        ):
            assert value == pytest.approx(fast_oracle(distances, relevance, k, ties, normalizer), abs=1e-10)


def fast_oracle(distances, relevance, k, ties, normalizer) -> float:
    ranked = np.array(ordered(distances, relevance, ties))
    places, total = k or len(ranked), ranked.sum()
    precisions = (np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked == 1]
    inside = ranked[:places].sum()
    if normalizer == "first_k":
        return precisions[: min(places, total)].mean()
    return (
        precisions[:inside].sum() / {"relevant": total, "min": min(places, total), "hits": inside}[normalizer]
    )


@pytest.mark.parametrize("normalizer", ["relevant", "min", "hits"])
def test_expectation_of_large_groups_against_random_orders(normalizer):
    data = problem(11, queries=1, items=3000, width=2, spread=5)
    (distances, relevance), rng = next(by_hand(*data)), np.random.default_rng(0)
    draws = []
    for _ in range(400):
        mixed = rng.permutation(len(relevance))
        draws.append(fast_oracle(distances[mixed], relevance[mixed], 700, "id", normalizer))
    got = hamming_map(*data, k=700, normalizer=normalizer).value
    assert abs(got - np.mean(draws)) < 5 * np.std(draws) / 20


codes_and_mask = st.tuples(
    hnp.arrays(np.uint8, (2, 2), elements=st.integers(0, 3)),
    hnp.arrays(np.uint8, (9, 2), elements=st.integers(0, 3)),
    hnp.arrays(bool, (2, 3)),
    hnp.arrays(bool, (9, 3)),
    hnp.arrays(np.uint8, (2,)),
    st.permutations(range(9)),
    st.sampled_from(SETTINGS),
    st.integers(1, 10),
)


@settings(deadline=None, max_examples=80)
@given(codes_and_mask)
def test_invariances(drawn):
    queries, items, query_labels, item_labels, mask, order, (ties, normalizer), k = drawn
    kwargs = {"k": k, "ties": ties, "normalizer": normalizer, "empty": "zero"}
    base = hamming_map(queries, items, query_labels, item_labels, **kwargs)
    masked = hamming_map(queries ^ mask, items ^ mask, query_labels, item_labels, **kwargs)
    np.testing.assert_array_equal(masked.per_query, base.per_query)
    twice = hamming_map(np.tile(queries, 2), np.tile(items, 2), query_labels, item_labels, **kwargs)
    np.testing.assert_allclose(twice.per_query, base.per_query, rtol=0, atol=1e-12)
    if ties != "id":
        mixed = hamming_map(queries, items[list(order)], query_labels, item_labels[list(order)], **kwargs)
        np.testing.assert_array_equal(mixed.per_query, base.per_query)
    assert ((base.per_query >= 0) & (base.per_query <= 1 + 1e-12)).all()


@settings(deadline=None, max_examples=50)
@given(codes_and_mask)
def test_order_of_the_tie_rules(drawn):
    *data, _, _, _, k = drawn
    worst, middle, rows, best = (
        hamming_map(*data, k=k, ties=ties, empty="zero").per_query
        for ties in ("pessimistic", "expected", "id", "optimistic")
    )
    assert (worst <= middle + 1e-12).all() and (middle <= best + 1e-12).all()
    assert (worst <= rows + 1e-12).all() and (rows <= best + 1e-12).all()


@pytest.mark.parametrize(("ties", "normalizer"), SETTINGS)
def test_k_beyond_the_items_is_all_of_them(ties, normalizer):
    data = problem(3, queries=5, items=40, width=1)
    kwargs = {"ties": ties, "normalizer": normalizer}
    assert hamming_map(*data, k=1000, **kwargs).value == hamming_map(*data, **kwargs).value


def test_result_does_not_depend_on_threads_or_label_words():
    queries, items, query_labels, item_labels = problem(4, queries=50, items=3000, width=8, spread=200)
    one = hamming_map(queries, items, query_labels, item_labels, threads=1)
    padding = np.zeros((len(queries), 100), bool), np.zeros((len(items), 100), bool)
    for threads in (2, 3, None):
        other = hamming_map(
            queries,
            items,
            np.hstack([padding[0], query_labels]),
            np.hstack([padding[1], item_labels]),
            threads=threads,
        )
        np.testing.assert_array_equal(one.per_query, other.per_query)


def test_perfect_and_known_values():
    codes = np.array([[0], [1], [3]], np.uint8)  # distances 0, 1, 2 from the query
    query, label = np.array([[0]], np.uint8), np.array([[True]])
    assert hamming_map(query, codes, label, np.array([[1], [1], [0]])).value == 1
    assert hamming_map(query, codes, label, np.array([[0], [1], [1]])).value == pytest.approx(
        (1 / 2 + 2 / 3) / 2
    )
    same = np.zeros((4, 1), np.uint8)  # one relevant item among four equal codes: mean of 1, 1/2, 1/3, 1/4
    assert hamming_map(query, same, label, np.array([[0], [1], [0], [0]])).value == pytest.approx(25 / 48)


def test_queries_without_relevant_items():
    queries, items = np.zeros((3, 1), np.uint8), np.zeros((2, 1), np.uint8)
    item_labels, query_labels = np.array([[1, 0], [1, 0]]), np.array([[1, 0], [0, 1], [1, 1]])
    skipped = hamming_map(queries, items, query_labels, item_labels)
    assert (
        skipped.value == 1
        and skipped.n_empty == 1
        and np.isnan(skipped.per_query).tolist() == [False, True, False]
    )
    zero = hamming_map(queries, items, query_labels, item_labels, empty="zero")
    assert zero.value == pytest.approx(2 / 3) and zero.n_empty == 1 and zero.per_query.tolist() == [1, 0, 1]
    with raises_code("E-METRIC-UNDEFINED", "row 1"):
        hamming_map(queries, items, query_labels, item_labels, empty="error")
    with raises_code("E-METRIC-UNDEFINED", "queries:"):
        hamming_map(queries, items, np.zeros((3, 2), bool), item_labels)
    assert hamming_map(queries, items, np.zeros((3, 2), bool), item_labels, empty="zero").value == 0


def test_settings_are_recorded():
    result = hamming_map(*problem(0, 2, 9, 1), k=3, ties="id", normalizer="hits", empty="zero")
    assert result.settings == {"k": 3, "ties": "id", "normalizer": "hits", "empty": "zero"}
    assert isinstance(result.value, float) and result.per_query.dtype == np.float64


CODES, LABELS = np.zeros((2, 2), np.uint8), np.ones((2, 3), bool)


@pytest.mark.parametrize(
    ("arrays", "kwargs", "message"),
    [
        ((CODES, CODES, LABELS, LABELS), {"k": 0}, "k: 0"),
        ((CODES, CODES, LABELS, LABELS), {"k": -5}, "k: -5"),
        ((CODES, CODES, LABELS, LABELS), {"k": 2.5}, "k: 2.5"),
        (
            (CODES, CODES, LABELS, LABELS),
            {"ties": "random"},
            "ties: 'random' is unknown; choose from expected",
        ),
        ((CODES, CODES, LABELS, LABELS), {"normalizer": "x"}, "normalizer"),
        ((CODES, CODES, LABELS, LABELS), {"empty": "x"}, "empty"),
        ((CODES, CODES, LABELS, LABELS), {"normalizer": "first_k"}, "not defined"),
        ((CODES, CODES, LABELS, LABELS), {"threads": 0}, "threads"),
        ((CODES.astype(float), CODES, LABELS, LABELS), {}, "queries: holds float64"),
        ((CODES, CODES[:, :1], LABELS, LABELS), {}, "16-bit codes"),
        ((CODES, CODES, LABELS[:1], LABELS), {}, "query_labels: has 1 rows for 2"),
        ((CODES, CODES, LABELS, LABELS[:, :2]), {}, "3 labels, but item_labels has 2"),
        ((CODES, CODES, LABELS, LABELS * 2), {}, "item_labels: holds values other than 0 and 1"),
        ((CODES, CODES, LABELS[:, :0], LABELS[:, :0]), {}, "expected"),
        ((CODES[:0], CODES, LABELS[:0], LABELS), {}, "give at least one of each"),
    ],
)
def test_errors(arrays, kwargs, message):
    with pytest.raises(LimbeckError, match=message) as caught:
        hamming_map(*arrays, **kwargs)
    assert "\n" not in str(caught.value)
