"""Errors and their codes: known, raised, documented, and the same after a pickle."""

from __future__ import annotations

import ast
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from limbeck.error_codes import CODES, page
from limbeck.errors import MANY, LimbeckError, proposal
from limbeck.pictures import Kind, PictureError
from raising import raises_code

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "limbeck"
CODE = re.compile(r"E-[A-Z]+(-[A-Z]+)*")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Each file of the source but the registry, parsed."""
    for file in sorted(SOURCE.rglob("*.py")):
        if file.name != "error_codes.py":
            yield file.relative_to(SOURCE), ast.parse(file.read_text(encoding="utf-8"))


def codes_of(value: ast.expr) -> Iterator[str]:
    """The codes that an expression may give; one that is handed on (``error.code``) gives none."""
    if isinstance(value, ast.IfExp):
        yield from (*codes_of(value.body), *codes_of(value.orelse))
    elif isinstance(value, ast.Constant):
        yield str(value.value)
    elif not isinstance(value, ast.Attribute | ast.Name | ast.Call | ast.Subscript):
        yield ast.unparse(value)


def classes() -> set[str]:
    """`LimbeckError` and the classes that extend it and take its code."""
    return {"LimbeckError"} | {
        node.name
        for _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", "") == "LimbeckError" for base in node.bases)
        and not any(isinstance(item, ast.FunctionDef) and item.name == "__init__" for item in node.body)
    }


def test_every_error_has_a_registered_code() -> None:
    named, wrong, count = classes(), [], 0
    for file, tree in trees():
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in named:
                count += 1
                given = [keyword.value for keyword in call.keywords if keyword.arg == "code"]
                if len(given) != 1 or not CODES.keys() >= set(codes_of(given[0])):
                    wrong.append(f"{file}:{call.lineno}: {ast.unparse(call)}")
    assert wrong == []
    assert count > 700


def test_every_registered_code_is_raised_and_no_other() -> None:
    found = {
        node.value: f"{file}:{node.lineno}"
        for file, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }
    assert {code: place for code, place in found.items() if code not in CODES} == {}
    assert CODES.keys() - found.keys() - {"E-PATH-SYSTEM"} == set()  # printed by the command line alone


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


def test_a_proposal_names_what_is_alike_or_where_the_names_are_listed() -> None:
    assert proposal("sead", ["seed", "bits"]) == "did you mean 'seed'?"
    assert proposal("zzz", ["seed", "bits"], "limbeck list keys") == "choose from seed, bits"
    assert proposal("zzz", map(str, range(MANY + 1)), "limbeck list keys") == "see limbeck list keys"
    assert proposal("zzz", []) == "choose from none"
