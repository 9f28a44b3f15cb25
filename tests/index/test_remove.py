from __future__ import annotations

import json

import numpy as np
import pytest
from helpers_index import SPACES, build, build_parts, codes, items, points_of, resign

from limbeck import Index
from limbeck.errors import LimbeckError
from limbeck.index import transaction as changes
from limbeck.index.manifest import manifest_path
from limbeck.index.query import ExactSearch
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.texts import stored_texts
from limbeck.spaces import Hamming
from raising import raises_code


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_removed_rows_never_come_back(tmp_path, space):
    points = points_of(space, 60)
    build_parts(tmp_path / "i", points, [25, 26], space)
    gone = [3, 7, 30, 59]
    assert remove_items(tmp_path / "i", [f"id-{i}" for i in gone]) == 4
    store = IndexStore.open(tmp_path / "i")
    kept = np.setdiff1d(np.arange(60), gone)
    assert len(store) == 56 and store.rows == 60 and len(store.segments) == 3
    assert np.array_equal(np.flatnonzero(store.alive), kept)
    near = space.similarity(points[:9], points).astype(np.float64)
    near[:, gone] = -np.inf
    for k in (1, 10, 100):
        rows = ExactSearch(store)(points[:9], k)[1]
        order = np.lexsort((np.broadcast_to(np.arange(60), near.shape), -near), axis=1)[:, : min(k, 56)]
        assert np.array_equal(rows, order)
    some = np.isin(np.arange(60), [3, 4, 5, 30, 31])
    assert sorted(ExactSearch(store)(points[:1], 60, some)[1][0]) == [4, 5, 31]
    limit = {"distance": 1000, "similarity": -2}[space.score_name]
    for _, rows in ExactSearch(store).range_search(points[:2], limit):
        assert sorted(rows) == kept.tolist()
    assert store.rows_of(["id-3", "id-4", "nobody"]).tolist() == [-1, 4, -1]
    with raises_code("E-ID-UNKNOWN", "'id-3'"):
        store.row_of("id-3")
    assert store.verify() == 9 + 2 and store.info()["removed"] == 4 and store.info()["items"] == 56


def test_one_commit_after_another(tmp_path):
    old = build(tmp_path / "i", 100)
    for i in range(10):
        remove_items(tmp_path / "i", [f"id-{i}"])
    store = IndexStore.open(tmp_path / "i")
    assert len(store) == 90 and store.manifest.generation == 11 and len(store.manifest.tombstones) == 1
    assert store.manifest.min_reader == 2 and len(old) == 100 and old.alive is None
    assert json.loads(manifest_path(tmp_path / "i", 11).read_text())["format"] == 2
    with raises_code("E-ID-UNKNOWN", "'id-3'", "'id-200'"):
        remove_items(tmp_path / "i", ["id-11", "id-3", "id-200"])
    with raises_code("E-ID-UNKNOWN", "'n19'"):
        remove_items(tmp_path / "i", [f"n{i}" for i in range(25)])
    assert remove_items(tmp_path / "i", ["id-11", "id-11"]) == 1
    assert remove_items(tmp_path / "i", []) == 0
    assert IndexStore.open(tmp_path / "i").manifest.generation == 12


def test_by_filter(tmp_path):
    build(tmp_path / "i", 50)
    assert remove_items(tmp_path / "i", where="id in ('id-1', 'id-2')") == 2
    assert remove_items(tmp_path / "i", where="id in ('id-1', 'id-2', 'id-3')") == 1
    assert remove_items(tmp_path / "i", where="path = 'nothing'") == 0
    for bad in ({}, {"ids": ["id-5"], "where": "id = 'id-5'"}):
        with raises_code("E-OPTION-CONFLICT", "remove:"):
            remove_items(tmp_path / "i", **bad)
    with raises_code("E-INPUT-TYPE", "remove:"):
        remove_items(tmp_path / "i", "id-5")
    with raises_code("E-FILTER-COLUMN", "'labls'"):
        remove_items(tmp_path / "i", where="labls has even")
    with raises_code("E-INDEX-MISSING", "none:"):
        remove_items(tmp_path / "none", ["a"])
    assert not (tmp_path / "none").exists()


