"""Filters: the language against plain Python, and searches under a filter against filter-then-search."""

from __future__ import annotations

import datetime
import fnmatch
import operator
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from helpers_index import SPACES, build_parts, points_of
from hypothesis import given, settings
from hypothesis import strategies as st

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index.filter_parser import Where
from limbeck.index.query import ExactSearch
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.spaces import Euclid
from raising import raises_code

LABELS = ["sky", "sea", "it's", "50%_\\"]
ROWS = [
    {
        "id": f"id-{i}",
        "path": None if i % 5 == 0 else f"{'ab'[i % 2]}/sub_{i % 3}/{i}%.jpg",
        "labels": None if i % 7 == 0 else [LABELS[j] for j in range(4) if i >> j & 1],
        "width": None if i % 4 == 3 else 100 * (i % 6),
        "score": None if i % 6 == 5 else i / 8,
        "kept": None if i % 9 == 0 else i % 2 == 0,
    }
    for i in range(60)
]
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("labels", pa.list_(pa.string())),
        ("width", pa.int16()),
        ("score", pa.float32()),
        ("kept", pa.bool_()),
    ]
)
TABLE = pa.Table.from_pylist(ROWS, SCHEMA)
ORDER = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def holds(column, test):
    """A test of one column that a missing value fails."""
    return lambda row: row[column] is not None and test(row[column])


LEAVES = [
    *[
        (f"{column} {sign} {value}", holds(column, lambda found, f=f, v=value: f(found, v)))
        for sign, f in ORDER.items()
        for column, value in (
            ("width", 300),
            ("width", 250.5),
            ("width", 99999),
            ("score", 2.5),
            ("score", 3),
        )
    ],
    *[
        (f"path {sign} 'a/sub_0/'", holds("path", lambda x, f=f: f(x, "a/sub_0/")))
        for sign, f in ORDER.items()
    ],
    *[(f"labels has {quoted(name)}", holds("labels", lambda x, n=name: n in x)) for name in LABELS],
    ("labels HAS (sky, sea)", holds("labels", lambda x: "sky" in x or "sea" in x)),
    ("id in (id-3)".replace("id-3", "'id-3', nobody"), holds("id", lambda x: x == "id-3")),
    ("width in (100, 2.5, 300.0, 1e9)", holds("width", lambda x: x in (100, 300))),
    *[
        (f"path like {quoted(glob)}", holds("path", lambda x, g=glob: fnmatch.fnmatchcase(x, g)))
        for glob in ("a/*", "*/sub_1/*", "*%.jpg", "?/sub_2/*", "b", "*", "*_1*")
    ],
    ("path startswith 'a/sub_'", holds("path", lambda x: x.startswith("a/sub_"))),
    ("kept = true", holds("kept", lambda x: x)),
    ("path is null", lambda row: row["path"] is None),
    ("labels is not null", lambda row: row["labels"] is not None),
]
TREES = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        inner.map(lambda one: (f"not ({one[0]})", lambda row: not one[1](row))),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]}) and ({two[1][0]})", lambda row: two[0][1](row) and two[1][1](row))
        ),
        st.tuples(inner, inner).map(
            lambda two: (f"({two[0][0]}) or ({two[1][0]})", lambda row: two[0][1](row) or two[1][1](row))
        ),
    ),
    max_leaves=5,
)


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: leaf[0])
def test_every_test_means_what_it_says(leaf):
    for table in (TABLE, TABLE.slice(13, 30), pa.concat_tables([TABLE.slice(7, 9), TABLE.slice(0, 3)])):
        assert Where(leaf[0], SCHEMA).mask(table).tolist() == [leaf[1](row) for row in table.to_pylist()]


@settings(max_examples=100, deadline=None)
@given(TREES)
def test_any_tree_of_them_too(tree):
    assert Where(tree[0], SCHEMA).mask(TABLE).tolist() == [bool(tree[1](row)) for row in ROWS]


def test_a_long_flat_filter_is_no_deep_one():
    assert Where(" or ".join(["width=100"] * 700), SCHEMA).mask(TABLE).sum() == 5


def test_and_binds_closer_than_or_and_words_need_no_quotes():
    left = Where("width = 100 or width = 200 and labels has sky", SCHEMA).mask(TABLE)
    right = Where("width = 100 or (width = 200 and labels has 'sky')", SCHEMA).mask(TABLE)
    assert np.array_equal(left, right) and left.any()
    assert (
        Where("not not kept = true", SCHEMA).mask(TABLE).sum() == Where("kept=true", SCHEMA).mask(TABLE).sum()
    )


