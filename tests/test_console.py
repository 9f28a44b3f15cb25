"""What reaches a terminal: no name steers it, no encoding stops it, and - keeps standard output free."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from limbeck.console import console, echo, output_taken, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb\x08c\x7f", "a\\x0db\\x08c\\x7f"),
        ("\x9b2J", "\\x9b2J"),
        ("gpj.\u202etxt", "gpj.\\u202etxt"),
        ("no\udcff utf-8", "no\\udcff utf-8"),
        ("line\n\ttab ü→猫 किताब 👩‍🔬", "line\n\ttab ü→猫 किताब 👩‍🔬"),
    ],
)
def test_each_kind_of_character(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters()))
def test_nothing_harmful_is_left(text):
    shown = printable(text)
    shown.encode("utf-8")
    assert not any((ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 for c in shown)
    assert printable(shown) == shown


def test_tables_and_lines_show_escapes(capsys):
    evil = "\x1b[2Jid\x9b[0m"
    table = Table(title=f"title {evil}", caption=f"caption {evil}")
    table.add_column(f"head {evil}")
    table.add_row(f"cell {evil}")
    console().print(table)
    console().print(f"line {evil}")
    console(stderr=True).print(f"error {evil}")
    echo(f"echo {evil}")
    found = capsys.readouterr()
    assert "\x1b" not in found.out + found.err and "\x9b" not in found.out + found.err
    for part in ("title", "caption", "head", "cell", "line", "echo"):
        assert f"{part} \\x1b[2Jid\\x9b[0m" in " ".join(found.out.split())
    assert "error \\x1b[2Jid" in found.err


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "latin-1"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_console_of_another_encoding_shows_question_marks(monkeypatch, encoding, errors):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, errors=errors))
    echo("i→t Привет")
    table = Table("id")
    table.add_row("Привет")
    console().print(table)
    sys.stdout.flush()
    assert b"i?t ??????" in raw.getvalue().replace(b"\x1a", b"?") and b"??????" in raw.getvalue()


def test_where_standard_output_holds_a_file_lines_go_to_the_other(capsys):
    with output_taken():
        echo("line")
        console().print("table")
    echo("after")
    found = capsys.readouterr()
    assert (found.out, found.err) == ("after\n", "line\ntable\n")
