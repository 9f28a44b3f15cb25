"""Filters in Milvus' language: what is written, and that it means what the filter means."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest

from limbeck.index.filter_parser import Where
from limbeck.index.milvus.columns import columns_of, fields_of
from limbeck.index.milvus.expression import expression
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.spaces import Hamming
from raising import raises_code

TABLE = pa.table(
    {
        "id": ["a", "b", "c"],
        "path": pa.array(["x/1.jpg", None, "y/2.jpg"]),
        "labels": pa.array([["sky"], [], None], pa.list_(pa.string())),
        "sizes": pa.array([[1, None], [2], [3]], pa.list_(pa.int32())),
        "width": pa.array([300, 200, 100], pa.int16()),
        "score": pa.array([0.1, None, 0.5], pa.float32()),
        "kept": pa.array([True, False, True]),
        "day": pa.array([datetime.date(2024, 5, 1)] * 3, pa.date32()),
        "at": pa.array([datetime.datetime(2024, 5, 1)] * 3, pa.timestamp("ms")),
        "in": pa.array([1, 2, 3]),
        "odd name": pa.array(["u", "v", "w"]),
        "big": pa.array([1, 2, 3], pa.uint64()),
        "raw": pa.array([b"1", b"2", b"3"]),
    }
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> IndexStore:
    path = tmp_path_factory.mktemp("filters") / "index"
    commit(path, [[(np.zeros((3, 2), np.uint8), TABLE)]], StoreMeta(Hamming(16)))
    return IndexStore.open(path)


def written(store: IndexStore, text: str) -> str | bool:
    columns = {column.name: column for column in columns_of(store)}
    return expression(Where(text, store.schema).condition, columns, store.schema)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("width > 300", "width > 300"),
        ("width != -3", "width != -3"),
        ("width = 2.5", False),
        ("width != 2.5", True),
        ("width > 2.5", "width > 2"),
        ("width >= 2.5", "width >= 3"),
        ("width < -2.5", "width < -2"),
        ("width <= 2.5", "width <= 2"),
        ("width <= 2.0", "width <= 2"),
        ("width in (100, 2.5, 300)", "width in [100, 300]"),
        ("width in (2.5)", False),
        ("score = 0.1", "(has_5 == true) and (score == 0.10000000149011612)"),
        ("score in (0.5, 1)", "(has_5 == true) and (score in [0.5, 1.0])"),
        ("kept = true", "kept == true"),
        ("kept != true", "kept == false"),
        ("kept >= false", True),
        ("kept < false", False),
        ("kept in (true, false)", True),
        ("id = 'a'", 'id == "a"'),
        ("id in ('a', 'it''s \"b\"\\')", 'id in ["a", "it\'s \\"b\\"\\\\"]'),
        ("path is null", "has_1 == false"),
        ("path is not null", "not (has_1 == false)"),
        ("id is null", False),
        ("path startswith 'x/'", '(has_1 == true) and ((path >= "x/") and (path < "x0"))'),
        ("id startswith ''", True),
        ("id startswith 'a\ud7ff'", '(id >= "a\ud7ff") and (id < "a\ue000")'),
        ("id startswith 'a\U0010ffff'", '(id >= "a\U0010ffff") and (id < "b")'),
        ("id startswith '\U0010ffff'", 'id >= "\U0010ffff"'),
        ("id like 'x/*'", '(id >= "x/") and (id < "x0")'),
        ("id like 'x'", 'id == "x"'),
        ("id like '*'", True),
        ("labels has sky", '(has_2 == true) and (array_contains_any(labels, ["sky"]))'),
        ("labels has (sky, 'a sea')", '(has_2 == true) and (array_contains_any(labels, ["sky", "a sea"]))'),
        ("sizes has (1, 2.5)", "array_contains_any(sizes, [1])"),
        ("sizes has 2.5", False),
        ("day >= '2024-05-01'", "day >= 19844"),
        ("at = '2024-05-01'", "at == 1714521600000"),
        ("`in` = 1", "column_9 == 1"),
        ("`odd name` = u", 'column_10 == "u"'),
        ("not width > 300", "not (width > 300)"),
        ("not width = 2.5", True),
        ("width > 1 and id = a or kept = true", '((width > 1) and (id == "a")) or (kept == true)'),
        ("width > 1 and width = 2.5", False),
        ("width > 1 and width != 2.5", "width > 1"),
        ("width = 2.5 or id = a", 'id == "a"'),
        ("width != 2.5 or id = a", True),
        ("width != 2.5 and kept >= false", True),
    ],
)
def test_written(store: IndexStore, text: str, wanted: str | bool) -> None:
    assert written(store, text) == wanted


@pytest.mark.parametrize("text", ["id like 'a*b'", "id like '?'", "id like 'a**'", "id like '*a'"])
def test_patterns_inside_a_text_are_refused(store: IndexStore, text: str) -> None:
    with raises_code("E-ENGINE-CANNOT", "where:"):
        written(store, text)


def test_columns_that_a_collection_cannot_hold_are_refused(store: IndexStore) -> None:
    with raises_code("E-FILTER-COLUMN", "where:", "'big'", "--engine"):
        written(store, "big > 1")


@pytest.mark.parametrize("text", ["width > 1e300", "width in (1e19)", "sizes has 18446744073709551615"])
def test_numbers_beyond_all_are_refused(store: IndexStore, text: str) -> None:
    with raises_code("E-FILTER-VALUE", "where:"):
        written(store, text)


def test_columns(store: IndexStore) -> None:
    columns = columns_of(store)
    assert [(column.name, column.kind) for column in columns] == [
        ("id", "text"), ("path", "text"), ("labels", "texts"), ("sizes", "wholes"), ("width", "whole"),
        ("score", "real"), ("kept", "truth"), ("day", "whole"), ("at", "whole"), ("in", "whole"),
        ("odd name", "text"),
    ]  # fmt: skip
    assert {column.name: column.present for column in columns if column.present} == {
        "path": "has_1", "labels": "has_2", "score": "has_5",
    }  # fmt: skip
    fields = {}
    for column in columns:
        fields |= fields_of(column, store.segments[0].items)
    assert fields["path"] == ["x/1.jpg", "", "y/2.jpg"] and fields["has_1"] == [True, False, True]
    assert fields["labels"] == [["sky"], [], []] and fields["has_2"] == [True, True, False]
    assert fields["sizes"] == [[1], [2], [3]] and fields["score"] == [np.float32(0.1), 0.0, 0.5]
    assert fields["day"] == [19844] * 3 and fields["at"] == [1714521600000] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("id", "ü" * 40_000), ("labels", ["a", "x" * 70_000]), ("labels", ["a"] * 4097), ("sizes", [1] * 4097)],
)
def test_what_is_too_long_is_named(store: IndexStore, name: str, value: str | list) -> None:
    column = next(column for column in columns_of(store) if column.name == name)
    rows = TABLE.slice(0, 2).to_pylist()
    rows[1][name] = value
    item = "ü" if name == "id" else "b"
    with raises_code("E-MILVUS-LIMIT", f"{name!r} of item '{item}", "65535"):
        fields_of(column, pa.Table.from_pylist(rows, TABLE.schema))
    rows[1][name] = value[:4096] if isinstance(value, list) and len(value) > 2 else "ü" * 32_767
    if name == "id" or len(rows[1][name]) == 4096:
        fields_of(column, pa.Table.from_pylist(rows, TABLE.schema))
