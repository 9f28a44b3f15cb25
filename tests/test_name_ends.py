"""Names that fit by the ends of their paths, against a plain search over all pairs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.names.ends import Side, agree, find_by_end

PARTS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4)
PATHS = st.lists(PARTS.map("/".join), min_size=1, max_size=8, unique=True)


def side(*names: str, top: str = "") -> Side:
    return Side({name: name for name in names}, top=top)


def shared(one: str, other: str) -> int:
    """Count the last parts that two paths share."""
    mine, theirs = one.split("/")[::-1], other.split("/")[::-1]
    return next(
        (n for n, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b), min(len(mine), len(theirs))
    )


@given(PATHS, PARTS.map("/".join), st.sampled_from(["", "a", "b/c"]))
def test_the_best_names_share_the_longest_end(names: list[str], path: str, top: str) -> None:
    known = side(*names, top=top)
    most = max(shared(path, known.full(name)) for name in names)
    end = "/".join(path.split("/")[-most:])
    fits = [name for name in names if shared(path, known.full(name)) == most]
    assert known.best(path) == ([] if not most else [end] if end in names else fits[:4])


@given(PATHS, PARTS.map("/".join))
def test_the_deepest_folders_are_those_of_some_name(names: list[str], folder: str) -> None:
    folders = [name.rpartition("/")[0] for name in names]
    assert side(*names).deepest(folder) == max(shared(folder, own) if own else 0 for own in folders)


@pytest.mark.parametrize(
    ("mine", "theirs", "rule"),
    [
        ("images/cat/1.jpg", "cat/1.jpg", "end"),
        ("cat/1.jpg", "images/cat/1.jpg", "end"),
        ("x/1.jpg", "y/1.jpg", "file name"),
        ("train/1.jpg", "val/1.jpg", ""),
        ("val2017/1.jpg", "dev/1.jpg", "file name"),
        ("x/1.jpg", "x/2.jpg", ""),
    ],
)
def test_the_rule_by_which_two_names_fit(mine: str, theirs: str, rule: str) -> None:
    found, target, _ = find_by_end(mine, side(mine), side(theirs))
    assert (found, target) == (rule, theirs if rule else "")


def test_a_file_name_that_occurs_twice_decides_nothing() -> None:
    theirs = side("y/1.jpg", "z/1.jpg")
    assert find_by_end("x/1.jpg", side("x/1.jpg"), theirs) == ("", "", ["y/1.jpg", "z/1.jpg"])
    assert find_by_end("x/1.jpg", side("x/1.jpg", "w/1.jpg"), side("y/1.jpg"))[0] == ""


def test_folders_that_both_sides_have_are_different_folders() -> None:
    mine, theirs = side("cat/1.jpg", "dog/1.jpg"), side("dog/1.jpg", "cat/2.jpg")
    assert not agree("cat/1.jpg", "dog/1.jpg", mine, theirs)
    assert agree("dog/1.jpg", "dog/1.jpg", mine, theirs)
