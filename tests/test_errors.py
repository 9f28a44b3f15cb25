"""Errors and their codes: known, raised, documented, and the same after a pickle."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

from limbeck.error_codes import CODES, page
from limbeck.errors import LimbeckError
from limbeck.pictures import Kind, PictureError
from raising import raises_code

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "limbeck"
CODE = re.compile(r"E-[A-Z]+(-[A-Z]+)*")


def codes_in_source() -> dict[str, str]:
    """Every code that stands in the source as a text of its own, with one place."""
    return {
        node.value: f"{file.relative_to(SOURCE)}:{node.lineno}"
        for file in sorted(SOURCE.rglob("*.py"))
        if file.name != "error_codes.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }


def test_every_code_of_the_source_is_registered() -> None:
    assert {code: place for code, place in codes_in_source().items() if code not in CODES} == {}


def test_the_page_is_that_of_the_registry() -> None:
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == page()
    assert list(CODES) == sorted(CODES)
    assert all(CODE.fullmatch(code) and text[0].isupper() and text[-1] == "." for code, text in CODES.items())


def test_errors_survive_a_pickle() -> None:
    error = pickle.loads(pickle.dumps(LimbeckError("a.csv: empty", code="E-FILE-EMPTY")))
    assert (str(error), error.message, error.code) == ("a.csv: empty", "a.csv: empty", "E-FILE-EMPTY")
    picture = pickle.loads(pickle.dumps(PictureError("a.png: too large", Kind.TOO_LARGE)))
    assert (str(picture), picture.kind, picture.code) == (
        "a.png: too large",
        Kind.TOO_LARGE,
        "E-PICTURE-SIZE",
    )


def test_the_helper_of_the_tests_checks_code_and_facts() -> None:
    def fail() -> None:
        raise LimbeckError("a.csv: line 3 has 4 fields", code="E-TABLE-ROW")

    with raises_code("E-TABLE-ROW", "a.csv", "line 3", 4):
        fail()
    for code, fact in (("E-TABLE-QUOTES", "a.csv"), ("E-TABLE-ROW", "line 2"), ("E-NONE", "a.csv")):
        with pytest.raises(AssertionError), raises_code(code, fact):
            fail()
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"), raises_code("E-TABLE-ROW"):
        pass
