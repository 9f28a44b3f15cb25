"""Edited files of an index: what would be read beyond its end is refused and named, never read."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
from helpers_index import resign

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index import checked
from limbeck.index.ann_index import open_derived, write_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.arrays import npy_header, open_npy
from limbeck.index.calibration import build_engine
from limbeck.index.engines.base import Candidates, RowMask
from limbeck.index.export import export_index
from limbeck.index.segments import file_entry
from limbeck.index.store import IndexStore, verify_index
from raising import raises_code

CODES = np.random.default_rng(0).integers(0, 256, (60, 8), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    items = {"id": [f"i{i:02}" for i in range(60)], "path": [f"{i:02}.jpg" for i in range(60)]}
    limbeck.Index.build(tmp_path / "ix", CODES, items=items)
    return tmp_path / "ix"


def edit_offsets(path, step: int) -> None:
    """Make the text of row 2 end far beyond the file, in a column of texts of this length."""
    (file,) = path.glob("segments/*/items.arrow")
    content, start = file.read_bytes(), np.arange(0, 4 * step, step, dtype="<i4")
    wrong = start.copy()
    wrong[2] = 2**31 - 1
    assert content.count(start.tobytes()) == 1
    file.write_bytes(content.replace(start.tobytes(), wrong.tobytes()))


def test_ids_whose_offsets_lead_nowhere(path):
    edit_offsets(path, 3)
    with raises_code("E-INDEX-DAMAGED", "items.arrow"):
        verify_index(path)
    resign(path)
    index = limbeck.Index.open(path)
    for ask in (
        lambda: index.search(points=CODES[2], k=3),
        lambda: index.search(points=CODES[9], k=3, where="id like 'i0*'"),
        lambda: index.item("i05"),
        lambda: list(index.store.live_batches()),
    ):
        with raises_code("E-INDEX-DAMAGED", "items.arrow"):
            ask()


def test_a_column_is_checked_when_it_is_read(path):
    edit_offsets(path, 6)  # the paths
    resign(path)
    index = limbeck.Index.open(path)
    assert len(index.store.where("id startswith i")) == 60
    with raises_code("E-INDEX-DAMAGED", "items.arrow"):
        index.store.where("path startswith '0'")
    for item in ("i02", "i50"):  # a batch of rows is checked before the first one is taken from it
        with pytest.raises(LimbeckError, match=r"items.arrow: is damaged"):
            index.item(item)


def test_headers_of_arrays(tmp_path):
    header = npy_header(np.dtype(np.uint8), (3, 4))
    for wrong in (header.replace(b"}", b"("), header.replace(b"3, 4", b"3, ("), header[:60] + b"\xff" * 68):
        (tmp_path / "a.npy").write_bytes(wrong + bytes(12))
        with raises_code("E-ARRAY-FILE", "a.npy"):
            open_npy(tmp_path / "a.npy")


def test_lists_of_an_engine(path):
    store = IndexStore.open(path)
    write_derived(store, "ivf", {"nlist": 4})
    file = path / "derived" / "ivf" / "starts.npy"
    starts = np.load(file)
    for place, value in ((1, 2**60), (0, 1), (-1, 59)):
        wrong = starts.copy()
        wrong[place] = value
        np.save(file, wrong)
        resign(path)
        with raises_code("E-ENGINE-DAMAGED", "starts.npy", "60 rows"):
            open_derived(path, "ivf").open(store.space)


def test_tables_of_multi_index_hashing(path):
    store = IndexStore.open(path)
    write_derived(store, "mih", {"parts": 8})
    folder = path / "derived" / "mih"
    kept = {name: np.load(folder / f"{name}.npy") for name in ("order", "widths", "starts", "entries")}
    twice = kept["order"].copy()
    twice[1] = twice[0]
    for name, wrong in (
        ("order", twice),
        ("widths", kept["widths"][::-1] + np.arange(8)[:, None]),
        ("starts", kept["starts"].view(np.int32)),
    ):
        np.save(folder / f"{name}.npy", wrong)
        resign(path)
        with raises_code("E-ENGINE-DAMAGED", "mih:"):
            open_derived(path, "mih").open(store.space)
        np.save(folder / f"{name}.npy", kept[name])
    # what is not looked at when it is opened cannot lead out of the arrays
    kept["starts"][3:40] = 2**32 - 1
    kept["entries"][:, -1] = 2**32 - 1
    np.save(folder / "starts.npy", kept["starts"])
    np.save(folder / "entries.npy", kept["entries"])
    resign(path)
    found = open_derived(path, "mih").open(store.space).search(CODES[:5], 3, {"budget": 10**9}, None)
    assert (found.rows == -1).all()


def test_rows_that_an_engine_has_not(path, monkeypatch):
    store = IndexStore.open(path)
    derived = write_derived(store, "ivf", {"nlist": 4})
    search = ApproximateSearch(store, derived, {"nprobe": 4})
    wrong = Candidates(np.array([[3, 60]]), np.array([[1, 2]], np.int32))
    monkeypatch.setattr(type(derived.open(store.space)), "search", lambda *_: wrong)
    with raises_code("E-ENGINE-DAMAGED", "ix:"):
        search(CODES[:1], 2)


@pytest.mark.parametrize("name", ["points.npy", "items.arrow", "id_hash.npy"])
def test_a_flipped_bit_is_told_and_never_answers(path, name):
    (file,) = path.glob(f"segments/*/{name}")
    content = bytearray(file.read_bytes())
    content[-40 if name != "items.arrow" else content.index(b"i00i01") + 4] ^= 1
    file.write_bytes(content)
    index = limbeck.Index.open(path)
    with raises_code("E-INDEX-DAMAGED", name):
        index.search(like="i03")


def test_damage_is_not_merged_into_a_sound_index(path):
    (file,) = path.glob("segments/*/points.npy")
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with raises_code("E-INDEX-DAMAGED", "points.npy"):
        limbeck.Index.open(path).remove([f"i{i:02}" for i in range(40)])  # more than a fifth: written anew
    for out in ("out.npy", "out.parquet"):
        with raises_code("E-INDEX-DAMAGED", "points.npy"):
            export_index(path, path.parent / out)


def test_files_of_faiss_are_compared_before_it_reads_them(path):
    pytest.importorskip("faiss")
    store = IndexStore.open(path)
    derived = write_derived(store, "faiss-flat")
    file = derived.folder / "index.faiss"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with raises_code("E-INDEX-DAMAGED", "index.faiss"):
        ApproximateSearch(store, derived, {})


def test_a_tombstone_that_was_edited(path):
    limbeck.Index.open(path).remove(["i03"])
    (file,) = path.glob("tombstones/*.npy")
    rows = np.load(file)
    np.save(file, rows + 1)
    with raises_code("E-INDEX-DAMAGED", "tombstones"):
        limbeck.Index.open(path)


def test_a_sound_file_is_read_once_until_it_changes(path, monkeypatch):
    (file,) = path.glob("segments/*/points.npy")
    past = time.time() - 60
    os.utime(file, (past, past))
    monkeypatch.setattr(checked, "TICK_NS", -1)  # as if the change lay some seconds back
    read: list[int] = []
    digest = checked.digest
    monkeypatch.setattr(checked, "digest", lambda data: read.append(len(data)) or digest(data))
    entry = file_entry(file)
    for _ in range(3):
        checked.check_file(file, entry, "mend")
    assert read == [entry.size]
    monkeypatch.setattr(checked, "STAMPED_BYTES", 0)
    checked.SOUND.clear()
    checked.check_file(file, entry, "mend")
    checked.SOUND.clear()  # as another process
    checked.check_file(file, entry, "mend")
    assert len(read) == 2
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, (past, past))  # the time of the change itself cannot be set
    with raises_code("E-INDEX-DAMAGED", "points.npy:"):
        checked.check_file(file, entry, "mend")


def test_what_was_measured_is_verified_too(path, run):
    store = IndexStore.open(path)
    derived = build_engine(store, "ivf", {"nlist": 4})
    (derived.folder / "measured.json").write_text("{")
    status, _, err = run("index", "verify", path)
    assert status == 1 and "measured.json: is not valid JSON" in err and err.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "wrong"),
    [
        ("rows", lambda rows: np.where(rows == 3, np.uint32(2**32 - 1), rows)),
        ("rows", lambda rows: rows[:-1]),
        ("rows", lambda rows: rows.astype(np.float64)),
        ("codes", lambda codes: codes[:, :4]),
        ("codes", lambda codes: codes[:30]),
        ("codes", lambda codes: codes.astype(np.int16)),
        ("centres", lambda centres: centres[:-1]),
        ("centres", lambda centres: centres.ravel()),
        ("starts", lambda starts: starts.astype(np.float32)),
    ],
)
def test_files_of_ivf_that_do_not_fit_each_other(path, file, wrong):
    store = IndexStore.open(path)
    write_derived(store, "ivf", {"nlist": 4})
    place = path / "derived" / "ivf" / f"{file}.npy"
    np.save(place, wrong(np.load(place)))
    resign(path)
    with pytest.raises(LimbeckError, match=r"do not fit each other|no lists of 60 rows"):
        open_derived(path, "ivf").open(store.space)


def test_a_prefix_of_other_rows(path):
    store = IndexStore.open(path)
    write_derived(store, "prefix")
    place = path / "derived" / "prefix" / "prefix.npy"
    np.save(place, np.load(place)[:20])
    resign(path)
    with raises_code("E-ENGINE-DAMAGED", "prefix.npy", "60 rows"):
        open_derived(path, "prefix").open(store.space)


@pytest.mark.parametrize("row", [2**40, 2**64 - 5])
def test_an_id_table_of_other_rows(path, row):
    (file,) = path.glob("segments/*/id_hash.npy")
    table = np.load(file)
    table[1] = row
    np.save(file, table)
    resign(path)
    index = limbeck.Index.open(path)
    with pytest.raises(LimbeckError, match="its id table names rows that do not exist; restore the file"):
        index.item("i05")


@pytest.mark.parametrize("row", [-(2**40), 60])
def test_rows_that_faiss_has_not(path, row):
    pytest.importorskip("faiss")
    store = IndexStore.open(path)
    engine = write_derived(store, "faiss-flat", {}).open(store.space)

    class Wrong:
        def search(self, queries, count):
            return np.zeros((len(queries), count), np.int32), np.full((len(queries), count), row)

    engine.index = Wrong()
    mask = RowMask(np.ones(60, bool), 1.0)
    with raises_code("E-ENGINE-DAMAGED", "faiss-flat:"):
        engine.search(CODES[:1], 2, {}, mask)


def test_a_file_of_another_index_of_faiss(path):
    pytest.importorskip("faiss")
    store = IndexStore.open(path)
    write_derived(store, "faiss-hnsw")
    other = write_derived(store, "faiss-multihash")
    place = path / "derived" / "faiss-hnsw" / "index.faiss"
    place.write_bytes((other.folder / "index.faiss").read_bytes())
    resign(path)
    with raises_code("E-ENGINE-DAMAGED", "index.faiss:"):
        open_derived(path, "faiss-hnsw").open(store.space)
