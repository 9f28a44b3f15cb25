"""Multi-index hashing against the exact scan: the same hits in the same order, whatever the buckets hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index.ann_index import engines_info, open_derived, write_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.calibration import build_engine
from limbeck.index.engine_selection import Engines
from limbeck.index.engines.base import ExactEngine, Points, RowMask
from limbeck.index.engines.mih import MultiIndex
from limbeck.index.exact import search_codes, search_radius
from limbeck.index.query import ExactSearch, SearchOptions
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.search import add_items
from limbeck.spaces import Hamming

NEVER = {"budget": 10**12}  # percent: no query is given up


def codes_of(n: int, bits: int, seed: int, centres: int = 5, flips: float = 0.1) -> np.ndarray:
    """Codes about a few centres, many of them equal when there are few flips."""
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(99).integers(0, 256, (centres, bits // 8), dtype=np.uint8)
    return middle[rng.integers(0, centres, n)] ^ np.packbits(rng.random((n, bits)) < flips, axis=1)


def engine_over(folder, codes: np.ndarray, **options: int) -> MultiIndex:
    folder.mkdir()
    chosen = {param.name: param.default for param in MultiIndex.build_params(*codes.shape)} | options
    cut = len(codes) // 3
    MultiIndex.write(folder, Points([codes[:cut], codes[cut:]], np.asarray), chosen)
    return MultiIndex(folder, len(codes))


@settings(max_examples=25, deadline=None)
@given(
    bits=st.sampled_from([8, 16, 24, 40, 64, 72, 128]),
    n=st.integers(3, 400),
    k=st.integers(1, 30),
    flips=st.sampled_from([0.0, 0.02, 0.2, 0.5]),
    share=st.sampled_from([None, 0.5, 0.05]),
    parts=st.integers(1, 6),
    seed=st.integers(0, 10**6),
)
def test_the_same_as_the_scan(tmp_path_factory, bits, n, k, flips, share, parts, seed):
    codes, queries = codes_of(n, bits, seed, flips=flips), codes_of(4, bits, seed + 1, flips=0.1)
    option = MultiIndex.build_params(n, bits // 8)[0]
    parts = min(max(parts, option.low), option.high)
    if -(-bits // parts) > 12:  # tables of a part are as large as its values are many
        parts = -(-bits // 12)
    engine = engine_over(tmp_path_factory.mktemp("mih") / "e", codes, parts=parts)
    mask = None if share is None else np.random.default_rng(seed).random(n) < share
    allowed = None if mask is None else RowMask(mask, max(mask.mean(), 1e-9))
    found = engine.search(queries, k, NEVER, allowed)
    distances, rows = search_codes(queries, codes, k, mask=mask)
    kept = rows.shape[1]
    np.testing.assert_array_equal(found.rows[:, :kept], rows)
    np.testing.assert_array_equal(found.distances[:, :kept], distances)
    assert (found.rows[:, kept:] == -1).all()
    for radius in (0, 3, bits):
        near = search_radius(queries, codes, radius, mask=mask)
        for answer, wanted in zip(engine.range_search(queries, radius, NEVER, allowed), near, strict=True):
            for ours, theirs in zip(answer, wanted, strict=True):
                np.testing.assert_array_equal(ours, theirs)


def test_a_query_that_costs_too_much_is_given_up(tmp_path):
    codes = np.random.default_rng(0).integers(0, 256, (3000, 8), dtype=np.uint8)
    engine = engine_over(tmp_path / "e", codes)
    queries = np.concatenate([codes[7:8], 255 - codes[7:8]])
    found = engine.search(queries, 1, {"budget": 10}, None)
    assert found.rows[0, 0] == 7 and found.distances[0, 0] == 0
    assert (found.rows[1] == -1).all()
    near = engine.range_search(queries, 2, {"budget": 10}, None)
    assert near[0][1].tolist() == [7] and near[0][0].tolist() == [0]
    assert engine.range_search(queries, 40, {"budget": 10}, None) == [None, None]
    assert isinstance(engine, ExactEngine)


def test_alike_bits_go_to_different_parts(tmp_path):
    bits = np.random.default_rng(0).random((2000, 8)) < 0.5
    codes = np.packbits(np.repeat(bits, 2, axis=1), axis=1)  # bits 2i and 2i + 1 are equal
    engine_over(tmp_path / "e", codes, parts=2)
    order = np.load(tmp_path / "e" / "order.npy").ravel()
    assert sorted(order // 2) == sorted([*range(8)] * 2)
    assert sorted(order[:8] // 2) == list(range(8))


def store_of(path, n=4000, flips=0.02) -> tuple[IndexStore, np.ndarray]:
    codes = codes_of(n, 64, 0, centres=300, flips=flips)
    parts = [
        [(codes[a:b], {"id": [f"i{i}" for i in range(a, b)], "part": [i % 3 for i in range(a, b)]})]
        for a, b in ((0, 1500), (1500, n))
    ]
    commit(path, parts, StoreMeta(Hamming(64)))
    return IndexStore.open(path), codes


def test_what_it_gives_up_is_scanned_also_beside_segments_that_came_later(tmp_path):
    store, codes = store_of(tmp_path / "ix")
    derived = write_derived(store, "mih", {"parts": 4})
    more = codes_of(500, 64, 5)
    add_items(store.path, more, items={"id": [f"n{i}" for i in range(500)], "part": [0] * 500})
    store = IndexStore.open(store.path)
    exact, queries = ExactSearch(store), np.concatenate([codes[:5], codes_of(5, 64, 7, flips=0.5)])
    mask = store.where("part = 0")
    for budget in (0, 5, 10**9):
        search = ApproximateSearch(store, derived, {"budget": budget}, exact=exact)
        assert search.finds_all
        for allowed in (None, mask):
            for k in (1, 10):
                for ours, theirs in zip(search(queries, k, allowed), exact(queries, k, allowed), strict=True):
                    np.testing.assert_array_equal(ours, theirs)
            for radius in (0, 4, 9):
                both = (
                    search.range_search(queries, radius, allowed),
                    exact.range_search(queries, radius, allowed),
                )
                for ours, theirs in zip(*both, strict=True):
                    np.testing.assert_array_equal(ours[0], theirs[0])
                    np.testing.assert_array_equal(ours[1], theirs[1])
        assert (search.fallbacks > 0) == (budget < 10**9)


def test_auto_considers_it_and_says_what_was_scanned(tmp_path, run):
    store, codes = store_of(tmp_path / "ix")
    derived = build_engine(store, "mih", {"parts": 4})
    measured = derived.measured
    assert measured.entries[0].recall["10"] == [1.0, 1.0]
    assert 0 <= measured.entries[0].fallbacks["100"] <= 1
    entry = replace(measured.entries[0], ms={"10": 0.1, "100": 0.1}, fallbacks={"10": 0.0, "100": 0.25})
    derived.keep_measured(replace(measured, exact_ms={"10": 1.0, "100": 1.0}, entries=[entry]))
    choice = Engines(store).choose(SearchOptions(engine="auto", recall=1))
    assert (choice.engine, choice.params) == ("mih", {"budget": 3}) and "recall@10 1.000" in choice.why
    assert engines_info(store)[0]["fallbacks"] == 0.25
    status, out, _ = run("index", "info", store.path)
    assert status == 0 and "25.0% of the measured queries fell back to the exact scan" in " ".join(
        out.split()
    )
    np.save(tmp_path / "q.npy", codes[:2])
    words = ["search", store.path, "--codes", tmp_path / "q.npy", "--radius", 2]
    status, out, _ = run(*words)
    again, found, err = run(*words, "--engine", "mih")
    assert status == again == 0 and found == out and "engine mih" in err
    with pytest.raises(LimbeckError, match="has no build parameter 'nlist'; choose from parts"):
        write_derived(store, "mih", {"nlist": 3})
    with pytest.raises(LimbeckError, match="parts=2 is not a whole number from 3 to 64"):
        write_derived(store, "mih", {"parts": 2})


def test_a_truncated_table_is_named(tmp_path):
    store, _ = store_of(tmp_path / "ix")
    write_derived(store, "mih", {"parts": 4})
    file = store.path / "derived" / "mih" / "entries.npy"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(LimbeckError, match=r"entries.npy: is missing or truncated; run limbeck index engine"):
        open_derived(store.path, "mih").open(store.space)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [1, 2])
def test_an_index_of_hardly_any_rows(tmp_path, rows):
    codes = np.arange(8 * rows, dtype=np.uint8).reshape(rows, 8)
    index = limbeck.Index.build(tmp_path / "ix", codes, items={"id": [f"i{i}" for i in range(rows)]})
    derived = write_derived(index.store, "mih")
    found = derived.open(index.store.space).search(codes, 1, {"budget": 10**9}, None)
    assert found.rows[:, 0].tolist() == list(range(rows)) and (found.distances == 0).all()
