"""A collection of Milvus behind the search, against the exact engine; the server is a stand-in."""

from __future__ import annotations

import json
import socket
import sys
from importlib.util import find_spec

import numpy as np
import pytest
from fake_milvus import PYMILVUS, FakeMilvus
from helpers_index import build_parts, items, points_of

import limbeck
from limbeck.codes import sign_codes
from limbeck.errors import LimbeckError
from limbeck.index.add import add_batches
from limbeck.index.compact import compact_index
from limbeck.index.filter_parser import Where
from limbeck.index.milvus import push as pushing
from limbeck.index.milvus import search as searching
from limbeck.index.milvus.address import Address, connect, is_address
from limbeck.index.milvus.push import push_index
from limbeck.index.milvus.search import open_search
from limbeck.index.query import ExactSearch
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.spaces import Euclid, Hamming, Lorentz, Space, Sphere

AT = "milvus://127.0.0.1:19530/pictures"
EVEN = 'array_contains_any(labels, ["even"])'
SPACES = [Hamming(16), Hamming(64), Sphere(8), Lorentz(8, 0.7), Euclid(8)]


@pytest.fixture
def client(monkeypatch):
    """The one server of a test."""
    fake = FakeMilvus({EVEN: lambda row: "even" in row["labels"]})
    monkeypatch.setitem(sys.modules, "pymilvus", PYMILVUS)
    for module in (pushing, searching):
        monkeypatch.setattr(module, "connect", lambda address: fake)
    return fake


def make(path, space: Space, rows: int = 300, cuts=(120,)) -> IndexStore:
    return build_parts(path, points_of(space, rows), list(cuts), space)


def queries(space: Space) -> np.ndarray:
    return np.concatenate([points_of(space, 6, 5), points_of(space, 2)])


def same(store: IndexStore, address: str = AT, ks=(1, 7, 100), space: Space | None = None) -> None:
    """The collection answers as the exact engine does, with a filter and without, and within a radius."""
    search, exact = open_search(store, address), ExactSearch(store)
    asked = queries(store.space)
    for text in (None, "labels has even"):
        where = None if text is None else Where(text, store.schema)
        mask = None if text is None else store.where(text)
        for k in (*ks, len(store) + 5):
            for got, wanted in zip(search(asked, k, where), exact(asked, k, mask), strict=True):
                assert got.dtype == wanted.dtype
                np.testing.assert_array_equal(got, wanted)
        radius = float(exact(asked[:1], 9, mask)[0][0, -1])
        for got, wanted in zip(
            search.range_search(asked, radius, where), exact.range_search(asked, radius, mask), strict=True
        ):
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_answers_as_the_exact_engine(tmp_path, client, space):
    store = make(tmp_path / "index", space)
    pushed = push_index(store.path, AT)
    assert pushed.rows == 300 and pushed.left_out == [] and client.aliases == {"pictures": pushed.collection}
    same(store)


@pytest.mark.parametrize("space", [Hamming(16), Lorentz(8, 0.7)], ids=repr)
def test_what_milvus_cannot_settle_is_searched_here(tmp_path, client, space, monkeypatch):
    monkeypatch.setattr(searching, "MOST", 32)  # many more tie, and 100 are asked for
    store = make(tmp_path / "index", space)
    push_index(store.path, AT)
    same(store)
    assert max(limit for _, limit in client.asked) == 32


@pytest.mark.parametrize("space", [Hamming(16), Sphere(8)], ids=repr)
def test_rows_that_came_or_went_since(tmp_path, client, space):
    store = make(tmp_path / "index", space)
    remove_items(store.path, ["id-3", "id-130"])
    push_index(store.path, AT)
    remove_items(store.path, [f"id-{i}" for i in range(20, 40)])
    add_batches(store.path, [(points_of(space, 50, 9), items(50, 300))], StoreMeta(space))
    store = IndexStore.open(store.path)
    search = open_search(store, AT)
    assert search.uncovered == 50 and "14.3% of the rows were added later" in search.why
    same(store)
    compact_index(store.path)
    with pytest.raises(
        LimbeckError, match=r"stale: it holds generation 2 of .* index push .*/index milvus:.* again$"
    ):
        open_search(IndexStore.open(store.path), AT)


