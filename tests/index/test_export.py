from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from helpers_index import SPACES, build_parts, codes, points_of

from limbeck.index.codes_file import read_codes_and_ids
from limbeck.index.export import export_index
from limbeck.index.query import ExactSearch
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Hamming
from raising import raises_code


@pytest.fixture(params=SPACES, ids=str)
def store(request, tmp_path):
    build_parts(tmp_path / "i", points_of(request.param, 60), [25], request.param)
    remove_items(tmp_path / "i", ["id-3", "id-30"])
    return IndexStore.open(tmp_path / "i")


@pytest.fixture
def kept():
    return np.setdiff1d(np.arange(60), [3, 30])


def test_parquet_holds_items_and_points(store, kept, tmp_path):
    assert export_index(store.path, tmp_path / "x.parquet") == [tmp_path / "x.parquet"]
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.drop_columns("point").to_pylist() == store.metadata(kept)
    found = table.column("point").to_pylist()
    found = np.array(
        [np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value for value in found]
    )
    assert np.array_equal(found, store.points_at(kept))
    assert json.loads(table.schema.metadata[b"limbeck.space"]) == store.space.to_json()


def test_npy_is_what_build_reads(store, kept, tmp_path):
    files = export_index(store.path, tmp_path / "x.npy")
    points, items = read_codes_and_ids(*files)
    assert np.array_equal(points, store.points_at(kept)) and items["id"] == [f"id-{i}" for i in kept]
    again = IndexStore.build(tmp_path / "j", [(points, items)], StoreMeta(store.space))
    old, new = (ExactSearch(one)(points[:5], 20) for one in (store, again))
    assert np.array_equal(old[0], new[0]) and np.array_equal(old[1], kept[new[1]])


def test_faiss_answers_as_we_do(store, kept, tmp_path):
    faiss = pytest.importorskip("faiss")
    file, ids = export_index(store.path, tmp_path / "x.faiss")
    assert ids.read_text().splitlines() == [f"id-{i}" for i in kept]
    queries = store.points_at(kept[:5])
    if store.space.storage == "codes":
        found = faiss.read_index_binary(str(file)).search(queries, 10)[0]
        assert np.array_equal(found, ExactSearch(store)(queries, 10)[0])
    else:
        asked = store.space.index_queries(queries).astype(np.float32)
        rows = kept[faiss.read_index(str(file)).search(asked, 1)[1]]
        near = store.space.similarity(queries, store.points_at(rows[:, 0]))
        best = store.space.score_sign * ExactSearch(store)(queries, 1)[0]
        np.testing.assert_allclose(np.diag(near)[:, None], best, atol=2e-3)


def test_what_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "i"
    build_parts(path, codes(4), [], Hamming(16))
    with raises_code("E-PATH-ENDING", "faiss"):
        export_index(path, tmp_path / "x.csv")
    (tmp_path / "x.ids.txt").write_text("")
    with raises_code("E-PATH-EXISTS", "x.ids.txt"):
        export_index(path, tmp_path / "x.npy")
    odd = {"id": ["a\nb"], "point": [3]}
    IndexStore.build(tmp_path / "odd", [(codes(1), odd)], StoreMeta(Hamming(16)))
    with raises_code("E-ID-FORM", "odd:"):
        export_index(tmp_path / "odd", tmp_path / "y.npy")
    with raises_code("E-TABLE-COLUMN", "'point'"):
        export_index(tmp_path / "odd", tmp_path / "y.parquet")
    monkeypatch.setitem(sys.modules, "faiss", None)
    with raises_code("E-PACKAGE-MISSING", "faiss"):
        export_index(path, tmp_path / "z.faiss")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["i", "odd", "x.ids.txt"]


def test_an_id_with_a_line_separator_is_one_line(tmp_path):
    """U+2028 ends no line for our reader, so it may stand in a list of ids."""
    odd = {"id": ["a\u2028b", "c\u0085d"], "point": [3, 4]}
    IndexStore.build(tmp_path / "i", [(codes(2), odd)], StoreMeta(Hamming(16)))
    assert read_codes_and_ids(*export_index(tmp_path / "i", tmp_path / "x.npy"))[1]["id"] == odd["id"]
