"""Near-duplicates that are folded, prefixes of codes, and the facets of the columns."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest

import limbeck
from limbeck.codes import hamming_distances
from limbeck.index.facets import facets
from limbeck.index.store import IndexStore
from limbeck.search import SearchOptions
from limbeck.search.alike import Alike
from limbeck.spaces import Euclid, Lorentz, Space, Sphere
from raising import raises_code


def copies(rng: np.random.Generator, groups: int = 12, each: int = 5) -> np.ndarray:
    """64-bit codes in groups: a random code, and copies with one or two bits changed."""
    bits = np.repeat(rng.integers(0, 2, (groups, 64), dtype=np.uint8), each, axis=0)
    for row in range(len(bits)):
        if row % each:
            bits[row, rng.choice(64, 1 + row % 2, replace=False)] ^= 1
    return np.packbits(bits[rng.permutation(len(bits))], axis=1)


def oracle(points: np.ndarray, ranking: list[int], within: float, k: int) -> list[list[int]]:
    """Groups of rows, item by item: each joins the first group whose first item is near enough."""
    groups: list[list[int]] = []
    for row in ranking:
        near = [group for group in groups if hamming_distances(points[[group[0]]], points[[row]]) <= within]
        if near:
            near[0].append(row)
        elif len(groups) == k:
            break
        else:
            groups.append([row])
    return groups


@pytest.mark.parametrize("k", [1, 3, 12, 40])
def test_groups_are_those_of_the_oracle(tmp_path, k):
    points = copies(np.random.default_rng(0))
    index = limbeck.Index.build(tmp_path / "i", points, items={"id": [f"i{n}" for n in range(60)]})
    within = Alike(index.store).within
    assert 3 <= within <= 4.1
    for row in (0, 7, 33):
        ranking = [hit.row for hit in index.search(points=points[row], k=60)]
        groups = oracle(points, ranking, within, k)
        hits = index.search(points=points[row], k=k, fold=True)
        assert [[hit.id, *hit.alike] for hit in hits] == [[f"i{n}" for n in group] for group in groups]
        if k <= 12:  # there are twelve groups
            assert len(hits) == k
    several = index.search_many(points[:4], SearchOptions(k, fold=True))
    assert several == [index.search(points=point, k=k, fold=True) for point in points[:4]]


def test_more_is_fetched_until_there_are_k_groups(tmp_path):
    near = np.zeros((500, 8), np.uint8)
    far = np.random.default_rng(0).integers(0, 256, (40, 8), dtype=np.uint8)
    points = np.concatenate([near, far])
    items = {"id": [f"i{n}" for n in range(540)], "even": [n % 2 == 0 for n in range(540)]}
    index = limbeck.Index.build(tmp_path / "i", points, items=items)
    hits = index.search(points=near[0], k=4, fold=True)
    assert hits[0].id == "i0" and len(hits) == 4 and len(hits[0].alike) == 499
    among = index.search(like="i4", k=3, fold=True, where="even = true")
    assert (
        among[0].id == "i0" and len(among) == 3 and len(among[0].alike) == 248 and "i4" not in among[0].alike
    )
    assert len(index.search(points=near[0], radius=0, fold=True)) == 1
    short = index.search(points=near[0], k=600, fold=True)
    assert sum(1 + len(hit.alike) for hit in short) == 540
    index = index.remove(["i0", "i1"])
    assert index.search(points=near[0], k=1, fold=True)[0].alike == tuple(f"i{n}" for n in range(3, 500))


@pytest.mark.parametrize("space", [Sphere(8), Euclid(8), Lorentz(8, 1.0)], ids=lambda space: space.name)
def test_vectors_fold_by_their_distance(tmp_path, space: Space):
    rng = np.random.default_rng(1)
    base = space.restored(rng.standard_normal((30, 8)))
    again = space.restored(base + rng.standard_normal((30, 8)) * 0.002)
    points = np.concatenate([base, again])
    index = limbeck.Index.build(
        tmp_path / "i", points, items={"id": [f"i{n}" for n in range(60)]}, space=space
    )
    hits = index.search(points=base[3], k=30, fold=True)
    assert [sorted([hit.row % 30 for hit in hits])] == [list(range(30))]
    assert all(hit.alike == (f"i{(hit.row + 30) % 60}",) for hit in hits)
    pairs = np.linalg.norm(base[:, None] - base[None], axis=2)[np.triu_indices(30, 1)]
    if space.name == "sphere":
        assert Alike(index.store).within == pytest.approx(np.median(pairs) / 4, rel=0.15)


def test_kept_embeddings_tell_equal_codes_apart(tmp_path):
    floats = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
    floats[20:] = floats[:20] * 3  # the same direction
    items = {"id": [f"i{n}" for n in range(40)]}
    index = limbeck.Index.build(tmp_path / "i", np.zeros((40, 2), np.uint8), items=items, embeddings=floats)
    hits = index.search(like="i0", k=40, fold=True)
    assert len(hits) == 20  # i20 lost its twin, the query
    assert {(hit.id, *hit.alike) for hit in hits} == {("i20",)} | {
        (f"i{n}", f"i{n + 20}") for n in range(1, 20)
    }


def test_the_first_bits_rank_like_codes_of_that_length(tmp_path):
    points = np.random.default_rng(0).integers(0, 256, (300, 8), dtype=np.uint8)
    items = {"id": [f"i{n}" for n in range(300)]}
    whole = limbeck.Index.build(tmp_path / "i", points, items=items)
    for bits in (8, 16, 64):
        cut = limbeck.Index.build(tmp_path / f"cut{bits}", points[:, : bits // 8], items=items)
        assert whole.search(points=points[5], k=20, bits=bits) == cut.search(
            points=points[5, : bits // 8], k=20
        )
        assert whole.search(like="i5", k=5, bits=bits) == cut.search(like="i5", k=5)
        assert whole.search(points=points[5], radius=3, bits=bits) == cut.search(
            points=points[5, : bits // 8], radius=3
        )
    numbers = np.random.default_rng(1).standard_normal(64).astype(np.float32)
    short = whole.search(points=numbers, k=9, bits=16, asymmetric=True)
    assert short == limbeck.Index.open(tmp_path / "cut16").search(points=numbers[:16], k=9, asymmetric=True)
    for bits, code in [(12, "E-CODES-LENGTH"), (72, "E-CODES-LENGTH")]:
        with raises_code(code, "bits"):
            whole.search(like="i5", bits=bits)
    with raises_code("E-OPTION-CONFLICT", "bits"):
        whole.search(like="i5", bits=16, engine="auto")
    vectors = limbeck.Index.build(tmp_path / "v", np.eye(3, dtype=np.float32), items={"id": list("abc")})
    with raises_code("E-OPTION-UNUSED", "bits"):
        vectors.search(like="a", bits=8)


def test_options_out_of_range_and_an_index_without_calibration(tmp_path):
    index = limbeck.Index.build(tmp_path / "v", np.eye(3, dtype=np.float32), items={"id": list("abc")})
    with raises_code("E-INDEX-CONFIDENCE", "limbeck index calibrate"):
        index.search(like="a", min_confidence=0.9)
    for wrong in (1.5, -0.1, True, "high"):
        with raises_code("E-OPTION-RANGE", "min_confidence"):
            index.search(like="a", min_confidence=wrong)


def test_fold_on_the_command_line(run, tmp_path):
    points = copies(np.random.default_rng(0))
    limbeck.Index.build(tmp_path / "i", points, items={"id": [f"i{n}" for n in range(60)]})
    file = tmp_path / "hits.json"
    status, out, _ = run("search", tmp_path / "i", "--like", "i7", "-k", 3, "--fold", "--json", file)
    value = json.loads(file.read_text())
    assert status == 0 and "alike" in out and value["fold"] is True
    assert [len(hit["alike"]) for hit in value["results"][0]["hits"]] == [
        3,
        4,
        2,
    ]  # of the last one, those before the next hit
    status, _, _ = run("search", tmp_path / "i", "--like", "i7", "--bits", 16, "--json", file)
    value = json.loads(file.read_text())
    assert status == 0 and value["bits"] == 16 and "alike" not in value["results"][0]["hits"][0]


ROWS = {
    "id": [f"i{n}" for n in range(8)],
    "path": [f"{n}.jpg" for n in range(8)],
    "place": ["sea", "sea", "it's", None, "sea", "it's", "land", "land"],
    "tags": [["a", "b"], ["a", "a"], [], None, ["b"], ["a"], ["c"], ["c", "a"]],
    "kept": [True, False, True, True, None, True, False, True],
    "year": [1, 1, 1, 2, 2, 2, 3, 3],
}


@pytest.fixture
def store(tmp_path) -> IndexStore:
    table = pa.table({name: pa.array(values) for name, values in ROWS.items()})
    codes = np.arange(64, dtype=np.uint8).reshape(8, 8)
    limbeck.Index.build(tmp_path / "i", codes[:5], items=table.slice(0, 5))
    index = limbeck.Index.open(tmp_path / "i").add(codes[5:], items=table.slice(5))
    return index.remove(["i7"]).store


def test_facets_count_items_and_their_filters_find_them(store):
    found = {facet.column: facet for facet in facets(store)}
    assert list(found) == ["place", "tags", "kept"]  # not id and path, which do not repeat, nor numbers
    assert found["place"].values == [("sea", 3), ("it's", 2), ("land", 1)] and not found["place"].is_list
    assert found["tags"].values == [("a", 3), ("b", 2), ("c", 1)] and found["tags"].is_list
    assert found["kept"].values == [(True, 4), (False, 2)]
    alive = np.ones(store.rows, bool) if store.alive is None else store.alive
    for facet in found.values():
        for value, count in facet.values:
            assert np.count_nonzero(store.where(facet.where(value)) & alive) == count
    short = facets(store, limit=1)
    assert [facet.values for facet in short] == [[("sea", 3)], [("a", 3)], [(True, 4)]]
    assert [facet.distinct for facet in short] == [3, 3, 2]


def test_facets_of_some_items(store):
    assert {facet.column: facet.values for facet in facets(store, where="year = 1")} == {
        "place": [("sea", 2), ("it's", 1)],
        "tags": [("a", 2), ("b", 1)],
        "kept": [(True, 2), (False, 1)],
    }
    with raises_code("E-FILTER-COLUMN", "nothing"):
        facets(store, where="nothing = 1")
