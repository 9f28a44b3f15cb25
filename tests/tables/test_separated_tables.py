"""CSV and TSV: separators, quotes, one line a row, headers, types."""

from __future__ import annotations

import csv
import datetime
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.tables import parse_table
from limbeck.tables.delimited import parse_delimited


def rows(text: str, name: str = "t.csv", **options):  # type: ignore[no-untyped-def]
    table = parse_table(text.encode(), name, guess=False, **options)
    return [tuple(row.values()) for row in table.columns.to_pylist()]


def refused(text: str, name: str = "t.csv", **options) -> str:  # type: ignore[no-untyped-def]
    with pytest.raises(LimbeckError) as caught:
        parse_table(text.encode(), name, **options)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(name)
    return str(caught.value)


@pytest.mark.parametrize("mark", [",", ";", "|", "\t"])
@pytest.mark.parametrize("ending", ["csv", "tsv", "txt"])
def test_the_separator_is_found(mark, ending):
    text = f"image{mark}caption\na.jpg{mark}one dog and two\nb.jpg{mark}x\n"
    assert rows(text, f"t.{ending}") == [("a.jpg", "one dog and two"), ("b.jpg", "x")]


def test_separators_inside_fields_do_not_mislead():
    assert rows("a;b, c, d\n1;x\n2;y, z\n") == [("1", "x"), ("2", "y, z")]
    assert rows('a,"b;c;d"\n1,"x;y"\n') == [("1", "x;y")]
    table = parse_table(b"a;b\n1;2\n", "t.csv")
    assert "t.csv: columns are separated by semicolons" in table.notes


def test_quotes_by_the_rule_of_the_format():
    assert rows('a,b\n1,"x, ""y"" z"\n2,say "yes" now\n') == [("1", 'x, "y" z'), ("2", 'say "yes" now')]
    plain = rows('a\tb\n1\t"hello\n2\tbye\n3\tsaid "x"\n', "t.tsv")
    assert plain == [("1", '"hello'), ("2", "bye"), ("3", 'said "x"')]
    table = parse_table(b'a\tb\n1\t"x ""y"""\n', "t.tsv")
    assert any("1 cells begin and end with a quote" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('a,b\n1,x\n2,"open\n3,y\n4,"z"\n', 'line 3: a quote (") opens a field and does not close'),
        ('a,b\n1,"x"y\n', "line 2: text follows the closing quote"),
        ("a,b\n1,x\n\n2,y,z\n", "line 4 has more fields than the header (3, not 2); quote fields"),
        ("a,b\n1\n", "line 2 has fewer fields than the header (1, not 2)"),
        ("a,b,a\n1,2,3\n", "line 1: column 'a' is repeated"),
        ("a, a\n1,2\n", "line 1: column 'a' is repeated"),
        ('"a,b\n1,2\n', "line 1: a quote"),
        ("", "empty; write a header line"),
        ("\n \n", "empty; write a header line"),
    ],
)
def test_broken_lines_are_named(text, message):
    assert message in refused(text)


def test_no_quote_swallows_rows():
    text = (
        "image,caption\n" + 'a.jpg,"a dog\n' + "".join(f"{i}.jpg,x\n" for i in range(4)) + 'z.jpg,"the end"\n'
    )
    assert "line 2" in refused(text)
    assert len(rows(text.replace(",", "\t"), "t.tsv")) == 6


def test_line_ends_inside_quotes_on_request():
    text = 'a,b\r\n1,"x\ny"\n\n2,z\n'
    assert "line 2" in refused(text)
    table = parse_table(text.encode(), "t.csv", multiline=True)
    assert table.columns.to_pylist() == [{"a": 1, "b": "x\ny"}, {"a": 2, "b": "z"}]
    assert [table.where(row) for row in range(2)] == ["t.csv: line 2", "t.csv: line 5"]
    assert "line 2 begins a row" in refused('a,b\n1,"x\n2,y\n', multiline=True)


def test_other_white_space_cuts_no_line():
    odd = "x\u2028y\u0085z\x0b\x1c\x1d\x1e\u2029w"
    assert rows(f"a,b\r\n1,{odd}\r\n2,p\rq\r\n") == [("1", odd), ("2", "p\rq")]


def test_places_of_rows():
    table = parse_table(b"\n\na,b\n1,x\n\n  \n2,y\n", "t.csv")
    assert [table.where(row) for row in range(2)] == ["t.csv: line 4", "t.csv: line 7"]
    assert parse_table(b"a,b\n1,x\n2,y", "t.csv").where(1) == "t.csv: line 3"


