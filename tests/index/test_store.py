from __future__ import annotations

import os
import time

import numpy as np
import pytest
from helpers_index import SPACES, build, build_parts, codes, items, points_of

from limbeck.errors import LimbeckError
from limbeck.index import segment_writer
from limbeck.index import store as store_module
from limbeck.index.query import ExactSearch
from limbeck.index.store import IndexStore, verify_index
from limbeck.index.writer import EncoderSource, StoreMeta, commit
from limbeck.spaces import Hamming
from raising import raises_code


def test_what_was_built_comes_back(tmp_path):
    build(tmp_path / "i", 50)
    store = IndexStore.open(tmp_path / "i")
    assert len(store) == 50
    assert np.array_equal(np.concatenate(store.points), codes(50))
    assert isinstance(store.points[0], np.memmap)
    assert store.metadata([3, 0]) == [
        {"id": "id-3", "path": "3.jpg", "labels": []},
        {"id": "id-0", "path": None, "labels": ["even"]},
    ]
    assert [store.row_of(f"id-{i}") for i in range(50)] == list(range(50))
    info = store.info()
    assert info["items"] == 50 and info["format"] == 1 and info["space"] == {"name": "hamming", "bits": 16}
    assert info["columns"] == {"id": "string", "path": "string", "labels": "list<item: string>"}
    assert store.verify() == 3
    with raises_code("E-ID-UNKNOWN", "'nobody'"):
        store.row_of("nobody")
    for row in (-1, 50):
        with raises_code("E-ROW-RANGE", "49"):
            store.metadata([row])


def test_batches_and_one_piece_give_the_same(tmp_path):
    points = codes(1000)
    batches = [(points[a : a + 7], items(len(points[a : a + 7]), a)) for a in range(0, 1000, 7)]
    store = IndexStore.build(tmp_path / "i", batches, StoreMeta(Hamming(16)))
    assert np.array_equal(store.points[0], points)
    assert store.metadata([999])[0]["id"] == "id-999"
    assert store.segments[0].items.column("id").num_chunks == 1


@pytest.mark.parametrize("space", SPACES, ids=str)
@pytest.mark.parametrize("cuts", [[40], [1, 2, 59]], ids=str)
def test_several_segments_answer_as_one(tmp_path, space, cuts):
    points = points_of(space, 60)
    points[50:] = points[:10]  # equal points in different segments
    store = build_parts(tmp_path / "i", points, cuts, space)
    assert len(store.segments) == len(cuts) + 1
    assert [store.row_of(f"id-{i}") for i in range(60)] == list(range(60))
    assert [item["id"] for item in store.metadata(range(60))] == [f"id-{i}" for i in range(60)]
    queries = points_of(space, 9, seed=1)
    near = space.similarity(queries, points)
    for k in (1, 7, 60, 100):
        scores, rows = ExactSearch(store)(queries, k)
        assert scores.shape == rows.shape == (9, min(k, 60)) and rows.dtype == np.int64
        order = np.lexsort((np.broadcast_to(np.arange(60), near.shape), -near), axis=1)[:, :k]
        assert np.array_equal(rows, order)
        np.testing.assert_allclose(space.score_sign * scores, np.take_along_axis(near, order, 1), atol=1e-6)


def test_one_segment_and_many_agree_exactly(tmp_path):
    for space in SPACES:
        points, queries = points_of(space, 300), points_of(space, 5, seed=2)
        one = build_parts(tmp_path / f"{space.width}{space.name}", points, [], space)
        many = build_parts(tmp_path / f"{space.width}{space.name}s", points, [100, 101, 250], space)
        for left, right in zip(ExactSearch(one)(queries, 40), ExactSearch(many)(queries, 40), strict=True):
            assert np.array_equal(left, right)


def test_ids_whose_hashes_collide_are_told_apart(tmp_path, monkeypatch):
    for module in (segment_writer, store_module):
        monkeypatch.setattr(module, "hash_ids", lambda ids: np.full(len(list(ids)), 7, "<u8"))
    store = build_parts(tmp_path / "i", codes(20), [12], Hamming(16))
    assert [store.row_of(f"id-{i}") for i in range(20)] == list(range(20))
    with raises_code("E-ID-UNKNOWN", "i:"):
        store.row_of("id-20")


@pytest.mark.parametrize("second", [{"id": ["a", "b"]}, {"id": ["c", "c"]}], ids=["across", "within"])
def test_a_repeated_id_is_named(tmp_path, second):
    parts = [[(codes(2), {"id": ["a", "x"]})], [(codes(2), second)]]
    with raises_code("E-ID-REPEATED", "items:"):
        commit(tmp_path / "i", parts, StoreMeta(Hamming(16)))
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "no items"),
        ([(codes(3, 32), {"id": ["a", "b", "c"]})], "width 4, expected 16-bit codes"),
        ([(codes(3).astype(np.int64), {"id": ["a", "b", "c"]})], "int64"),
        ([(codes(3), {"id": ["a", "b"]})], "3 points but 2 items"),
        ([(codes(1), {"name": ["a"]})], "column 'id' is missing"),
        ([(codes(1), {"id": [3]})], "holds int64, not strings"),
        ([(codes(2), {"id": ["a", None]})], "row 1 has no id"),
        ([(codes(2), {"id": ["a", ""]})], "row 1 has no id"),
        ([(codes(1), {"id": ["a"]}), (codes(1), {"id": ["b"], "path": ["x"]})], "change their columns"),
        ([(codes(2), {"id": ["a", "b"], "n": [1, "x"]})], "column 'n' mixes types"),
    ],
)
def test_bad_input_leaves_nothing(tmp_path, batches, message):
    with pytest.raises(LimbeckError, match=message) as caught:
        IndexStore.build(tmp_path / "i", batches, StoreMeta(Hamming(16)))
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_index_is_not_overwritten_unless_asked(tmp_path):
    old = build(tmp_path / "i", 10)
    with raises_code("E-PATH-EXISTS", "i:"):
        build(tmp_path / "i", 20)
    assert len(IndexStore.open(tmp_path / "i")) == 10
    new = build(tmp_path / "i", 20, replace=True)
    assert len(new) == 20 and new.manifest.generation == 2
    assert old.metadata([9])[0]["id"] == "id-9"
    with raises_code("E-ID-REPEATED", "items:"):
        IndexStore.build(
            tmp_path / "i", [(codes(2), {"id": ["a", "a"]})], StoreMeta(Hamming(16)), replace=True
        )
    assert len(IndexStore.open(tmp_path / "i")) == 20