@pytest.mark.parametrize("space", [Hamming(64), Sphere(8), Lorentz(8, 0.7)], ids=repr)
def test_lists_compare_by_a_true_distance(tmp_path, client, space):
    store = make(tmp_path / "index", space)
    push_index(store.path, AT, nlist=8)
    index = client.describe_index("pictures", "point")
    kind = ("BIN_IVF_FLAT", "HAMMING") if space.storage == "codes" else ("IVF_FLAT", "L2")
    assert (index["index_type"], index["metric_type"]) == kind and index["params"] == {"nlist": 8}
    search, asked = open_search(store, f"{AT}?nprobe=3"), queries(space)
    assert search.why.endswith("3 of 8 lists, recall not measured")
    np.testing.assert_array_equal(search(asked, 7)[0], ExactSearch(store)(asked, 7)[0])
    with pytest.raises(LimbeckError, match=r"^radius: .*--engine exact$"):
        search.range_search(asked, 1)


def test_search_through_the_index(tmp_path, client, run):
    store = make(tmp_path / "index", Hamming(64))
    status, out, err = run("index", "push", store.path, AT)
    assert status == 0 and f"300 items in {AT}; try: limbeck search" in out
    index = limbeck.Index.open(store.path)
    for options in ({}, {"where": "labels has even"}, {"radius": 30}):
        assert index.search(like="id-7", engine=AT, **options) == index.search(like="id-7", **options)
    points = points_of(Hamming(64), 3, 5)
    for got, wanted in zip(index.search_points(points, engine=AT), index.search_points(points), strict=True):
        np.testing.assert_array_equal(got, wanted)
    status, out, err = run(
        "search", store.path, "--like", "id-7", "-k", "2", "--engine", AT, "--json", tmp_path / "hits.json"
    )
    assert status == 0 and err.startswith(
        f"engine milvus: 300 items of generation 1 in {AT}, every item compared"
    )
    floats = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    ids = {"id": [f"{i}" for i in range(50)]}
    two = limbeck.Index.build(tmp_path / "two", sign_codes(floats), items=ids, embeddings=floats)
    assert push_index(tmp_path / "two", AT + "2").left_out == ["embedding"]
    assert two.search(like="7", k=5, rerank=20, engine=AT + "2") == two.search(like="7", k=5, rerank=20)
    choice = json.loads((tmp_path / "hits.json").read_text())["engine"]
    assert choice["engine"] == "milvus" and choice["recall"] == 1.0 and choice["uncovered"] == 0
    with pytest.raises(LimbeckError, match=r"^hierarchy: more-general .*--engine exact$"):
        index.search(like="id-7", engine=AT, hierarchy="more-general")


def test_the_name_moves_when_all_is_there(tmp_path, client, monkeypatch):
    store = make(tmp_path / "index", Hamming(16))
    first = push_index(store.path, AT).collection
    opened = open_search(store, AT)
    monkeypatch.setattr(client, "query", lambda name, **options: [{"count(*)": 299}])
    with pytest.raises(LimbeckError, match=r"^pictures_[0-9a-f]{8}: 299 of 300 items arrived; push again$"):
        push_index(store.path, AT)
    assert client.aliases == {"pictures": first} and list(client.collections) == [first]
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "pymilvus", PYMILVUS)
    monkeypatch.setattr(pushing, "connect", lambda address: client)
    client.collections["pictures_0123abcd"] = client.collections[first]  # what a killed push leaves
    second = push_index(store.path, AT).collection
    assert client.aliases == {"pictures": second} and list(client.collections) == [second]
    with pytest.raises(KeyError):  # a search that is open asks for the collection it was opened with
        opened(queries(store.space), 1)


def test_names_of_others_are_not_taken(tmp_path, client):
    store, other = make(tmp_path / "a", Hamming(16)), make(tmp_path / "b", Hamming(16))
    client.create_collection("pictures", client.create_schema(description=""))
    with pytest.raises(LimbeckError, match=r"^milvus:.*/pictures: a collection that .* did not make"):
        push_index(store.path, AT)
    with pytest.raises(LimbeckError, match="was not made by limbeck index push"):
        open_search(store, AT)
    client.drop_collection("pictures")
    push_index(store.path, AT)
    with pytest.raises(
        LimbeckError, match="holds another index or model; choose another name, or use --replace"
    ):
        push_index(other.path, AT)
    push_index(other.path, AT, replace=True)
    with pytest.raises(LimbeckError, match="stale"):
        open_search(store, AT)