def test_further_types_and_odd_names():
    days = [datetime.date(2020, 1, day) for day in (1, 2, 3)]
    table = pa.table({"a day": days, "and": [1, 2, 3], "big": pa.array([1, 2**63, 2**64 - 1], pa.uint64())})
    assert Where("`a day` >= '2020-01-02'", table.schema).mask(table).tolist() == [False, True, True]
    assert Where("`and` = 2", table.schema).mask(table).tolist() == [False, True, False]
    assert Where(f"big > {2**63}", table.schema).mask(table).tolist() == [False, False, True]
    assert Where("`and` = 1", table.slice(0, 0).schema).mask(table.slice(0, 0)).shape == (0,)
    with raises_code("E-FILTER-TYPE", "'soon'"):
        Where("`a day` > soon", table.schema)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the filter is empty; write"),
        ("lables has sky", "no column 'lables'; did you mean 'labels'"),
        ("zzz = 1", "no column 'zzz'; choose from id, path, labels"),
        ("width > wide", "'width' holds int16, not 'wide'"),
        ("width = true", "'width' holds int16, not True"),
        ("path = 3", "'path' holds string, not 3; write text in 'quotes'"),
        ("path like 3", "like needs text, not 3"),
        ("width like 'a'", "'width' holds int16, not text"),
        ("labels = sky", "'labels' holds lists; write labels has VALUE"),
        ("path has sky", "'path' holds one value per row; write path = VALUE"),
        ("width >", "expected a value .* found the end"),
        ("width 3", "expected one of = .* after 'width', found '3' at character 7"),
        ("width > 3 width < 5", "expected and, or, or the end, found 'width' at character 11"),
        ("(width > 3", r"expected '\)', found the end"),
        ("path is 3", "expected 'null', found '3'"),
        ("width = 3; drop", "cannot read '; drop'"),
        ("width = 3abc", "cannot read '3abc'"),
        ("__import__('os').system('x') = 1", "cannot read"),
        ("__import__ ('os') = 1", "no column '__import__'"),
        ("width = 99999999999999999999", "99999999999999999999 is outside the range of every column"),
        ("width = " + "9" * 5000, "999999999999999999999999 is outside the range of every column"),
        ("score < 1e400", "1e400 is outside the range of every column"),
        ("path = '" + "x" * 200 + "' or width = '" + "x" * 200 + "'", "not 'xxx"),
        ("not " * 60 + "width = 3", "more than 50 levels of brackets"),
        ("width = 3 or " * 1000 + "width = 3", "exceed the limit of 10000"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(text, message):
    with pytest.raises(LimbeckError, match=f"where: .*{message}") as caught:
        Where(text, SCHEMA)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------- searches under a filter
@pytest.fixture(scope="module", params=[*SPACES, Euclid(4)], ids=str)
def store(request, tmp_path_factory):
    space = request.param
    points = points_of(space, 300)
    points[200:240] = points[:40]  # many ties
    parts = [
        [(points[a:b], {"id": [f"id-{i}" for i in range(a, b)], "n": range(a, b), "m": np.arange(a, b) % 5})]
        for a, b in ((0, 90), (90, 91), (91, 300))
    ]
    path = tmp_path_factory.mktemp("where") / "i"
    commit(path, parts, StoreMeta(space))
    return IndexStore.open(path)


def oracle(space, queries, points, rows):
    """All allowed rows of each query, nearest first by float64 score, ties by row."""
    found = []
    for query in queries:
        scores = space.rescore(query[None], points[rows])
        order = np.lexsort((rows, -space.score_sign * scores))
        found.append((scores[order], rows[order]))
    return found


@pytest.mark.parametrize(
    "where", ["n < 300", "m = 3", "n >= 150 and m != 0", "n = 77", "n in (3, 90, 240)", "n < 0"]
)
def test_a_filtered_search_is_filter_then_search(store, where):
    points, queries = np.concatenate(store.points), points_of(store.space, 6, seed=3)
    search, mask = ExactSearch(store), store.where(where)
    wanted = oracle(store.space, queries, points, np.flatnonzero(mask))
    for k in (1, 10, 400):
        scores, rows = search(queries, k, mask)
        assert scores.shape == (6, min(k, mask.sum()))
        for q in range(6):
            assert np.array_equal(rows[q], wanted[q][1][:k])
            assert np.array_equal(scores[q], wanted[q][0][:k])


@pytest.mark.parametrize("where", [None, "m = 3"])
def test_a_radius_gives_everything_within(store, where):
    points, queries = np.concatenate(store.points), points_of(store.space, 4, seed=4)
    mask = None if where is None else store.where(where)
    wanted = oracle(store.space, queries, points, np.arange(300) if mask is None else np.flatnonzero(mask))
    search, sign = ExactSearch(store), store.space.score_sign
    some = float(wanted[0][0][min(7, len(wanted[0][0]) - 1)])  # exactly the score of an item: it is within
    limits = [some, float(wanted[0][0][0])] + ([0.0, 1e6] if sign < 0 else [-1.0, 1.5])
    for limit in limits:
        for (scores, rows), (all_scores, all_rows) in zip(
            search.range_search(queries, limit, mask), wanted, strict=True
        ):
            kept = sign * all_scores >= sign * limit
            assert np.array_equal(rows, all_rows[kept]) and np.array_equal(scores, all_scores[kept])


@pytest.mark.parametrize("radius", [-1, float("nan"), float("inf"), "3", True, None])
def test_a_radius_that_is_none(tmp_path, radius):
    for number, space in enumerate(SPACES):
        store = build_parts(tmp_path / str(number), points_of(space, 5), [], space)
        if (space.score_name == "similarity" and radius == -1) or radius is None:
            continue
        with raises_code("E-OPTION-RANGE", "radius:"):
            ExactSearch(store).range_search(points_of(space, 1), radius)
    with raises_code("E-OPTION-RANGE", "radius:"):
        ExactSearch(build_parts(tmp_path / "c", points_of(SPACES[0], 5), [], SPACES[0])).range_search(
            points_of(SPACES[0], 1), 2.5
        )


def test_through_the_index(store):
    index = limbeck.Index.open(store.path)
    point = store.point(10)
    hits = index.search(points=point, k=5, where="m = 3 and n < 200")
    assert len(hits) == 5 and all(hit.metadata["m"] == 3 and hit.metadata["n"] < 200 for hit in hits)
    same = index.search(like="id-10", k=4, where="n in (10, 11, 12)")
    assert [hit.metadata["n"] for hit in same if hit.metadata["n"] == 10] == [] and len(same) == 2
    assert len(index.search(points=point, where="m = 3")) == 10
    limit = hits[-1].score
    near = index.search(points=point, radius=limit, where="m = 3 and n < 200")
    assert [hit.row for hit in near][:5] == [hit.row for hit in hits]
    assert len(index.search(points=point, k=2, radius=limit, where="m = 3 and n < 200")) == 2
    assert "id-210" in {
        hit.id for hit in index.search(like="id-10", radius=index.search(like="id-10", k=1)[0].score)
    }
    assert np.array_equal(
        index.search_points(point, 3, where="m = 3")[1][0],
        [h.row for h in index.search(points=point, k=3, where="m = 3")],
    )
    with raises_code("E-FILTER-COLUMN", "where:"):
        index.search(points=point, where="mm = 3")


WIDE = pa.table(
    {
        "half": pa.array([0.1, 2.0, None, -0.0], pa.float16()),
        "float": pa.array([0.1, float("inf"), float("nan"), -0.0], pa.float32()),
        "whole": pa.array([-(2**63), 2**53 + 1, None, 2**63 - 1], pa.int64()),
        "huge": pa.array([0, 2**63, None, 2**64 - 1], pa.uint64()),
        "vector": pa.array([[1.0, 2.0]] * 4, pa.list_(pa.float32(), 2)),
    }
)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("half = 0.1", [0]),
        ("half in (0.1, 2)", [0, 1]),
        ("half < 2", [0, 3]),
        ("float = 0.1", [0]),
        ("float in (0)", [3]),
        ("float <= 1e308", [0, 3]),  # infinity, which 1e308 would be in single precision, is larger
        ("float > 1e308", [1]),
        ("whole = 9007199254740993", [1]),  # no double
        ("whole = 9007199254740992", []),
        ("whole > 9007199254740992.0", [1, 3]),
        ("whole != 0.5", [0, 1, 3]),
        ("whole < 1e300", [0, 1, 3]),
        ("whole >= 18446744073709551615", []),
        ("whole >= -9223372036854775808", [0, 1, 3]),
        ("whole in (9223372036854775808, 9223372036854775807, 0.5)", [3]),
        ("huge > -1", [0, 1, 3]),
        ("huge = -1", []),
        ("huge = 18446744073709551615", [3]),
        ("huge in (-1, 0, 9223372036854775808)", [0, 1]),
        ("vector is not null", [0, 1, 2, 3]),
    ],
)
def test_numbers_at_the_ends_of_their_types(text, rows):
    assert np.flatnonzero(Where(text, WIDE.schema).mask(WIDE)).tolist() == rows