def test_a_column_without_a_name():
    table = parse_table(b",image\n0,a.jpg\n", "t.csv")
    assert table.names == ["column_1", "image"] and "column 1 has no name" in table.notes[0]


def test_a_header_alone_and_a_long_line():
    assert rows("a,b\n") == [] and rows("a,b") == []
    assert rows(f"a,b\n1,{'x' * 3_000_000}\n")[0][1] == "x" * 3_000_000


# ------------------------------------------------------------------------------ types
def guessed(*cells: str) -> list[object]:
    text = "k,v\n" + "".join(f"x,{cell}\n" for cell in cells)
    return parse_table(text.encode(), "t.csv").columns.column("v").to_pylist()


@pytest.mark.parametrize(
    "cells",
    [
        ["00123", "01069"],
        ["+49123", "+1"],
        ["1.10", "1.9"],
        ["18446744073709551615", "18446744073709551614"],
        ["9007199254740993", "9007199254740992"],
        ["1e5", "2e3"],
        ["NA", "null", "nan"],
        ["1", "x"],
        ["1.0.2", "1.1"],
        ["2020-02-30", "2020-01-01"],
        ["-0", "0"],
        ["0x10", "1"],
        [".5", "1.5"],
        ["True", "true"],
        ["inf", "1.5"],
        ["a", ""],
    ],
)
def test_text_stays_text(cells):
    assert guessed(*cells) == [cell or None for cell in cells]


def test_what_is_guessed_is_said():
    assert guessed("1", "", "-20") == [1, None, -20]
    assert guessed("1", "0.5", "4.0", "1e-05", "0.30000000000000004") == [1, 0.5, 4, 1e-5, 0.1 + 0.2]
    assert guessed("True", "False", "") == [True, False, None]
    assert guessed("2020-01-31") == [datetime.date(2020, 1, 31)]
    assert guessed("2020-01-31 10:00:00") == [datetime.datetime(2020, 1, 31, 10)]
    table = parse_table(b"id,year,note\n1,2020,x\n", "t.csv", text=("id",))
    assert table.columns.to_pylist() == [{"id": "1", "year": 2020, "note": "x"}]
    assert table.notes == ("t.csv: types guessed: year int; the other columns are text",)


def test_declared_types():
    table = parse_table(b"a,b\n1.10,007\n2.50,8\n", "t.csv", types={"a": "float", "b": "text"})
    assert table.columns.to_pylist() == [{"a": 1.1, "b": "007"}, {"a": 2.5, "b": "8"}]
    assert "column 'a': 'x' is not float" in refused("a,b\n1.5,2\nx,3\n", types={"a": "float"})
    assert "no column 'c'; there are a, b" in refused("a,b\n1,2\n", types={"c": "int"})
    assert "no type 'number'" in refused("a,b\n1,2\n", types={"a": "number"})


# ------------------------------------------------------------------------------ any table
CELLS = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=6) | st.text(
    '",;|\t x', max_size=5
)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from(",;|"), st.sampled_from(["\n", "\r\n"]), st.integers(2, 4))
def test_what_csv_writes_comes_back(data, mark, end, width):
    cells = data.draw(st.lists(st.lists(CELLS, min_size=width, max_size=width), max_size=5))
    cells = [row for row in cells if any(field.strip() for field in row)]
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=mark, lineterminator=end)
    writer.writerows([[f"c{at}" for at in range(width)], *cells])
    found = parse_delimited(stream.getvalue().encode(), "t.csv").columns
    assert [list(row.values()) for row in found.to_pylist()] == [[f or None for f in row] for row in cells]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text('a",\t ', max_size=8), max_size=5))
def test_every_line_is_the_row_of_the_standard_library_or_an_error(lines):
    text = "x,y\n" + "".join(f"{line}\n" for line in lines)
    try:
        wanted = [next(csv.reader([line], strict=True)) for line in lines if line.strip()]
    except csv.Error:
        wanted = [[]]
    try:
        found = parse_delimited(text.encode(), "t.csv").columns
    except LimbeckError:
        assert any(len(row) != 2 for row in wanted)
    else:
        assert [list(row.values()) for row in found.to_pylist()] == [[f or None for f in r] for r in wanted]


@pytest.mark.parametrize("multiline", [False, True])
def test_a_blank_before_a_quote_is_named(multiline):
    said = refused('image,caption\n1.jpg, "a, b"\n', multiline=multiline)
    assert said == (
        "t.csv: line 2 has more fields than the header (3, not 2); a blank before a quote makes it "
        "an ordinary character; remove the blank"
    )
    plain = refused("image,caption\n1.jpg, a, b\n", multiline=multiline)
    assert plain.endswith("(3, not 2); quote fields that contain ','")
