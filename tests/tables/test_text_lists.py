"""Bytes to text and lines: encodings, line ends, what is no file."""

from __future__ import annotations

import codecs
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.tables import decode_text, read_bytes, read_list, split_lines
from raising import raises_code


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("café".encode(), "café", "UTF-8"),
        (codecs.BOM_UTF8 + b"a", "a", "UTF-8"),
        ("café\n".encode("utf-16"), "café\n", "UTF-16"),
        (codecs.BOM_UTF16_BE + "é".encode("utf-16-be"), "é", "UTF-16"),
        ("é".encode("utf-32"), "é", "UTF-32"),
        ("“café” – 5 €".encode("cp1252"), "“café” – 5 €", "cp1252"),
        (b"", "", "UTF-8"),
    ],
)
def test_encodings(data, text, encoding):
    decoded = decode_text(data, "f.txt")
    assert (decoded.text, decoded.encoding) == (text, encoding)
    assert bool(decoded.notes) == (encoding != "UTF-8")


def test_single_lines_of_another_encoding_are_counted():
    data = "über\nдом\nплот\n".encode() + b"caf\xe9\nplain\n"
    decoded = decode_text(data, "f.txt")
    assert decoded.text == "über\nдом\nплот\ncafé\nplain\n"
    assert decoded.notes == (
        "f.txt: 1 lines are not UTF-8 and were read as cp1252 (first: line 4); "
        "if letters look wrong, save the file as UTF-8",
    )
    # in a cp1252 file, a pair of letters that happens to be UTF-8 stays what it is
    assert decode_text("CAFÉ»\ncafé\n".encode("cp1252"), "f").text == "CAFÉ»\ncafé\n"
    assert "1 bytes unknown to cp1252 became U+FFFD" in decode_text(b"\x81\xe9", "f").notes[0]


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0", "text".encode("utf-16-le"), b"\xff\xfea"])
def test_what_is_no_text(data):
    with raises_code("E-FILE-ENCODING", "f.txt", "UTF-8"):
        decode_text(data, "f.txt")


def test_only_line_feeds_end_lines():
    text = "a\u2028b\r\nc\x85d\n\x0be\x1cf\x1d\rg\n\nlast"
    assert split_lines(text) == ["a\u2028b", "c\x85d", "\x0be\x1cf\x1d\rg", "", "last"]
    assert split_lines("") == [] and split_lines("\n") == [""] and split_lines("a\n") == ["a"]


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=8))
def test_lines_come_back(lines):
    assert split_lines("".join(f"{line}\n" for line in lines)) == lines
    assert split_lines("".join(f"{line}\r\n" for line in lines)) == lines


def test_entries_keep_what_is_no_blank(tmp_path):
    file = tmp_path / "l.txt"
    file.write_bytes("\ufeff a b \r\n\n\tc\u00a0\n\u2028\n".encode())
    found = read_list(file)
    assert list(found.numbered()) == [(1, "a b"), (3, "c\u00a0"), (4, "\u2028")]
    assert found.lines == [" a b ", "", "\tc\u00a0", "\u2028"] and not found.notes


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, reason in (
        (tmp_path / "no", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe", "not a regular file"),
        ("/dev/zero", "not a regular file"),
        ("a\0b", "cannot read it"),
        ("x" * 5000, "cannot read it"),
    ):
        with pytest.raises(LimbeckError, match=reason) as caught:
            read_bytes(path)
        assert "\n" not in str(caught.value)


def test_a_pipe_of_the_shell(tmp_path):
    read, write = os.pipe()
    os.write(write, b"one\ntwo\n")
    os.close(write)
    assert read_list(f"/dev/fd/{read}").lines == ["one", "two"]
    os.close(read)