def test_vectors_and_surrogates_are_refused():
    with raises_code("E-FILTER-TYPE", "'vector'", "fixed_size_list", "'is null'"):
        Where("vector has 1", WIDE.schema)
    with raises_code("E-FILTER-VALUE", "where:"):
        Where("path = '\ud800'", SCHEMA)


DECIMALS = [Decimal("1.5"), Decimal("-2.0"), None, Decimal("9.9"), Decimal("0.0")]
LONG = [Decimal(f"{10**40 + i}.123") for i in range(5)]
TYPED = pa.table(
    {
        "dec": pa.array(DECIMALS, pa.decimal128(2, 1)),
        "long": pa.array(LONG, pa.decimal256(50, 3)),
        "hundreds": pa.array([Decimal("1E+2"), Decimal("2E+2")] * 2 + [None], pa.decimal128(3, -2)),
        "narrow": pa.array(DECIMALS, getattr(pa, "decimal32", pa.decimal128)(2, 1)),
        "some": pa.array([[value] for value in DECIMALS], pa.list_(pa.decimal128(2, 1))),
        "took": pa.array([1, 2, 3, 4, 5], pa.duration("s")),
        "clock": pa.array([1, 2, 3, 4, 5], pa.time32("s")),
        "seen": pa.array([1, 2, 3, 4, 5], pa.timestamp("s", tz="UTC")),
        "day": pa.array([1, 2, 3, 4, 5], pa.date32()),
    }
)


