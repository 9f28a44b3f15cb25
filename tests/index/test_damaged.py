"""Edited files of an index: what would be read beyond its end is refused and named, never read."""

from __future__ import annotations

import numpy as np
import pytest

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index.approximate import ApproximateSearch
from limbeck.index.arrays import npy_header, open_npy
from limbeck.index.derived import open_derived, write_derived
from limbeck.index.engines.base import Candidates
from limbeck.index.measure import build_engine
from limbeck.index.store import IndexStore, verify_index

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
    index = limbeck.Index.open(path)
    for ask in (
        lambda: index.search(points=CODES[2], k=3),
        lambda: index.search(points=CODES[9], k=3, where="id like 'i0*'"),
        lambda: index.item("i05"),
        lambda: list(index.store.live_batches()),
    ):
        with pytest.raises(LimbeckError, match=r"items.arrow: damaged \(.*; see limbeck index verify"):
            ask()
    with pytest.raises(LimbeckError, match=r"damaged: segments/.*items.arrow"):
        verify_index(path)


def test_a_column_is_checked_when_it_is_read(path):
    edit_offsets(path, 6)  # the paths
    index = limbeck.Index.open(path)
    assert len(index.store.where("id startswith i")) == 60
    with pytest.raises(LimbeckError, match=r"items.arrow: damaged"):
        index.store.where("path startswith '0'")
    with pytest.raises(LimbeckError, match=r"items.arrow: damaged"):
        index.item("i02")
    assert index.item("i50").metadata == {"path": "50.jpg"}


def test_headers_of_arrays(tmp_path):
    header = npy_header(np.dtype(np.uint8), (3, 4))
    for wrong in (header.replace(b"}", b"("), header.replace(b"3, 4", b"3, ("), header[:60] + b"\xff" * 68):
        (tmp_path / "a.npy").write_bytes(wrong + bytes(12))
        with pytest.raises(LimbeckError, match=r"a.npy: not readable as a plain array"):
            open_npy(tmp_path / "a.npy")


def test_lists_of_an_engine(path):
    store = IndexStore.open(path)
    write_derived(store, "ivf", {"lists": 4})
    file = path / "derived" / "ivf" / "starts.npy"
    starts = np.load(file)
    for place, value in ((1, 2**60), (0, 1), (-1, 59)):
        wrong = starts.copy()
        wrong[place] = value
        np.save(file, wrong)
        with pytest.raises(LimbeckError, match=r"starts.npy: no lists of 60 rows; build the engine again"):
            open_derived(path, "ivf").open(store.space)


def test_tables_of_multi_index_hashing(path):
    store = IndexStore.open(path)
    derived = write_derived(store, "mih", {"parts": 8})
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
        with pytest.raises(LimbeckError):
            derived.open(store.space)
        np.save(folder / f"{name}.npy", kept[name])
    # what is not looked at when it is opened cannot lead out of the arrays
    kept["starts"][3:40] = 2**32 - 1
    kept["entries"][:, -1] = 2**32 - 1
    np.save(folder / "starts.npy", kept["starts"])
    np.save(folder / "entries.npy", kept["entries"])
    found = derived.open(store.space).search(CODES[:5], 3, {"budget": 10**9}, None)
    assert (found.rows == -1).all()


def test_rows_that_an_engine_has_not(path, monkeypatch):
    store = IndexStore.open(path)
    derived = write_derived(store, "ivf", {"lists": 4})
    search = ApproximateSearch(store, derived, {"probes": 4})
    wrong = Candidates(np.array([[3, 60]]), np.array([[1, 2]], np.int32))
    monkeypatch.setattr(search._engine, "search", lambda *_: wrong)
    with pytest.raises(LimbeckError, match="the engine is damaged: it finds rows that it has not"):
        search(CODES[:1], 2)


def test_what_was_measured_is_verified_too(path, run):
    store = IndexStore.open(path)
    derived = build_engine(store, "ivf", {"lists": 4})
    (derived.folder / "measured.json").write_text("{")
    status, _, err = run("index", "verify", path)
    assert status == 1 and "measured.json: not valid JSON" in err and err.count("\n") == 1
