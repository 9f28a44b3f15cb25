from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from helpers_index import SPACES, build, build_parts, codes, items, points_of

from call_count import counted
from limbeck.errors import LimbeckError
from limbeck.index import id_table
from limbeck.index import transaction as changes
from limbeck.index.add import Added, add_batches
from limbeck.index.compact import compact_index
from limbeck.index.id_table import IdTableWriter, check_unique
from limbeck.index.items import hash_ids
from limbeck.index.query import ExactSearch
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming, Sphere
from raising import raises_code

META = StoreMeta(Hamming(16))


def add(path, points, columns, meta=META, **options) -> Added:
    return add_batches(path, [(points, columns)], meta, **options)


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_what_was_added_answers_as_if_built_at_once(tmp_path, space):
    points, meta = points_of(space, 60), StoreMeta(space)
    build_parts(tmp_path / "one", points, [], space)
    build_parts(tmp_path / "i", points[:20], [], space)
    for start, stop in ((20, 21), (21, 60)):
        made = add(tmp_path / "i", points[start:stop], items(stop - start, start), meta)
        assert made == Added(stop - start, 0)
    one, many = IndexStore.open(tmp_path / "one"), IndexStore.open(tmp_path / "i")
    assert len(many.segments) == 3 and many.manifest.generation == 3 and many.manifest.min_reader == 1
    for left, right in zip(ExactSearch(one)(points[:7], 30), ExactSearch(many)(points[:7], 30), strict=True):
        assert np.array_equal(left, right)
    assert many.metadata(range(60)) == one.metadata(range(60)) and many.verify() == 9


@pytest.mark.parametrize("ids", [True, False], ids=["told before", "found on the way"])
def test_known_and_repeated_ids_are_refused(tmp_path, ids):
    build(tmp_path / "i", 20)
    before = sorted(str(path) for path in tmp_path.rglob("*"))

    def refused(columns, message, **options):
        options |= {"ids": columns["id"]} if ids else {}
        with pytest.raises(LimbeckError, match=message):
            add(tmp_path / "i", codes(len(columns["id"])), columns, **options)

    refused(items(30), r"20 ids \('id-0', 'id-1', 'id-2', 'id-3', 'id-4', …\) are in it already; --replace")
    refused(items(2, 19), "id 'id-19' is in it already")
    refused({"id": ["a", "b", "a"]}, "id 'a' (is given|appears) more than once")
    refused({"id": ["id-1", "b", "id-1"]}, "more than once", replace=True)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_replace_upserts_in_one_commit(tmp_path):
    build(tmp_path / "i", 50)
    new = codes(4, seed=9)
    columns = {"id": ["id-3", "x", "id-4", "y"], "path": ["3", "x", "4", "y"], "labels": [["new"]] * 4}
    assert add(tmp_path / "i", new, columns, replace=True) == Added(4, 2)
    store = IndexStore.open(tmp_path / "i")
    assert len(store) == 52 and store.rows == 54 and store.manifest.generation == 2
    assert store.rows_of(["id-3", "x", "id-4", "y", "id-5"]).tolist() == [50, 51, 52, 53, 5]
    assert np.array_equal(store.points_at(np.arange(50, 54)), new)
    assert ExactSearch(store)(new[:1], 1)[1][0, 0] == 50
    scores, rows = ExactSearch(store)(codes(50)[3:4], 52)
    assert 3 not in rows and 4 not in rows and scores.shape == (1, 52)
    assert store.verify() == 7
    with raises_code("E-ID-EXISTS", "'id-3'"):
        add(tmp_path / "i", new[:1], {"id": ["id-3"]})
    assert add(tmp_path / "i", new[:1], {"id": ["id-3"]}, replace=True) == Added(1, 1)
    remove_items(tmp_path / "i", ["id-3"])
    assert add(tmp_path / "i", new[:1], {"id": ["id-3"]}) == Added(1, 0)


