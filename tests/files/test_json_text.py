"""Strict JSON: the value of every kind of cell, and what any parser reads back."""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.files import json_text, read_json, sha256_json, write_json
from raising import raises_code

ZONE = dt.timezone(dt.timedelta(hours=2))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "null"),
        (math.inf, "null"),
        (-math.inf, "null"),
        (np.float32("inf"), "null"),
        (np.float64(0.1), "0.1"),
        (np.int8(-3), "-3"),
        (np.bool_(True), "true"),
        (np.array([[1, 2]], np.uint8), "[[1, 2]]"),
        (np.array([1.0, np.nan]), "[1.0, null]"),
        (dt.date(2024, 2, 29), '"2024-02-29"'),
        (dt.datetime(2024, 2, 29, 12, 30, 15, 250000), '"2024-02-29T12:30:15.250000"'),
        (dt.datetime(2024, 2, 29, 12, tzinfo=ZONE), '"2024-02-29T12:00:00+02:00"'),
        (dt.time(23, 59), '"23:59:00"'),
        (dt.timedelta(seconds=90.5), '"PT90.5S"'),
        (dt.timedelta(days=-1), '"PT-86400S"'),
        (np.datetime64("2024-02-29T12:30:15.123456789"), '"2024-02-29T12:30:15.123456789"'),
        (np.datetime64("NaT"), "null"),
        (np.timedelta64(1, "ns"), '"PT0.000000001S"'),
        (Decimal("12345678901234567890.10"), '"12345678901234567890.10"'),
        (Decimal("1E+3"), '"1000"'),
        (Decimal("NaN"), "null"),
        (b"\x00\xff", json.dumps(base64.b64encode(b"\x00\xff").decode())),
        (Path("a/b.png"), '"a/b.png"'),
        (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (("a", {"b"}), '["a", ["b"]]'),
        ({1: "a", None: "b", 0.5: "c"}, '{"1": "a", "null": "b", "0.5": "c"}'),
        ({dt.date(2024, 1, 1): 1}, '{"2024-01-01": 1}'),
        ("ü→\u2028", '"ü→\u2028"'),
        ("a\udcffb", '"a\\udcffb"'),
    ],
)
def test_each_kind_of_value_has_one_form(value, text):
    assert json_text(value) == text


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="complex has no form in JSON"):
        json_text({"a": [1j]})


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.dates()
    | st.datetimes()
    | st.decimals()
    | st.timedeltas()
)


@given(
    st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
)
def test_every_text_is_strict_and_utf_8(value):
    def refuse(name: str) -> None:
        raise AssertionError(name)

    text = json_text(value)
    parsed = json.loads(text.encode("utf-8"), parse_constant=refuse)
    assert json_text(parsed) == text  # what was read is written alike


@given(st.text(st.characters(categories=["L", "Cs"])))
def test_texts_with_lone_surrogates_come_back(text):
    assert json.loads(json_text(text).encode("utf-8")) == text


def test_a_file_holds_the_same(tmp_path):
    write_json(tmp_path / "x.json", {"a": math.nan, "b": [dt.date(2024, 1, 1)], "c": "\udcff"})
    assert read_json(tmp_path / "x.json") == {"a": None, "b": ["2024-01-01"], "c": "\udcff"}


def test_fingerprints_stay_and_take_names_that_are_no_utf_8():
    assert (
        sha256_json({"b": 1, "a": "ü"}) == "4e7ff4080b1a00acdaf71eb0cdf2d504aa8068bbb375c002eac2df3f064047a7"
    )
    assert sha256_json(["\udcff"]) != sha256_json(["\udcfe"])


def test_a_deeply_nested_file_is_named(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with raises_code("E-JSON-SYNTAX", "deep.json"):
        read_json(tmp_path / "deep.json")
