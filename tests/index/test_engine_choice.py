"""Measuring engines, choosing one, and the command line around it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from limbeck.errors import LimbeckError
from limbeck.index.ann_index import derived_names, open_derived
from limbeck.index.calibration import build_engine, measure
from limbeck.index.engine_selection import Choice, Engines
from limbeck.index.measured import Measured, Measurement
from limbeck.index.query import ExactSearch
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.search import Index, SearchOptions, add_items
from limbeck.spaces import Hamming
from raising import raises_code

ROWS = 900


def choose(store: IndexStore, engine: str, **options) -> Choice:
    return Engines(store).choose(SearchOptions(engine=engine, **options))


def points_of(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(9).integers(0, 256, (40, 8), dtype=np.uint8)
    return centres[rng.integers(0, 40, n)] ^ np.packbits(rng.random((n, 64)) < 0.05, axis=1)


def build(path, n=ROWS) -> IndexStore:
    items = {"id": [f"i{i}" for i in range(n)], "part": [i % 3 for i in range(n)]}
    commit(path, [[(points_of(n), items)]], StoreMeta(Hamming(64)))
    return IndexStore.open(path)


@pytest.fixture
def store(tmp_path):
    return build(tmp_path / "ix")


def test_what_is_measured(store):
    derived = build_engine(store, "ivf", {"nlist": 32})
    found = derived.measured
    assert found.queries == 200 and found.held_out == "items"
    assert set(found.exact_ms) == {"10", "100"} and 0 < found.exact_below <= 1
    probes = [entry.params["nprobe"] for entry in found.entries]
    assert probes == sorted(probes)
    # the measured recall is the true one: items left out of their own answers
    exact, first = ExactSearch(store), found.entries[0]
    rows = np.random.default_rng(0).choice(ROWS, 200, replace=False)
    from limbeck.index.ann_search import ApproximateSearch

    search, shares = ApproximateSearch(store, derived, first.params), []
    for row in rows:
        mask = np.arange(ROWS) != row
        limit = exact(store.point(row), 10, mask)[0][0, -1]
        scores, hits = search(store.point(row), 11)
        shares.append((scores[0][hits[0] != row][:10] <= limit).mean())
    assert first.recall["10"][0] == pytest.approx(np.mean(shares), abs=1e-4)
    assert first.recall["10"][1] <= first.recall["10"][0]


def test_given_queries_are_measured_instead(store):
    derived = build_engine(store, "faiss-flat", queries=points_of(7, seed=4)) if _faiss() else None
    if derived is None:
        pytest.skip("faiss is not installed")
    assert derived.measured.queries == 7 and derived.measured.held_out == "given"
    assert derived.measured.entries[0].recall["10"] == [1.0, 1.0]
    with pytest.raises(LimbeckError, match="queries: has width 4"):
        build_engine(store, "ivf", queries=points_of(7)[:, :4])
    assert derived_names(store.path) == ["faiss-flat"]


def _faiss() -> bool:
    import importlib.util

    return importlib.util.find_spec("faiss") is not None


def measured_as(store, settings, exact_ms=1.0, engine="ivf"):
    """Pretend that an engine was measured so."""
    if engine not in derived_names(store.path):
        build_engine(store, engine)
    entries = [
        Measurement({"nprobe": p}, {"10": [r, r - 0.01], "100": [r - 0.1, r - 0.11]}, {"10": ms, "100": ms})
        for p, r, ms in settings
    ]
    measured = Measured(200, "items", {"10": exact_ms, "100": exact_ms}, entries, exact_below=0.1)
    open_derived(store.path, engine).keep_measured(measured)


def test_auto_takes_the_fastest_that_is_good_enough(store):
    assert choose(store, "auto").engine == "exact"
    measured_as(store, [(1, 0.90, 0.1), (4, 0.97, 0.2), (8, 0.99, 0.4)])
    found = choose(store, "auto")
    assert (found.engine, found.params, found.recall) == ("ivf", {"nprobe": 4}, 0.97)
    assert "recall@10 0.970 (at least 0.960) in 0.2 ms" in found.why and "200 held-out queries" in found.why
    assert choose(store, "auto", recall=0.965).params == {"nprobe": 8}  # by the lower bound
    assert choose(store, "auto", recall=0.8).params == {"nprobe": 1}
    assert choose(store, "auto", recall=0.995).engine == "exact"
    assert choose(store, "auto", k=11).params == {"nprobe": 4}
    assert choose(store, "auto", k=12).engine == "exact"  # recall@100 is lower
    assert choose(store, "auto", recall=0.5, k=5000).engine == "exact"
    assert choose(store, "auto", radius=3).engine == "exact"
    measured_as(store, [(1, 0.99, 2.0)])
    assert choose(store, "auto").engine == "exact"  # slower than exact search


def test_a_named_engine_takes_the_fastest_good_setting_else_the_best(store):
    measured_as(store, [(1, 0.90, 3.0), (4, 0.97, 4.0)])
    assert choose(store, "ivf").params == {"nprobe": 4}
    found = choose(store, "ivf", recall=0.99)
    assert found.params == {"nprobe": 4} and "none of its parameters was measured with 0.99" in found.why
    with raises_code("E-ENGINE-CANNOT", "engine: ivf", "radius"):
        choose(store, "ivf", radius=3)
    with pytest.raises(LimbeckError, match=r"no engine 'faiss-hnsw' built \(there are ivf\)"):
        choose(store, "faiss-hnsw")
    for wrong in (0, 1.5, True, "much"):
        with pytest.raises(LimbeckError, match="recall"):
            choose(store, "ivf", recall=wrong)


def test_what_came_later_counts_as_exact_search(store, run):
    measured_as(store, [(4, 0.99, 0.5)])
    items = {"id": [f"n{i}" for i in range(1800)], "part": [0] * 1800}
    add_items(
        store.path, points_of(600, seed=3), items={name: values[:600] for name, values in items.items()}
    )
    grown = IndexStore.open(store.path)
    found = choose(grown, "auto")  # 0.5 + 0.4 of 1 ms
    assert (found.engine, found.uncovered) == ("ivf", 600)
    assert "40.0% of the rows were added later and are searched exactly: build the engine again" in found.why
    points = points_of(3, seed=7)
    scores = found.search(points, 10)[0]
    assert (scores <= ExactSearch(grown)(points, 10)[0][:, -1:]).mean() > 0.9
    status, out, _ = run("index", "info", store.path)
    assert status == 0 and "600 items (40.0%)" in " ".join(out.split())
    add_items(
        store.path, points_of(1200, seed=4), items={name: values[600:] for name, values in items.items()}
    )
    grown = IndexStore.open(store.path)
    assert choose(grown, "auto").engine == "exact"  # 0.5 + 0.67 of 1 ms
    assert choose(grown, "ivf").uncovered == 1800


def test_an_engine_that_was_not_measured_is_not_chosen(store):
    derived = build_engine(store, "ivf")
    file = derived.folder / "measured.json"
    text = file.read_text()
    file.write_text(text.replace('"of": "', '"of": "0'))
    with pytest.raises(LimbeckError, match=r"measured.json: is damaged or of another build"):
        choose(store, "ivf")
    file.unlink()
    with pytest.raises(LimbeckError, match="never measured"):
        choose(store, "ivf")


def test_nothing_to_measure_on(tmp_path):
    store = build(tmp_path / "one", 1)
    with pytest.raises(LimbeckError, match="needs at least two to be measured"):
        build_engine(store, "ivf")
    small = build(tmp_path / "two", 2)
    assert measure(small, build_engine(small, "ivf")).entries


def test_from_the_command_line(run, tmp_path):
    build(tmp_path / "ix")
    np.save(tmp_path / "q.npy", points_of(3, seed=5))
    index, queries, hits = tmp_path / "ix", tmp_path / "q.npy", tmp_path / "hits.json"
    status, out, err = run(
        "index", "engine", index, "--engine", "ivf", "nlist=32", "--json", tmp_path / "e.json"
    )
    assert status == 0, err
    assert "ivf over 900 items" in out and "recall@10" in out and "nprobe=1" in out
    assert json.loads((tmp_path / "e.json").read_text())["options"] == {"nlist": 32}
    status, out, _ = run("index", "info", index, "--json", tmp_path / "info.json")
    assert status == 0 and "ivf nlist=32" in out and "900 items" in out
    assert json.loads((tmp_path / "info.json").read_text())["engines"][0]["uncovered_share"] == 0
    status, out, _ = run("index", "verify", index)
    assert status == 0 and "7 files" in out

    exact = Index.open(index).search_many(np.load(queries), SearchOptions(5))
    for engine in ("ivf", "auto"):
        status, out, err = run(
            "search", index, "--codes", queries, "-k", 5, "--engine", engine, "--recall", 0.9, "--json", hits
        )
        assert status == 0 and "engine" in err
        assert "q.npyrow0" in "".join(out.split())  # a long path wraps
        value = json.loads(hits.read_text())
        assert value["engine"]["why"] in err and value["engine"]["engine"] in ("ivf", "exact")
        got = [[hit["score"] for hit in result["hits"]] for result in value["results"]]
        assert np.mean(np.array(got) == [[hit.score for hit in hits] for hits in exact]) > 0.8
    status, _, err = run(
        "search", index, "--like", "i3", "--engine", "ivf", "--where", "part = 1", "--json", hits
    )
    assert status == 0
    assert {hit["metadata"]["part"] for hit in json.loads(hits.read_text())["results"][0]["hits"]} == {1}
    (tmp_path / "many.jsonl").write_text('{"like": "i3"}\n{"like": "i4"}\n')
    status, out, err = run("search", index, "--queries", tmp_path / "many.jsonl", "--engine", "ivf")
    assert status == 0 and "engine ivf" in err
    answers = [json.loads(line) for line in out.splitlines()]
    assert [len(answer["hits"]) for answer in answers] == [10, 10]

    status, _, err = run("search", index, "--like", "i3", "--engine", "ivf", "--radius", 3)
    assert status == 1 and "leave it out" in err
    status, _, err = run("search", index, "--like", "i3", "--engine", "hnsw")
    assert status == 1 and "no engine 'hnsw' built" in err
    status, _, err = run("index", "engine", index, "--engine", "ivf", "nlist=many")
    assert status == 1 and "nlist=many: is not KEY=VALUE" in err
    status, _, err = run("index", "engine", index, "--engine", "ivf", "--remove")
    assert status == 0 and derived_names(index) == []
    status, _, err = run("index", "engine", index, "--engine", "ivf", "--remove")
    assert status == 1 and "no engine 'ivf' built (there is none)" in err


def test_search_from_python(store):
    build_engine(store, "ivf", {"nlist": 16})
    index = Index.open(store.path)
    asked = points_of(4, seed=8)
    scores, rows = index.search_points(asked, 5, engine="ivf", recall=0.99)
    assert scores.shape == rows.shape == (4, 5)
    hits = index.search(points=asked[0], k=5, engine="ivf", recall=0.99, where="part in (0, 2)")
    assert len(hits) == 5 and all(hit.metadata["part"] != 1 for hit in hits)
    like = index.search(like="i7", k=4, engine="ivf")
    assert len(like) == 4 and "i7" not in [hit.id for hit in like]
    assert index.choose("ivf", k=3) is index.choose("ivf", k=10)


@pytest.mark.parametrize("engine", ["exact", "auto", "ivf"])
def test_an_index_that_was_emptied_has_no_hits(store, engine):
    build_engine(store, "ivf", {"nlist": 8})
    index = Index.open(store.path).remove(where="part >= 0")
    assert len(index) == 0
    assert index.search(points=points_of(1)[0], engine=engine) == []
    choice = index.choose(engine)
    assert choice.uncovered == 0 and (choice.engine == "exact" or engine == "ivf")
