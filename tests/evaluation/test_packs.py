"""Packs of results: every number comes back bit for bit, and `compare` reads them as it reads folders."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from helpers_results import make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from limbeck.errors import LimbeckError
from limbeck.evaluation import compare
from limbeck.evaluation.packs import read_pack, write_pack
from limbeck.evaluation.results import load_results
from raising import raises_code

PACKS = Path(__file__).parents[2] / "results"
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.dictionaries(st.text(max_size=8), values, max_size=4))
def test_what_is_packed_comes_back_bit_for_bit(tmp_path: Path, records: dict[str, Any]) -> None:
    write_pack(tmp_path / "a.jsonl.xz", records)
    found = read_pack(tmp_path / "a.jsonl.xz")
    assert {name: repr(record) for name, record in found.items()} == {n: repr(r) for n, r in records.items()}
    assert list(found) == sorted(records)


def test_equal_records_give_equal_bytes(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl.xz", tmp_path / "two.jsonl.xz"
    write_pack(one, {"b": 1, "a": 0.1})
    write_pack(two, {"a": 0.1, "b": 1})
    assert one.read_bytes() == two.read_bytes()


def packed(path: Path, text: str) -> Path:
    path.write_bytes(lzma.compress(text.encode()))
    return path


def test_damaged_packs_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.xz"
    for text, said in (
        ('{"name": "a"}\n', "line 1 is not an object"),
        ('{"name": "a", "record": 1}\n{"name": "a", "record": 2}\n', "line 2: 'a' appears twice"),
        ('{"name": "a", "record": {"format": 9}}\n', "a: result format 9"),
    ):
        with pytest.raises(LimbeckError, match=said) as caught:
            load_results([packed(path, text)])
        assert str(path) in str(caught.value)
    path.write_bytes(b"no xz")
    with raises_code("E-FILE-DAMAGED", "a.jsonl.xz:"):
        read_pack(path)
    path.write_bytes(lzma.compress(b"x" * 100)[:20])
    with raises_code("E-FILE-DAMAGED", "a.jsonl.xz:"):
        read_pack(path)
    with raises_code("E-PATH-MISSING", "b.jsonl.xz:"):
        read_pack(tmp_path / "b.jsonl.xz")


def test_compare_reads_a_pack_as_the_folder_it_was_made_of(tmp_path: Path) -> None:
    rows = {f"{name}-s{seed}": make(name, seed=seed) for name in ("one", "two") for seed in (0, 1)}
    for name, result in rows.items():
        result.save(tmp_path / "rows" / f"{name}.json")
    (tmp_path / "rows/tune").mkdir()
    (tmp_path / "rows/tune/one.json").write_text(json.dumps({"trials": []}))
    records = {name: json.loads((tmp_path / f"rows/{name}.json").read_text()) for name in rows}
    write_pack(tmp_path / "rows.jsonl.xz", records | {"tune/one": {"trials": []}})
    folder, pack = (compare([tmp_path / place], base="one") for place in ("rows", "rows.jsonl.xz"))
    assert pack.to_json() == folder.to_json()
    write_pack(tmp_path / "empty.jsonl.xz", {"tune/one": {"trials": []}})
    with raises_code("E-RESULT-MISSING", "empty.jsonl.xz:"):
        compare([tmp_path / "empty.jsonl.xz"])


@pytest.mark.parametrize("pack", sorted(PACKS.glob("*.jsonl.xz")), ids=lambda path: path.name)
def test_recorded_rows_still_read(pack: Path) -> None:
    assert load_results([pack])
    assert pack.stat().st_size < 1_000_000
