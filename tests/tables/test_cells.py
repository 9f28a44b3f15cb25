"""Lists in cells."""

from __future__ import annotations

import ast
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.tables import cell_lists, parse_cell


@pytest.mark.parametrize(
    ("cell", "items"),
    [
        ('["cat", "dog"]', ["cat", "dog"]),
        ('["a, b", null, 3, 1.10]', ["a, b", "3", "1.10"]),
        ("['cat', 'dog']", ["cat", "dog"]),
        ("{'cat', 'dog'}", ["cat", "dog"]),
        ("('cat', 'dog')", ["cat", "dog"]),
        ("('cat',)", ["cat"]),
        ("['cat' 'dog']", ["cat", "dog"]),
        ("['cat'\n 'it\\'s']", ["cat", "it's"]),
        ("array(['cat', 'dog'], dtype='<U3')", ["cat", "dog"]),
        ("array(['cat', 'dog'], dtype=object)", ["cat", "dog"]),
        ("frozenset({'cat'})", ["cat"]),
        ("[1 2 3]", ["1", "2", "3"]),
        ("[cat, fire truck]", ["cat", "fire truck"]),
        ("['a', None, nan]", ["a"]),
        ("[np.str_('cat'), np.str_('fire, truck')]", ["cat", "fire, truck"]),
        ("{np.int64(1), np.float64(nan)}", ["1"]),
        ("['np.str_(x)']", ["np.str_(x)"]),
        ("cat, dog,,", ["cat", "dog"]),
        ("(c) me, {x}", ["(c) me", "{x}"]),
        ("(blue)", ["(blue)"]),
        ("[x] and [y]", ["[x] and [y]"]),
        ("NA", ["NA"]),
        *(
            (empty, [])
            for empty in ("[]", "{}", "()", "set()", "nan", "NaN", "None", "null", "NULL", "<NA>", " ", "")
        ),
    ],
)
def test_cells_of_labels(cell, items):
    assert parse_cell(cell, ",")[0] == items


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ('["one, two", "three"]', ["one, two", "three"]),
        ("['one', 'two']", ["one", "two"]),
        ("a dog, a cat", ["a dog, a cat"]),
        ("[laughs] he said", ["[laughs] he said"]),
        ("[laughs]", ["[laughs]"]),
        ('("hello")', ['("hello")']),
        ("nan", []),
    ],
)
def test_captions_are_not_cut(cell, texts):
    assert parse_cell(cell, ",", split=False)[0] == texts


def test_notes_count_what_was_done():
    column = pa.chunked_array([["nan", "a;b", None], ["c;d", "None", "['x']", "e"]])
    found = cell_lists(column, "t.csv: labels", separator=None)
    assert found.rows == [[], ["a;b"], [], ["c;d"], [], ["x"], ["e"]]
    assert found.notes == (
        "t.csv: labels: 2 cells contain 'None', 'nan' and count as empty",
        "t.csv: labels: 1 cells are lists printed by Python and were read as lists",
        "t.csv: labels: 2 of 3 cells contain ';' and were not split; "
        "if it separates items, use --separator ';'",
    )
    assert cell_lists(column, "t", separator=";").rows[1] == ["a", "b"]
    lists = pa.chunked_array([pa.array([["a,b"], None, ["c", None]])])
    assert cell_lists(lists, "t", separator=None).rows == [["a,b"], [], ["c"]]
    assert cell_lists(pa.chunked_array([pa.array([3, None])]), "t", separator=None).rows == [["3"], []]


def test_what_only_looks_like_a_list_is_said():
    column = pa.chunked_array(
        [["[['cat'], ['dog']]", "{'cat': 1, 'dog': 2}", "[x] or [y]", "(a), (b)", "c, d"]]
    )
    (note,) = cell_lists(column, "t", separator=None).notes
    assert note.startswith("t: 2 cells begin and end like lists, but are none that can be read")
    assert note.endswith("(first: \"[['cat'], ['dog']]\")")


def test_one_comma_hides_no_other_separator():
    column = pa.chunked_array([["salt, pepper", "a;b", "c;d;e"]])
    (note,) = cell_lists(column, "t", separator=None).notes
    assert note.startswith("t: 2 of 3 cells contain ';' and were not split")
    column = pa.chunked_array([["a, b", "c;d, e", "f"]])
    assert cell_lists(column, "t", separator=None).notes == ()


WORDS = st.lists(st.text("ab 'é\"\\,;[](){}\n", min_size=1, max_size=6), min_size=1, max_size=4)


@given(WORDS)
def test_what_python_and_json_print_comes_back(words):
    assert parse_cell(json.dumps(words), ",")[0] == words
    printed = repr(words)
    assert ast.literal_eval(printed) == words and parse_cell(printed, ",", split=False)[0] == words
    array = np.array(words, dtype=object)
    assert parse_cell(str(array), ",")[0] == words
    assert parse_cell(repr(array), ",")[0] == words
