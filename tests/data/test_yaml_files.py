"""The one reader of YAML: right values, and one line for what is repeated, endless, deep or huge."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limbeck.data.protocols import load_protocol
from limbeck.data.yaml_files import MAX_DEPTH, MAX_NODES, parse_yaml, read_yaml, yaml_text
from limbeck.errors import LimbeckError
from limbeck.evaluation.run_metadata import read_run_facts
from limbeck.grid import read_grid
from limbeck.training.recipe import load_recipe, parse_override
from raising import raises_code

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
MERGE_BOMB = "a0: &a0 {k: v}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr: 2e-3", {"lr": 0.002}),
        ("lr: '2e-3'", {"lr": "2e-3"}),
        ("a: -1E+4\nb: 0x10\nc: 1.5\nd: 12", {"a": -10000.0, "b": 16, "c": 1.5, "d": 12}),
        ("base: &b {x: 1, y: 2}\nown: {<<: *b, y: 3}", {"base": {"x": 1, "y": 2}, "own": {"x": 1, "y": 3}}),
        ("a: &a {x: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b}", {"a": {"x": 1}, "b": {"x": 2}, "c": {"x": 2}}),
        (
            "a: &a {x: 1}\nb: &b {x: 2, z: 2}\nc: {<<: [*a, *b]}",
            {"a": {"x": 1}, "b": {"x": 2, "z": 2}, "c": {"x": 1, "z": 2}},
        ),
        ("1: one\n'1': text", {1: "one", "1": "text"}),
        ("", None),
    ],
)
def test_values(text: str, value: object) -> None:
    assert parse_yaml(text, "x") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: 'a' is repeated"),
        ("a:\n  - {k: 1, k: 2}", "line 2: 'k' is repeated"),
        (BOMB, "expands to more than 100,000 keys and values"),
        (MERGE_BOMB, "expands to more than 100,000 keys and values"),
        ("a: &a [1, *a]", "line 1: contains an alias of itself"),
        ("a: &a {b: {c: *a}}", "line 1: contains an alias of itself"),
        ("[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
        (CHAIN, f"nested deeper than {MAX_DEPTH} levels"),
        ("a: !!python/object/apply:os.system [ls]", "not valid YAML"),
        ("x: '" + "y" * 2**20 + "'", "a YAML file may have at most 1,048,576"),
        ("{a: 1", "not valid YAML"),
        ("--- 1\n--- 2", "not valid YAML"),
        ("a: 2020-99-99", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(LimbeckError) as failure:
        parse_yaml(text, "file.yaml")
    assert said in str(failure.value)
    assert str(failure.value).startswith("file.yaml: ")
    assert "\n" not in str(failure.value)


def test_a_bomb_takes_no_memory() -> None:
    tracemalloc.start()
    with pytest.raises(LimbeckError):
        parse_yaml(BOMB, "x")
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_every_door_uses_it(tmp_path: Path) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\nname: b\n")
    (tmp_path / "recipe.yaml").write_text("name: a\nname: b\n")
    for read in (load_recipe, load_protocol, read_grid, read_yaml):
        with raises_code("E-YAML-SYNTAX", "line 2", "'name'"):
            read(file)
    with raises_code("E-YAML-SYNTAX", "line 2", "'name'"):
        read_run_facts(tmp_path)
    with raises_code("E-YAML-SYNTAX", "'a'"):
        parse_override("key={a: 1, a: 2}")


def test_what_is_no_regular_utf8_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with raises_code("E-PATH-KIND", "pipe.yaml:"):
        read_yaml(tmp_path / "pipe.yaml")
    with raises_code("E-PATH-READ", "none.yaml:"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: Å".encode("latin-1"))
    with raises_code("E-FILE-ENCODING", "UTF-8"):
        read_yaml(tmp_path / "latin.yaml")
    (tmp_path / "mark.yaml").write_bytes("name: Å".encode("utf-8-sig"))
    assert read_yaml(tmp_path / "mark.yaml") == {"name": "Å"}


SCALARS = st.none() | st.booleans() | st.integers(-9999, 9999) | st.text(max_size=8)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)
)


@given(TREES)
def test_what_is_written_is_read_again(tree: object) -> None:
    assert parse_yaml(yaml_text(tree), "x") == tree


def test_as_many_values_as_allowed() -> None:
    text = "[" + ",".join(["x"] * 20_000) + "]"
    assert len(parse_yaml(text, "x")) == 20_000 < MAX_NODES