def test_new_columns_come_and_types_stay(tmp_path):
    build(tmp_path / "i", 5)
    late = {"id": ["a", "b"], "year": [2001, None], "labels": [[], []]}
    add(tmp_path / "i", codes(2), late)
    store = IndexStore.open(tmp_path / "i")
    assert store.schema.names == ["id", "path", "labels", "year"] and store.manifest.min_reader == 2
    assert store.metadata([0, 5]) == [
        {"id": "id-0", "path": None, "labels": ["even"], "year": None},
        {"id": "a", "path": None, "labels": [], "year": 2001},
    ]
    assert np.flatnonzero(store.where("year is null")).tolist() == [0, 1, 2, 3, 4, 6]
    assert np.flatnonzero(store.where("year > 2000")).tolist() == [5]
    for columns, message in (
        ({"id": ["c"], "year": ["2002"]}, "column 'year' holds string, in the index int64; convert it"),
        ({"id": ["c"], "labels": ["even"]}, "column 'labels' holds string, in the index list"),
    ):
        with pytest.raises(LimbeckError, match=message):
            add(tmp_path / "i", codes(1), columns)
    assert compact_index(tmp_path / "i")
    store = IndexStore.open(tmp_path / "i")
    assert store.manifest.min_reader == 1 and store.metadata([0])[0]["year"] is None and store.verify() == 3