def test_many_dead_rows_are_written_anew_in_the_same_commit(tmp_path):
    points = codes(60)
    build_parts(tmp_path / "i", points, [20, 40], Hamming(16))
    remove_items(tmp_path / "i", [f"id-{i}" for i in [0, *range(20, 26), *range(40, 60)]])
    store = IndexStore.open(tmp_path / "i")
    assert [(segment.rows, len(segment.removed)) for segment in store.segments] == [(20, 1), (14, 0)]
    assert np.array_equal(np.concatenate(store.points), np.concatenate([points[:20], points[26:40]]))
    assert [item["id"] for item in store.metadata(range(34))] == [
        f"id-{i}" for i in [*range(20), *range(26, 40)]
    ]
    assert store.verify() == 7 and len(list((tmp_path / "i/segments").iterdir())) == 4  # younger than an hour


def test_the_last_item_may_go(tmp_path):
    for space in SPACES:
        path = tmp_path / f"{space.name}{space.width}"
        build(path, 5, space)
        remove_items(path, where="id startswith id")
        store = IndexStore.open(path)
        assert len(store) == store.rows == 0 and store.manifest.min_reader == 1 and store.verify() == 3
        scores, rows = ExactSearch(store)(points_of(space, 2), 3)
        assert scores.shape == rows.shape == (2, 0)
        assert [len(rows) for _, rows in ExactSearch(store).range_search(points_of(space, 2), 1)] == [0, 0]
        assert store.where("labels has even").shape == (0,)
        with raises_code("E-ID-UNKNOWN", "'id-0'"):
            store.row_of("id-0")


def test_through_the_index(tmp_path):
    built = Index.build(tmp_path / "i", codes(50), items=items(50) | {"tags": [[f"t{i}"] for i in range(50)]})
    left = built.remove(["id-7"])
    assert len(built) == 50 and len(left) == 49
    assert "id-7" not in {hit.id for hit in left.search(points=codes(50)[7], k=50)}
    assert "id-7" in {hit.id for hit in built.search(points=codes(50)[7], k=50)}
    assert "id-7" not in {hit.id for hit in left.search(like="id-8", radius=16)}
    assert left.search(points=codes(50)[7], where="id = 'id-7'") == []
    assert "t7" not in stored_texts(left.store) and "t8" in stored_texts(left.store)
    with raises_code("E-ID-UNKNOWN", "'id-7'"):
        left.search(like="id-7")
    more = left.add(codes(1, seed=5), items={"id": ["new"]})
    assert len(more) == 50 and len(left) == 49 and more.search(points=codes(1, seed=5), k=1)[0].id == "new"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([5, 60], ("E-INDEX-DAMAGED", "2 rows")),
        ([-1, 3], ("E-INDEX-DAMAGED", "2 rows")),
        ([3], ("E-INDEX-DAMAGED", "2 rows")),
    ],
)
def test_tombstones_that_do_not_fit(tmp_path, rows, message):
    build(tmp_path / "i")
    remove_items(tmp_path / "i", ["id-3", "id-5"])
    store = IndexStore.open(tmp_path / "i")
    name = f"tombstones/{store.manifest.tombstones[0].name}"
    np.save(tmp_path / "i" / name, np.array(rows, dtype="<i8"))
    with pytest.raises(LimbeckError, match="damaged: tombstones"):
        store.verify()
    resign(tmp_path / "i")
    with raises_code(*message):
        IndexStore.open(tmp_path / "i")


def test_a_failed_removal_leaves_the_old_state(tmp_path, monkeypatch):
    build(tmp_path / "i", 10)
    before = sorted(str(path) for path in tmp_path.rglob("*") if path.name != "tombstones")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(changes, "publish", full)
    with raises_code("E-PATH-WRITE", "i:"):
        remove_items(tmp_path / "i", ["id-1"])
    assert sorted(str(path) for path in tmp_path.rglob("*") if path.name != "tombstones") == before
    monkeypatch.undo()
    assert len(IndexStore.open(tmp_path / "i")) == 10
    assert remove_items(tmp_path / "i", ["id-1"]) == 1
