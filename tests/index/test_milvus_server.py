"""A real Milvus server: loaded, asked, and its answers beside those of the exact engine."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from milvus_server import milvus_server

import limbeck
from limbeck.errors import LimbeckError
from limbeck.index.add import add_batches
from limbeck.index.filter_parser import Where
from limbeck.index.milvus.push import push_index
from limbeck.index.milvus.search import open_search
from limbeck.index.query import ExactSearch
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.writer import StoreMeta, commit
from limbeck.spaces import Euclid, Hamming, Lorentz, Space, Sphere

pytestmark = pytest.mark.slow
ROWS = 3000
SPACES = [Hamming(16), Hamming(64), Sphere(16), Lorentz(16, 0.7), Euclid(4)]
LABELS = ["sky", "sea", "it's", '50%_\\"', "ü\n"]
FILTERS = [
    "labels has sky",
    "not labels has (sky, 'it''s')",
    "labels has '50%_\\\"' or labels has 'ü\n'",
    "labels is null",
    "width > 250.5 and width <= 400",
    "width != 300",
    "not width >= 300",
    "width in (100, 2.5, -300)",
    "width < -1",
    "score = 0.1",
    "score > 1e-3 and score < 1.5e2",
    "score in (0.1, 3)",
    "kept = true",
    "not kept != true",
    "path startswith 'b/sub_'",
    "path like 'a/sub_1/*'",
    "path > 'b/'",
    "path = 'b/sub_1/1%.jpg'",
    "path is not null and labels is not null",
    "day >= '2024-05-11'",
    "`in` = 3 or `odd name` = 'it''s'",
    "id in ('id-7', 'id-8') or id = 'id-9'",
    "sizes has (1, 4)",
    "width = 2.5",
    "id != ''",
]


def table(start: int, stop: int) -> pa.Table:
    rows = range(start, stop)
    return pa.table(
        {
            "id": [f"id-{i}" for i in rows],
            "path": [None if i % 5 == 0 else f"{'ab'[i % 2]}/sub_{i % 3}/{i}%.jpg" for i in rows],
            "labels": pa.array(
                [None if i % 7 == 0 else [LABELS[j] for j in range(5) if i >> j & 1] for i in rows],
                pa.list_(pa.string()),
            ),
            "sizes": pa.array([[i % 3, i % 5] for i in rows], pa.list_(pa.int64())),
            "width": pa.array([None if i % 4 == 3 else 100 * (i % 9) - 300 for i in rows], pa.int16()),
            "score": pa.array([None if i % 6 == 5 else i / 10 for i in rows], pa.float32()),
            "kept": pa.array([None if i % 9 == 0 else i % 2 == 0 for i in rows]),
            "day": pa.array([19844 + i % 30 for i in rows], pa.int32()).cast(pa.date32()),
            "in": [i % 4 for i in rows],
            "odd name": [LABELS[i % 5] for i in rows],
        }
    )


def points_of(space: Space, n: int, seed: int = 0) -> np.ndarray:
    """Points about 40 centres, the first ten equal."""
    rng, centre = np.random.default_rng(seed), np.random.default_rng(seed).integers(0, 40, n)
    if space.storage == "codes":
        centres = np.random.default_rng(9).integers(0, 256, (40, space.width), dtype=np.uint8)
        points = centres[centre] ^ np.packbits(rng.random((n, 8 * space.width)) < 0.1, axis=1)
    else:
        centres = np.random.default_rng(9).standard_normal((40, space.width))
        points = centres[centre] + 0.2 * rng.standard_normal((n, space.width))
        if space.name == "sphere":
            points /= np.linalg.norm(points, axis=1, keepdims=True)
        points = points.astype(np.float32)
    points[:10] = points[0]
    return points


def make(path: Path, space: Space) -> IndexStore:
    points = points_of(space, ROWS)
    parts = [[(points[a:b], table(a, b))] for a, b in ((0, 2000), (2000, ROWS))]
    commit(path, parts, StoreMeta(space))
    remove_items(path, [f"id-{i}" for i in range(3, 300, 7)])
    return IndexStore.open(path)


@pytest.fixture(scope="module")
def server():
    with tempfile.TemporaryDirectory() as folder, milvus_server(Path(folder)) as port:
        yield f"milvus://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def pushed(server, tmp_path_factory):
    """An index a space and its collection, made once."""
    made: dict[Space, tuple[IndexStore, str]] = {}

    def get(space: Space) -> tuple[IndexStore, str]:
        if space not in made:
            path, at = tmp_path_factory.mktemp("milvus") / "index", f"{server}/s{len(made)}"
            store = make(path, space)
            assert push_index(path, at).rows == len(store)
            made[space] = store, at
        return made[space]

    return get


def asked(space: Space) -> np.ndarray:
    return np.concatenate([points_of(space, 12, 3), points_of(space, 2)])


def check(store: IndexStore, at: str, text: str | None = None, ks=(1, 10, 100)) -> None:
    search, exact, queries = open_search(store, at), ExactSearch(store), asked(store.space)
    where, mask = (None, None) if text is None else (Where(text, store.schema), store.where(text))
    for k in ks:
        for got, wanted in zip(search(queries, k, where), exact(queries, k, mask), strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_nearest_are_those_of_the_exact_engine(pushed, space):
    check(*pushed(space), ks=(1, 10, 100, 5000))


@pytest.mark.parametrize("text", FILTERS)
def test_filters(pushed, text):
    check(*pushed(Hamming(64)), text)
    check(*pushed(Lorentz(16, 0.7)), text, ks=(10,))


@pytest.mark.parametrize("space", SPACES, ids=repr)
def test_radius(pushed, space):
    store, at = pushed(space)
    search, exact, queries = open_search(store, at), ExactSearch(store), asked(space)
    radius = float(exact(queries[:1], 300)[0][0, -1])
    for text in (None, "labels has sky"):
        where, mask = (None, None) if text is None else (Where(text, store.schema), store.where(text))
        for got, wanted in zip(
            search.range_search(queries, radius, where),
            exact.range_search(queries, radius, mask),
            strict=True,
        ):
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


@pytest.mark.parametrize("space", [Hamming(64), Sphere(16), Lorentz(16, 0.7)], ids=repr)
def test_lists(server, pushed, space):
    store, _ = pushed(space)
    at = f"{server}/lists_{space.name}"
    push_index(store.path, at, nlist=40)
    search, queries = open_search(store, f"{at}?nprobe=20"), asked(space)
    scores, rows = search(queries, 10)
    wanted = ExactSearch(store)(queries, 10)[0]
    sign = space.score_sign
    assert (sign * scores >= sign * wanted[:, -1:]).mean() >= 0.9
    np.testing.assert_array_equal(
        scores, space.rescore(queries[:, None], store.points_at(rows.ravel()).reshape(*rows.shape, -1))
    )


def test_a_life(server, tmp_path, run):
    """Pushed, asked, changed, pushed again, taken over, from the command line."""
    space, at = Hamming(64), f"{server}/life"
    store = make(tmp_path / "index", space)
    status, out, err = run("search", store.path, "--like", "id-1", "--engine", at)
    assert status == 1 and f"{at}: no such collection; limbeck index push" in err
    assert run("index", "push", store.path, at)[0] == 0
    plain = run("search", store.path, "--like", "id-1", "--where", "labels has sky", "--radius", "20")
    status, out, err = run(
        "search", store.path, "--like", "id-1", "--where", "labels has sky", "--radius", "20", "--engine", at
    )
    assert status == 0 and out == plain[1] and "every item compared" in err
    remove_items(store.path, ["id-5", "id-6"])
    add_batches(store.path, [(points_of(space, 200, 8), table(ROWS, ROWS + 200))], StoreMeta(space))
    store = IndexStore.open(store.path)
    check(store, at)
    check(store, at, "width > 100")
    open_before = open_search(store, at)
    push_index(store.path, at)
    check(store, at)
    assert open_search(store, at).uncovered == 0
    with pytest.raises(LimbeckError, match=rf"^{at}: Milvus failed"):
        open_before(asked(space), 3)  # its collection is gone
    other = make(tmp_path / "other", Sphere(16))
    status, out, err = run("index", "push", other.path, at)
    assert status == 1 and "holds another index or model" in err
    assert run("index", "push", other.path, at, "--replace")[0] == 0
    with pytest.raises(LimbeckError, match="holds points of sphere dim=16, the index of hamming bits=64"):
        limbeck.Index.open(store.path).search(like="id-1", engine=at)


def test_many_rows_that_tie(server, tmp_path):
    """More equal codes than Milvus gives for a query: the exact engine settles them."""
    points = np.random.default_rng(0).integers(0, 2, (40_000, 1), dtype=np.uint8)
    path, at = tmp_path / "index", f"{server}/ties"
    items = {"id": [f"{i}" for i in range(len(points))]}
    commit(path, [[(points, items)]], StoreMeta(Hamming(8)))
    push_index(path, at)
    store = IndexStore.open(path)
    queries = np.array([[0], [1], [255]], np.uint8)
    for got, wanted in zip(open_search(store, at)(queries, 10), ExactSearch(store)(queries, 10), strict=True):
        np.testing.assert_array_equal(got, wanted)