@pytest.mark.parametrize("verb", ORDER)
@pytest.mark.parametrize(
    "number", ["1.5", "1.50", "-2", "1.55", "-2.01", "99", "-99", "1e300", "1e-300", "0e-9999"]
)
def test_decimals_are_compared_exactly(verb, number):
    wanted = [value is not None and ORDER[verb](value, Decimal(number)) for value in DECIMALS]
    assert Where(f"dec {verb} {number}", TYPED.schema).mask(TYPED).tolist() == wanted


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("dec in (1.5, 1.55, 9.9, 1e9)", [0, 3]),
        ("narrow in (1.5, 9.9) and narrow > 2", [3]),
        ("some has (1.5, 0)", [0, 4]),
        (f"long = {10**40 + 3}.123", [3]),  # a float would take them all for the same
        (f"long > {10**40 + 3}.1229", [3, 4]),
        (f"long in ({10**40}.123, {10**40 + 1}.1230001)", [0]),
        ("hundreds is null", [4]),
        ("seen >= '1970-01-01 00:00:04Z'", [3, 4]),
        ("took is not null and day = '1970-01-03'", [1]),
    ],
)
def test_decimals_and_times_find_their_rows(text, rows):
    assert np.flatnonzero(Where(text, TYPED.schema).mask(TYPED)).tolist() == rows


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dec = '1.5'", "'dec' holds decimal128(2, 1), not '1.5'; write a number such as 1.5"),
        ("dec = 1e-999999999", "1e-999999999 is too near to 0 for any column; write 0"),
        ("hundreds = 200", "'hundreds' holds decimal128(3, -2); only 'is null' can test it"),
        ("took = 5", "'took' holds duration[s]; only 'is null' can test it"),
        ("took = '5 s'", "'took' holds duration[s]; only 'is null' can test it"),
        ("clock = '12:30'", "'clock' holds time32[s]; only 'is null' can test it"),
        (
            "seen > '1970-01-01'",
            "'seen' holds timestamp[s, tz=UTC], not '1970-01-01'; "
            "write a time with its zone such as '2020-01-31 12:30:00Z'",
        ),
        ("day = 5", "'day' holds date32[day], not 5; write a date such as '2020-01-31'"),
    ],
)
def test_a_value_of_another_type_is_told_what_to_write(text, message):
    with pytest.raises(LimbeckError) as caught:
        Where(text, TYPED.schema)
    assert str(caught.value) == f"where: {message}"
