"""JSON values as dataclasses: right values come through, anything else is named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.typed import is_inside, typed


@dataclass(frozen=True)
class Inner:
    name: str
    size: int = 3


@dataclass(frozen=True)
class Outer:
    share: float
    inner: Inner | None
    many: list[Inner]
    by_name: dict[str, list[int]]
    anything: object = None
    flag: bool = False
    notes: list[str] = field(default_factory=list)


GOOD = {"share": 1, "inner": {"name": "a"}, "many": [{"name": "b", "size": 4}], "by_name": {"x": [1, 2]}}


def test_right_values_come_through():
    found = typed(Outer, GOOD, Path("f.json"), "mend it")
    assert found == Outer(1.0, Inner("a"), [Inner("b", 4)], {"x": [1, 2]})
    assert typed(Outer, GOOD | {"inner": None, "anything": [{}]}, Path("f"), "").inner is None
    assert typed(Outer, GOOD | {"new": 3}, Path("f"), "", more=True) == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"share": float("nan")}, "share is nan, not float"),
        ({"share": True}, "share is True, not float"),
        ({"share": 10**400}, "share is a number of more than 64 bits, not float"),
        ({"inner": {"name": 3}}, "inner.name is 3, not str"),
        ({"inner": {}}, "inner lacks the field 'name'"),
        ({"inner": 3}, "inner is 3, not an object"),
        ({"many": [{"name": "b"}, []]}, r"many\[1\] is a list, not an object"),
        ({"many": {"name": "b"}}, "many is an object, not list"),
        (
            {"many": [{"name": "b", "size": 2**63}]},
            r"many\[0\].size is a number of more than 64 bits, not int",
        ),
        ({"many": [{"name": "b", "size": 1.0}]}, r"many\[0\].size is 1.0, not int"),
        ({"by_name": {"x": [1, "2"]}}, r"by_name.x\[1\] is '2', not int"),
        ({"flag": 1}, "flag is 1, not bool"),
        ({"new": 3}, "the file has an unknown field 'new'"),
        ({"by_name": {"\x1b\n" * 200: [None]}}, r"is None, not int"),
    ],
)
def test_wrong_values_are_named_in_one_line(changes, message):
    with pytest.raises(LimbeckError, match=f"^f.json: .*{message}; mend it$") as caught:
        typed(Outer, GOOD | changes, Path("f.json"), "mend it")
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)
    with pytest.raises(LimbeckError, match="the file is a list, not an object"):
        typed(Outer, [], Path("f.json"), "mend it")


def test_names_that_stay_inside():
    for name in ("a", "a/b.npy", "..a", "é/x", "\udcff"):
        assert is_inside(name)
    for name in ("", "/a", "a//b", "../a", "a/..", ".", "a\\b", "C:a", "a\x00", "a\nb", "x" * 256, "a/"):
        assert not is_inside(name)