def test_collections_that_do_not_fit(tmp_path, client):
    store = make(tmp_path / "index", Hamming(16))
    with pytest.raises(
        LimbeckError, match=rf"^{AT}: holds no such collection; limbeck index push .*/index {AT} loads"
    ):
        open_search(store, AT)
    push_index(store.path, AT)
    wide = make(tmp_path / "wide", Hamming(64))
    with pytest.raises(LimbeckError, match="holds points of hamming bits=16, the index of hamming bits=64"):
        open_search(wide, AT)
    named = IndexStore.build(
        tmp_path / "named", [(points_of(Hamming(16), 9), items(9))], StoreMeta(Hamming(16), "other")
    )
    with pytest.raises(LimbeckError, match=r"another model \(space_id None, the index other\)"):
        open_search(named, AT)
    with pytest.raises(LimbeckError, match=r"has no lists; leave out \?nprobe="):
        open_search(store, f"{AT}?nprobe=4")
    client.describe_index("pictures", "point")["index_type"] = "HNSW"
    with pytest.raises(
        LimbeckError, match="its index is HNSW HAMMING, not the BIN_FLAT HAMMING that was pushed"
    ):
        open_search(store, AT)
    schema = client.collection_of("pictures")["schema"]
    schema.description = schema.description.replace('"limbeck": 1', '"limbeck": 2')
    with pytest.raises(LimbeckError, match="format 2, but this limbeck reads 1; upgrade"):
        open_search(store, AT)


@pytest.mark.parametrize("lists", [-1, 301, True, 2.0])
def test_numbers_of_lists(tmp_path, client, lists):
    store = make(tmp_path / "index", Hamming(16))
    with pytest.raises(LimbeckError, match=r"^nlist: .* is not a whole number from 0 to 300"):
        push_index(store.path, AT, nlist=lists)


def test_addresses():
    assert Address.parse("milvus://db/a1") == Address("db", 19530, "a1")
    found = Address.parse("milvus+tls://10.0.0.1:443/a?nprobe=8")
    assert found == Address("10.0.0.1", 443, "a", True, 8) and found.uri == "https://10.0.0.1:443"
    assert str(found) == "milvus+tls://10.0.0.1:443/a" and Address.parse("milvus://[::1]/a").host == "[::1]"
    assert is_address("milvus://x") and not is_address("milvus") and not is_address("exact")
    with pytest.raises(LimbeckError, match=r"\?probes= is now named \?nprobe="):
        Address.parse("milvus://host/a?probes=8")


@pytest.mark.parametrize(
    "rest", ["", "host", "host/", "host/a-b", "u:p@host/a", "h:70000/a", "h/a?nprobe=0", "h/a?x=1"]
)
def test_bad_addresses(rest):
    with pytest.raises(
        LimbeckError, match=r"^milvus: .* is not an address; write milvus://HOST:19530/NAME .*MILVUS_TOKEN$"
    ):
        Address.parse(f"milvus://{rest}")


def test_pymilvus_is_named_when_missing(tmp_path, monkeypatch):
    store = make(tmp_path / "index", Hamming(16))
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    with pytest.raises(
        LimbeckError, match=r"^pymilvus is not installed; type: pip install 'limbeck\[milvus\]'$"
    ):
        limbeck.Index.open(store.path).search(like="id-1", engine=AT)


@pytest.mark.skipif(find_spec("pymilvus") is None, reason="needs pymilvus")
def test_a_server_that_is_not_there(monkeypatch):
    monkeypatch.setattr("limbeck.index.milvus.address.CONNECT_SECONDS", 0.5)
    with socket.socket() as taken:  # a port that nobody listens at
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(
            LimbeckError, match=rf"^milvus: no server answers at 127.0.0.1:{port} .*; start it"
        ):
            connect(Address("127.0.0.1", port, "a"))
