"""Rows that go to a pack: written one by one, merged at the end, kept when the grid is killed in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from limbeck.evaluation.packs import read_pack
from limbeck.grid import GridState, find_grid, read_grid
from limbeck.grid.rows import RowStore
from limbeck.grid.state import DONE
from raising import raises_code

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]
REPOSITORY = Path(__file__).parents[2]


def put(store: RowStore, name: str, record: object) -> None:
    store.file(name).parent.mkdir(parents=True, exist_ok=True)
    store.file(name).write_text(json.dumps(record))


def opened(folder: Path) -> RowStore:
    return RowStore.open(folder / "grid.jsonl.xz", folder / "out")


def test_small_files_are_merged_and_the_newer_one_counts(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.merge()
    assert not store.place.exists()
    put(store, "a-s0", {"x": 0.1})
    put(store, "tune/a", {"trials": [1]})
    assert store.has("a-s0") and not store.has("b-s0") and store.read("b-s0") is None
    store.merge()
    assert list(store.folder.rglob("*.json")) == []
    assert read_pack(store.place) == {"a-s0": {"x": 0.1}, "tune/a": {"trials": [1]}}
    assert store.where("a-s0") == f"{store.place}: a-s0"

    killed = opened(tmp_path)  # a grid that wrote two rows and was killed before it merged them
    put(killed, "a-s0", {"x": 0.2})
    put(killed, "b-s0", {"x": 0.3})
    later = opened(tmp_path)
    assert [later.read(name) for name in ("a-s0", "b-s0")] == [{"x": 0.2}, {"x": 0.3}]
    assert later.where("a-s0") == str(later.file("a-s0"))
    later.merge()
    assert read_pack(store.place) == {"a-s0": {"x": 0.2}, "b-s0": {"x": 0.3}, "tune/a": {"trials": [1]}}
    before = store.place.stat().st_mtime_ns
    put(later, "b-s0", {"x": 0.3})
    later.merge()
    assert store.place.stat().st_mtime_ns == before and not later.file("b-s0").exists()


def test_a_merge_keeps_what_another_grid_merged_meanwhile(tmp_path: Path) -> None:
    one, two = opened(tmp_path), RowStore.open(tmp_path / "grid.jsonl.xz", tmp_path / "other")
    assert not one.has("b-s0") and not two.has("a-s0")  # both have read the pack
    put(one, "a-s0", 1)
    put(two, "b-s0", 2)
    one.merge()
    two.merge()
    assert read_pack(one.place) == {"a-s0": 1, "b-s0": 2}


def test_a_merge_that_fails_leaves_the_small_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)
    put(store, "a-s0", 1)
    (tmp_path / "grid.jsonl.xz").write_bytes(b"damaged")
    with raises_code("E-FILE-DAMAGED", "grid.jsonl.xz:"):
        store.merge()
    assert store.file("a-s0").is_file() and store.place.read_bytes() == b"damaged"


def test_rows_in_a_folder_are_never_merged(tmp_path: Path) -> None:
    for store in (RowStore.open(None, tmp_path / "out"), RowStore.open(tmp_path / "rows", tmp_path / "out")):
        put(store, "a-s0", 1)
        store.merge()
        assert store.read("a-s0") == 1 and store.file("a-s0").is_file()


def test_a_grid_goes_on_from_its_pack_without_its_runs(
    tmp_path: Path, write: Write, limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = tmp_path / "rows" / "tiny.jsonl.xz"
    file = write("packed", rows_to=str(pack), seeds=[0])
    only = ("--only", "taught,direct")
    status, said, err = limbeck("grid", file, "--out", tmp_path / "grid", *only)
    assert (status, err) == (0, "")
    assert f"2 rows in {pack}; show the table again: limbeck compare {pack} --base direct\n" in said
    assert list(read_pack(pack)) == ["direct-s0", "taught-s0", "tune/direct"]
    assert list((tmp_path / "grid/rows").rglob("*.json")) == []
    status, table, _ = limbeck("compare", pack, "--base", "direct")
    assert status == 0 and "minus direct" in table

    monkeypatch.setattr("limbeck.grid.workers.perform", lambda *_: pytest.fail("nothing is to do"))
    status, said, err = limbeck("grid", file, "--out", tmp_path / "elsewhere", *only)
    assert (status, err) == (0, "")
    assert "2 of 2 tasks are done and kept" in said
    changed = write("changed", rows_to=str(pack), seeds=[0], shared={"towers.image.dropout": 0.1})
    for row, name in (("taught", "taught-s0"), ("direct", "tune/direct")):
        status, _, err = limbeck("grid", changed, "--out", tmp_path / "elsewhere", "--only", row)
        assert (status, err.count("\n")) == (1, 1)
        assert f"{pack}: {name}: " in err and "remove it and" in err


def test_rows_of_a_grid_that_ships_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    state = GridState.open(read_grid(find_grid("hmid_net/grid-tuning")), tmp_path)
    assert set(state.status.values()) == {DONE}
    assert {result.label for result in state.results()} == {"CLIP", "HMID-Net", "MERU", "Euclidean twin"}