@pytest.mark.parametrize(
    ("points", "meta", "message"),
    [
        (
            codes(1, 32),
            StoreMeta(Hamming(32)),
            ("E-INDEX-OTHER-MODEL", "bits=16", "32"),
        ),
        (codes(1), StoreMeta(Sphere(2)), ("E-INDEX-OTHER-MODEL", "not of Sphere")),
        (codes(1, 32), META, ("E-ARRAY-SHAPE", "width 4", "16-bit")),
        (
            codes(1),
            StoreMeta(Hamming(16), "abcdefghij"),
            ("E-INDEX-OTHER-MODEL", "no known model, the new ones of space abcdefgh"),
        ),
        (
            codes(1),
            StoreMeta(Hamming(16), modality="text"),
            ("E-INDEX-OTHER-MODEL", "holds images, not texts"),
        ),
        (codes(2), META, ("E-ARRAY-ROWS", "2 points", "1 items")),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, points, meta, message):
    build(tmp_path / "i", 5)
    with raises_code(*message):
        add(tmp_path / "i", points, {"id": ["a"]}, meta)
    assert len(IndexStore.open(tmp_path / "i")) == 5 and len(list((tmp_path / "i/segments").iterdir())) == 1


def test_many_small_segments_are_merged(tmp_path):
    points = codes(24)
    build_parts(tmp_path / "i", points[:2], [], Hamming(16))
    for i in range(2, 24):
        add(tmp_path / "i", points[i : i + 1], items(1, i))
        if i % 5 == 0:
            remove_items(tmp_path / "i", [f"id-{i}"])
    store = IndexStore.open(tmp_path / "i")
    assert len(store.segments) <= changes.SMALL_SEGMENTS
    kept = [i for i in range(24) if i < 2 or i % 5]
    alive = np.flatnonzero(store.alive) if store.alive is not None else range(len(store))
    assert [item["id"] for item in store.metadata(alive)] == [f"id-{i}" for i in kept]
    assert np.array_equal(store.points_at(np.asarray(alive)), points[kept]) and store.verify()


def test_compact_keeps_the_order(tmp_path):
    points = codes(500)
    build_parts(tmp_path / "i", points, [100, 101, 350], Hamming(16))
    gone = [0, 99, 102, 200, 499]
    before = IndexStore.open(tmp_path / "i")
    remove_items(tmp_path / "i", [f"id-{i}" for i in gone])
    old = ExactSearch(IndexStore.open(tmp_path / "i"))(points[:20], 30)
    assert compact_index(tmp_path / "i") and not compact_index(tmp_path / "i")
    store = IndexStore.open(tmp_path / "i")
    kept = np.setdiff1d(np.arange(500), gone)
    assert len(store) == store.rows == 495 and len(store.segments) == 1 and store.manifest.min_reader == 1
    assert np.array_equal(store.points[0], points[kept])
    new = ExactSearch(store)(points[:20], 30)
    assert np.array_equal(new[0], old[0]) and np.array_equal(kept[new[1]], old[1])
    assert store.rows_of([f"id-{i}" for i in kept]).tolist() == list(range(495))
    assert before.metadata([499])[0]["id"] == "id-499"


def test_one_media_root(tmp_path):
    root = tmp_path / "pictures"
    for name in ("a/b", "c"):
        (root / name).mkdir(parents=True)
    meta = StoreMeta(Hamming(16), media_root=str(root / "a"))
    build(tmp_path / "i", 4, meta=meta)
    inside = StoreMeta(Hamming(16), media_root=str(root / "a/b"))
    add(tmp_path / "i", codes(2), {"id": ["x", "y"], "path": ["x.jpg", None]}, inside)
    store = IndexStore.open(tmp_path / "i")
    assert [item["path"] for item in store.metadata([1, 4, 5])] == ["1.jpg", "b/x.jpg", None]
    outside = StoreMeta(Hamming(16), media_root=str(root / "c"))
    with raises_code("E-INDEX-MEDIA", "--media-root", root):
        add(tmp_path / "i", codes(1), {"id": ["z"], "path": ["z.jpg"]}, outside)
    with raises_code("E-INDEX-MEDIA", "i:"):
        compact_index(tmp_path / "i", media_root=root / "c")
    assert compact_index(tmp_path / "i", media_root=root)
    add(tmp_path / "i", codes(1), {"id": ["z"], "path": ["z.jpg"]}, outside)
    store = IndexStore.open(tmp_path / "i")
    assert store.manifest.media_root == str(root)
    assert [item["path"] for item in store.metadata([1, 4, 5, 6])] == [
        "a/1.jpg",
        "a/b/x.jpg",
        None,
        "c/z.jpg",
    ]
    build(tmp_path / "none", 4)
    with raises_code("E-INDEX-MEDIA", "none:"):
        add(tmp_path / "none", codes(1), {"id": ["z"], "path": ["z.jpg"]}, outside)


@pytest.mark.parametrize("rows", [0, 1, 7, 8, 100])
def test_an_id_table_is_the_same_in_one_run_and_in_many(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(id_table, "RUN", 8)
    hashes = hash_ids(f"n{i % 50}" for i in range(rows))  # some are equal
    table = IdTableWriter(tmp_path / "t.npy")
    for start in range(0, rows, 3):
        table.append(hashes[start : start + 3])
    table.write()
    order = np.argsort(hashes, kind="stable")
    found = np.load(tmp_path / "t.npy")
    assert np.array_equal(found, np.stack([hashes[order], order.astype(np.uint64)]))
    assert [path.name for path in tmp_path.iterdir()] == ["t.npy"]


def test_repeated_ids_are_found_range_by_range(tmp_path, monkeypatch):
    monkeypatch.setattr(id_table, "RUN", 8)
    store = build(tmp_path / "i", 100)
    check_unique(store.segments)
    with raises_code("E-ID-REPEATED", "items:"):
        check_unique([*store.segments, store.segments[0]])


def test_many_items_take_a_few_calls_each(tmp_path):
    n = 200_000
    table = pa.table({"id": pa.array(np.arange(n).astype(str)), "year": np.arange(n) % 100})
    with counted() as work:
        store = IndexStore.build(tmp_path / "i", [(codes(n, 64), table)], StoreMeta(Hamming(64)))
        assert remove_items(tmp_path / "i", where="year = 7") == n // 100
        compact_index(tmp_path / "i")
        store = IndexStore.open(tmp_path / "i")
        assert len(store) == n - n // 100 and store.rows_of(["6", "7", "8"]).tolist() == [6, -1, 7]
    assert work.calls < 10 * n
