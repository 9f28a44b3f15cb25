"""Every engine against the exact oracle: one suite, whatever the engine."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import resign

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import derived_names, open_derived, write_derived
from limbeck.index.ann_search import ApproximateSearch
from limbeck.index.engines import engine_class, engine_names
from limbeck.index.query import ExactSearch
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.spaces import Euclid, Hamming, Lorentz, Space, Sphere
from raising import raises_code

pytest.importorskip("faiss")

ROWS, QUERIES = 1200, 12
CASES = [
    pytest.param(space, name, id=f"{space.name}{space.width}-{name}")
    for space in (Hamming(16), Hamming(64), Hamming(72), Sphere(8), Lorentz(8, 0.7), Euclid(5))
    for name in engine_names(space.storage)
]


def clustered(space: Space, n: int, seed: int = 0) -> np.ndarray:
    """Points about 40 centres; some of them equal."""
    rng = np.random.default_rng(seed)
    centre = rng.integers(0, 40, n)
    if space.storage == "codes":
        centres = np.random.default_rng(9).integers(0, 256, (40, space.width), dtype=np.uint8)
        flips = rng.random((n, 8 * space.width)) < 0.05
        return centres[centre] ^ np.packbits(flips, axis=1)
    centres = np.random.default_rng(9).standard_normal((40, space.width))
    points = centres[centre] + 0.15 * rng.standard_normal((n, space.width))
    points[:5] = points[0]
    if space.name == "sphere":
        points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32)


def batches(points: np.ndarray, start: int = 0):
    ids = [f"id-{i}" for i in range(start, start + len(points))]
    return [(points, {"id": ids, "number": list(range(start, start + len(points)))})]


def oracle(space: Space, points: np.ndarray, queries: np.ndarray, k: int, mask=None):
    """Scores and rows (Q, k) by brute force over the allowed rows, in the order (distance, row)."""
    rows = np.arange(len(points)) if mask is None else np.flatnonzero(mask)
    scores = space.rescore(queries[:, None], points[rows][None])
    order = np.lexsort((np.broadcast_to(rows, scores.shape), -space.score_sign * scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), rows[order]


def check(space, points, queries, k, answer, mask=None, floor=0.9):
    """True scores, the right order, no row twice, only allowed rows, k hits, recall."""
    scores, rows = answer
    true_scores, _ = oracle(space, points, queries, k, mask)
    assert scores.shape == rows.shape == true_scores.shape and rows.dtype == np.int64
    assert (rows >= 0).all() and all(len(set(line)) == len(line) for line in rows.tolist())
    assert mask is None or mask[rows].all()
    np.testing.assert_array_equal(scores, space.rescore(queries[:, None], points[rows]))
    order = np.lexsort((rows, -space.score_sign * scores), axis=1)
    np.testing.assert_array_equal(order, np.broadcast_to(np.arange(rows.shape[1]), rows.shape))
    sign = space.score_sign
    recall = (sign * scores >= sign * true_scores[:, -1:]).mean() if rows.size else 1.0
    assert recall >= floor, recall


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """One index a space, of two segments, its points and queries."""
    made: dict[Space, tuple] = {}

    def get(space: Space):
        if space not in made:
            path = tmp_path_factory.mktemp("ix") / f"{space.name}{space.width}"
            points = clustered(space, ROWS)
            commit(path, [batches(points[:700]), batches(points[700:], 700)], StoreMeta(space))
            made[space] = IndexStore.open(path), points, clustered(space, QUERIES, seed=1)
        return made[space]

    return get


def thorough(store: IndexStore, name: str) -> ApproximateSearch:
    if name not in derived_names(store.path):
        write_derived(store, name)
    derived = open_derived(store.path, name)
    return ApproximateSearch(store, derived, derived.open(store.space).search_params()[-1])


@pytest.mark.parametrize(("space", "name"), CASES)
def test_answers_like_the_exact_engine(stores, space, name):
    store, points, queries = stores(space)
    search = thorough(store, name)
    for k in (1, 10, 100):
        found = search(queries, k)
        check(space, points, queries, k, found, floor=0.8 if k > 10 else 0.9)
        if name == "faiss-flat" and space.storage == "codes":
            np.testing.assert_array_equal(found[0], ExactSearch(store)(queries, k)[0])
        if search.finds_all:
            np.testing.assert_array_equal(found[1], oracle(space, points, queries, k)[1])


@pytest.mark.parametrize(("space", "name"), CASES)
def test_every_setting_keeps_order_and_scores(stores, space, name):
    store, points, queries = stores(space)
    thorough(store, name)
    derived = open_derived(store.path, name)
    for setting in derived.open(space).search_params():
        check(space, points, queries, 10, ApproximateSearch(store, derived, setting)(queries, 10), floor=0.0)


@pytest.mark.parametrize(("space", "name"), CASES)
def test_filters_are_obeyed_and_filled(stores, space, name):
    store, points, queries = stores(space)
    search = thorough(store, name)
    rng = np.random.default_rng(3)
    for share in (0.5, 0.1, 0.02):
        mask = rng.random(ROWS) < share
        check(space, points, queries, 10, search(queries, 10, mask), mask, floor=0.85)
    mask = np.zeros(ROWS, dtype=bool)
    assert search(queries, 10, mask)[1].shape == (QUERIES, 0)
    mask[[3, 800]] = True
    check(space, points, queries, 10, search(queries, 10, mask), mask, floor=1.0)
    assert search(queries, 10, mask)[1].shape == (QUERIES, 2)


@pytest.mark.parametrize(("space", "name"), CASES)
def test_more_than_there_are_gives_all(stores, space, name):
    store, points, queries = stores(space)
    check(space, points, queries, ROWS, thorough(store, name)(queries, 5000), floor=1.0)


@pytest.mark.parametrize(("space", "name"), CASES)
def test_a_second_opening_answers_the_same(stores, space, name):
    store, _, queries = stores(space)
    first = thorough(store, name)(queries, 10)
    again = thorough(IndexStore.open(store.path), name)(queries, 10)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("space", "name"), CASES)
def test_one_query_answers_as_in_a_batch(stores, space, name):
    store, _, queries = stores(space)
    search = thorough(store, name)
    for together, alone in zip(
        zip(*search(queries, 5), strict=True), (search(queries[q : q + 1], 5) for q in range(3)), strict=False
    ):
        np.testing.assert_array_equal(together[1], alone[1][0])


@pytest.mark.parametrize(("space", "name"), CASES)
def test_wrong_queries_are_refused(stores, space, name):
    store, _, queries = stores(space)
    search = thorough(store, name)
    with raises_code("E-ARRAY-SHAPE", "query:"):
        search(queries[:, :-1], 5)
    with pytest.raises(LimbeckError, match=r"query: holds"):
        search(queries.astype(np.int32), 5)
    with raises_code("E-OPTION-RANGE", "k:"):
        search(queries, 0)
    with raises_code("E-ARRAY-SHAPE", "mask:"):
        search(queries, 5, np.ones(3, bool))
    if search.finds_all:
        with raises_code("E-OPTION-RANGE", "radius:", "2.5"):
            search.range_search(queries, 2.5)
    else:
        with raises_code("E-ENGINE-CANNOT", "radius:"):
            search.range_search(queries, 3)


@pytest.mark.parametrize(("space", "name"), CASES)
def test_uncovered_segments_are_merged_and_removed_rows_never_come(
    stores, tmp_path, space, name, monkeypatch
):
    points = clustered(space, ROWS)
    whole = tmp_path / "ix"
    commit(whole, [batches(points[:300]), batches(points[300:900], 300)], StoreMeta(space))
    write_derived(IndexStore.open(whole), name)
    store = _grown(whole, points, space)
    derived = open_derived(whole, name)
    assert derived.covered(store) == 900 and store.rows == ROWS
    queries = clustered(space, QUERIES, seed=1)
    setting = derived.open(space).search_params()[-1]
    search = ApproximateSearch(store, derived, setting)
    assert search.uncovered == 300
    check(space, points, queries, 10, search(queries, 10))
    mask = np.random.default_rng(5).random(ROWS) < 0.3
    check(space, points, queries, 10, search(queries, 10, mask), mask, floor=0.85)

    alive = np.random.default_rng(6).random(ROWS) < 0.8
    alive[search(queries, 1)[1][:, 0]] = False  # the best hits are gone
    monkeypatch.setattr(IndexStore, "alive", property(lambda self: alive))
    search = ApproximateSearch(store, derived, setting)
    check(space, points, queries, 10, search(queries, 10), alive)
    check(space, points, queries, 10, search(queries, 10, mask), alive & mask, floor=0.85)


def _grown(path: Path, points: np.ndarray, space: Space) -> IndexStore:
    """The same index with a segment between the two that were there: rows shift, names stay."""
    from limbeck.index.manifest import newest_manifest

    old = newest_manifest(path)
    side = path.parent / "side"
    commit(side, [batches(points[900:], 900)], StoreMeta(space))
    new = newest_manifest(side)
    (side / "segments" / new.segments[0].name).rename(path / "segments" / new.segments[0].name)
    value = json.loads(json.dumps(old.to_json()))
    names = [*old.segments, *new.segments]
    from dataclasses import replace

    from limbeck.index.manifest import publish

    publish(path, replace(old, generation=2, segments=names, files={**old.files, **new.files}))
    assert value["generation"] == 1
    return IndexStore.open(path)


def test_a_segment_that_is_gone_is_searched_no_more(tmp_path):
    from dataclasses import replace

    from limbeck.index.manifest import newest_manifest, publish

    space = Hamming(64)
    points = clustered(space, ROWS)
    commit(tmp_path / "ix", [batches(points[:500]), batches(points[500:], 500)], StoreMeta(space))
    write_derived(IndexStore.open(tmp_path / "ix"), "ivf")
    old = newest_manifest(tmp_path / "ix")
    publish(tmp_path / "ix", replace(old, generation=2, segments=old.segments[1:]))
    store, derived = IndexStore.open(tmp_path / "ix"), open_derived(tmp_path / "ix", "ivf")
    assert derived.covered(store) == 700
    search = ApproximateSearch(store, derived, {"nprobe": 64})
    queries = clustered(space, QUERIES, seed=1)
    check(space, points[500:], queries, 10, search(queries, 10))


def test_a_filter_below_the_measured_share_is_answered_exactly(stores):
    store, points, queries = stores(Hamming(64))
    thorough(store, "ivf")
    derived = open_derived(store.path, "ivf")
    search = ApproximateSearch(store, derived, {"nprobe": 1}, exact_below=0.5)
    mask = np.random.default_rng(3).random(ROWS) < 0.4
    np.testing.assert_array_equal(
        search(queries, 10, mask)[1], oracle(Hamming(64), points, queries, 10, mask)[1]
    )


def test_all_probes_are_exact(stores):
    for bits in (16, 64, 72):
        store, points, queries = stores(Hamming(bits))
        write_derived(store, "ivf", {"nlist": 30})
        search = ApproximateSearch(store, open_derived(store.path, "ivf"), {"nprobe": 30})
        check(Hamming(bits), points, queries, 25, search(queries, 25), floor=1.0)
        mask = np.random.default_rng(2).random(ROWS) < 0.2
        check(Hamming(bits), points, queries, 25, search(queries, 25, mask), mask, floor=1.0)


def test_wide_and_narrow_codes(tmp_path):
    for bits in (8, 24, 128, 256, 512):
        space = Hamming(bits)
        points = clustered(space, 300)
        commit(tmp_path / str(bits), [batches(points)], StoreMeta(space))
        store = IndexStore.open(tmp_path / str(bits))
        queries = clustered(space, QUERIES, seed=1)
        for name in engine_names("codes"):
            check(space, points, queries, 5, thorough(store, name)(queries, 5), floor=0.7)


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("ivf", {"list": 5}, ("E-ENGINE-OPTION", "'list'", "nlist")),
        ("ivf", {"lists": 5}, ("E-ENGINE-OPTION", "'lists'")),
        (
            "faiss-hnsw",
            {"ef": 5},
            ("E-ENGINE-OPTION", "faiss", "'ef'", "ef_construction"),
        ),
        ("faiss-multihash", {"parts": 2}, ("E-ENGINE-OPTION", "'parts'")),
        ("ivf", {"nlist": 0}, ("E-ENGINE-OPTION", "nlist=0")),
        ("ivf", {"nlist": 10**9}, ("E-ENGINE-OPTION", "nlist=1000000000")),
        ("ivf", {"nlist": True}, ("E-ENGINE-OPTION", "nlist=True")),
        ("faiss-flat", {"nlist": 5}, ("E-ENGINE-OPTION", "faiss", "'nlist'")),
        ("faiss-ivfpq", {}, ("E-ENGINE-UNKNOWN", "'faiss-ivfpq'", "faiss", "ivf")),
        ("nothing", {}, ("E-ENGINE-UNKNOWN", "'nothing'")),
    ],
)
def test_bad_engines_and_options_are_refused(stores, name, options, match):
    store, _, _ = stores(Hamming(16))
    before = derived_names(store.path)
    with raises_code(*match):
        write_derived(store, name, options)
    assert derived_names(store.path) == before


def test_without_faiss_its_engines_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        LimbeckError, match=r"^faiss-cpu is not installed; type: pip install 'limbeck\[faiss\]'$"
    ):
        engine_class("vectors", "faiss-hnsw")
    engine_class("codes", "ivf")


def test_damaged_files_are_named(tmp_path):
    space = Hamming(16)
    commit(tmp_path / "ix", [batches(clustered(space, 100))], StoreMeta(space))
    store = IndexStore.open(tmp_path / "ix")
    with raises_code("E-ENGINE-MISSING", "'ivf'"):
        open_derived(store.path, "ivf")
    derived = write_derived(store, "ivf")
    assert derived.verify() == 4
    file = derived.folder / "codes.npy"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(LimbeckError, match=r"damaged: codes.npy; run limbeck index engine .* again"):
        derived.verify()
    file.write_bytes(content[:-3])
    with pytest.raises(LimbeckError, match=r"codes.npy: is missing or truncated"):
        derived.open(space)
    about = derived.folder / "derived.json"
    text = about.read_text()
    about.write_text(re.sub('"nlist": [0-9]+', '"nlist": 7', text))
    with pytest.raises(LimbeckError, match=r"derived.json: is damaged \(checksum"):
        open_derived(store.path, "ivf")
    about.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(LimbeckError, match=r"format 2, but this limbeck reads 1"):
        open_derived(store.path, "ivf")
    about.write_text("{")
    with pytest.raises(LimbeckError, match="not valid JSON"):
        open_derived(store.path, "ivf")


def test_a_truncated_faiss_file_is_refused(tmp_path):
    space = Sphere(8)
    commit(tmp_path / "ix", [batches(clustered(space, 100))], StoreMeta(space))
    store = IndexStore.open(tmp_path / "ix")
    derived = write_derived(store, "faiss-hnsw")
    file = derived.folder / "index.faiss"
    file.write_bytes(b"no such index" + file.read_bytes()[13:])
    with pytest.raises(LimbeckError, match=r"index.faiss: is damaged"):
        derived.open(space)
    resign(tmp_path / "ix")
    derived = open_derived(tmp_path / "ix", "faiss-hnsw")
    with pytest.raises(LimbeckError, match=r"index.faiss: faiss failed"):
        derived.open(space)


def test_building_again_replaces_and_leaves_nothing(tmp_path, monkeypatch):
    space = Hamming(32)
    commit(tmp_path / "ix", [batches(clustered(space, 200))], StoreMeta(space))
    store = IndexStore.open(tmp_path / "ix")
    write_derived(store, "ivf", {"nlist": 4})
    write_derived(store, "ivf", {"nlist": 8})
    assert open_derived(store.path, "ivf").options == {"nlist": 8}

    def fail(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("limbeck.index.engines.ivf.majority_centres", fail)
    with pytest.raises(LimbeckError, match=r"cannot write \(No space left on device\)"):
        write_derived(store, "ivf", {"nlist": 16})
    assert open_derived(store.path, "ivf").options == {"nlist": 8}
    assert sorted(p.name for p in (store.path / "derived").iterdir()) == ["ivf", "writer.lock"]