def test_old_generations_go_when_nobody_can_need_them(tmp_path):
    for n in (10, 11, 12):
        build(tmp_path / "i", n, replace=True)
    assert len(list((tmp_path / "i/segments").iterdir())) == 3  # younger than an hour
    ago = time.time() - 7200
    for entry in [*(tmp_path / "i/segments").iterdir(), *(tmp_path / "i").glob("manifest-*")]:
        os.utime(entry, (ago, ago))
    build(tmp_path / "i", 13, replace=True)
    assert sorted(file.name for file in (tmp_path / "i").glob("manifest-*")) == [
        "manifest-3.json",
        "manifest-4.json",
    ]
    assert len(list((tmp_path / "i/segments").iterdir())) == 2
    assert IndexStore.open(tmp_path / "i").verify() == 3


def test_a_place_that_holds_other_things_is_left_alone(tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with raises_code("E-PATH-EXISTS", "letters.txt"):
        build(tmp_path)
    with raises_code("E-PATH-KIND", "letters.txt:"):
        build(tmp_path / "letters.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["letters.txt"]


@pytest.mark.parametrize("name", ["points.npy", "items.arrow", "id_hash.npy"])
def test_a_flipped_byte_is_found_and_named(tmp_path, name):
    build(tmp_path / "i", 50)
    file = next((tmp_path / "i/segments").glob(f"*/{name}"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with raises_code("E-INDEX-DAMAGED", name):
        verify_index(tmp_path / "i")


@pytest.mark.parametrize("name", ["points.npy", "items.arrow", "id_hash.npy"])
def test_a_truncated_or_missing_file_is_refused_at_once(tmp_path, name):
    build(tmp_path / "i", 50)
    file = next((tmp_path / "i/segments").glob(f"*/{name}"))
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with raises_code("E-INDEX-DAMAGED", name, len(data) - 1, len(data)):
        IndexStore.open(tmp_path / "i")
    file.unlink()
    with raises_code("E-INDEX-DAMAGED", name):
        IndexStore.open(tmp_path / "i")


def _encoder(folder, text="weights"):
    (folder / "text").mkdir()
    (folder / "model.bin").write_text(text)
    (folder / "text/vocabulary.json").write_text("[]")


def test_query_encoders_travel_with_the_index(tmp_path):
    source = EncoderSource(_encoder, "abc", {"text": "text", "image": "features:mobile"})
    store = build(tmp_path / "i", meta=StoreMeta(Hamming(16), "abc", encoders=[source]))
    folder, entry = store.encoder_for("image")
    assert (folder / "text/vocabulary.json").read_text() == "[]"
    assert entry.modalities["image"] == "features:mobile" and entry.space_id == "abc"
    assert store.encoder_for("sound") is None
    assert store.verify() == 5
    again = build(tmp_path / "i", meta=StoreMeta(Hamming(16), "abc", encoders=[source]), replace=True)
    assert again.encoder_for("text")[0] == folder and len(list((tmp_path / "i/encoders").iterdir())) == 1
    (folder / "model.bin").write_text("weighty")
    with raises_code("E-INDEX-DAMAGED", "/model.bin"):
        again.verify()


def test_a_damaged_encoder_is_not_built_upon(tmp_path):
    source = EncoderSource(_encoder, "abc", {"text": "text"})
    meta = StoreMeta(Hamming(16), "abc", encoders=[source])
    folder, _ = build(tmp_path / "i", meta=meta).encoder_for("text")
    (folder / "model.bin").write_text("WEIGHTS")
    assert build(tmp_path / "i", meta=meta, replace=True).verify() == 5


def test_an_encoder_of_another_space_is_refused(tmp_path):
    source = EncoderSource(_encoder, "xyz", {"text": "text"})
    with raises_code("E-INDEX-OTHER-MODEL", "i:"):
        build(tmp_path / "i", meta=StoreMeta(Hamming(16), "abc", encoders=[source]))
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_with_links_is_refused(tmp_path):
    source = EncoderSource(
        lambda folder: (folder / "model.bin").symlink_to("/etc/hosts"), "abc", {"text": "text"}
    )
    with raises_code("E-PATH-KIND", "model.bin:"):
        build(tmp_path / "i", meta=StoreMeta(Hamming(16), "abc", encoders=[source]))
    assert list(tmp_path.iterdir()) == []
