"""Two stages: a short list by codes, ranked anew by the float embeddings that the index keeps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_search_api import feature_model, pairs  # noqa: F401  fixtures

import limbeck
from limbeck.cli import main
from limbeck.codes import sign_codes
from limbeck.errors import LimbeckError
from limbeck.index.embeddings import embeddings_at
from limbeck.search import SearchOptions, add_items
from raising import raises_code


def made(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    embeddings = np.random.default_rng(seed).standard_normal((n, 16)).astype(np.float32)
    return sign_codes(embeddings), embeddings


@pytest.fixture
def index(tmp_path):
    codes, embeddings = made(500)
    items = {"id": [f"i{i}" for i in range(500)], "even": [i % 2 == 0 for i in range(500)]}
    limbeck.Index.build(tmp_path / "ix", codes, items=items, embeddings=embeddings)
    return limbeck.Index.open(tmp_path / "ix")


def units(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)


def test_the_order_is_that_of_the_cosines(index):
    _, embeddings = made(500)
    embeddings = units(units(embeddings).astype(np.float16))
    asked_codes, asked = made(3, seed=1)
    asked = units(asked)
    found = index.search_many(asked_codes, SearchOptions(5, rerank=50), embeddings=asked)
    for q in range(3):
        near = index.search_many(asked_codes[q : q + 1], SearchOptions(50), embeddings=asked[q : q + 1])[0]
        shortlist = [hit.row for hit in near]
        products = embeddings[shortlist].astype(np.float64) @ asked[q].astype(np.float64)
        order = np.argsort(-products, kind="stable")[:5]
        assert [hit.row for hit in found[q]] == np.array(shortlist)[order].tolist()
        np.testing.assert_allclose([hit.score for hit in found[q]], products[order], rtol=1e-6)
        assert "embedding" not in found[q][0].metadata and found[q][0].metadata["even"] in (True, False)
    everything = index.search_many(asked_codes, SearchOptions(5, rerank=500), embeddings=asked)
    best = np.argsort(-(embeddings.astype(np.float64) @ asked[0].astype(np.float64)))[:5]
    assert [hit.row for hit in everything[0]] == best.tolist()


def test_like_filters_and_the_item_itself(index):
    hits = index.search(like="i7", k=5, rerank=40, where="even = true")
    assert len(hits) == 5 and all(hit.metadata["even"] for hit in hits)
    assert "i7" not in [hit.id for hit in index.search(like="i7", k=10, rerank=100)]
    assert "embedding" not in index.item("i7").metadata


def test_embeddings_of_rows_anywhere(index):
    _, embeddings = made(500)
    rows = np.array([499, 0, 17, 17])
    np.testing.assert_allclose(embeddings_at(index.store, rows), units(embeddings[rows]), atol=3e-4)
    assert index.store.kept.width == 16


def test_items_added_later_with_and_without(index):
    codes, embeddings = made(40, seed=2)
    items = {"id": [f"n{i}" for i in range(40)]}
    add_items(index.store.path, codes[:20], items={"id": items["id"][:20]}, embeddings=embeddings[:20])
    grown = limbeck.Index.open(index.store.path)
    wanted = units(np.stack([made(500)[1][3], embeddings[5]]))
    np.testing.assert_allclose(embeddings_at(grown.store, np.array([3, 505])), wanted, atol=3e-4)
    add_items(index.store.path, codes[20:], items={"id": items["id"][20:]})
    grown = limbeck.Index.open(index.store.path)
    with raises_code("E-INDEX-EMBEDDINGS", "ix:"):
        embeddings_at(grown.store, np.array([3, 525]))


def test_what_cannot_be_ranked_anew_is_refused(index, tmp_path):
    codes, embeddings = made(5)
    items = {"id": list("abcde")}
    plain = limbeck.Index.build(tmp_path / "plain", codes, items=items)
    with raises_code("E-INDEX-EMBEDDINGS", "--keep-embeddings"):
        plain.search(like="a", k=2, rerank=4)
    units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    sphere = limbeck.Index.build(tmp_path / "sphere", units, items=items)
    with raises_code("E-OPTION-UNUSED", "rerank:"):
        sphere.search(like="a", k=2, rerank=4)
    with raises_code("E-OPTION-RANGE", "rerank:", "10"):
        index.search(like="i1", rerank=3)
    with raises_code("E-INDEX-EMBEDDINGS", "rerank:"):
        index.search(points=codes[0], rerank=20)
    with raises_code("E-ARRAY-SHAPE", "width 16"):
        index.search_many(codes, SearchOptions(2, rerank=4), embeddings=embeddings[:, :3])
    for wrong in (embeddings[:3], embeddings.astype(int), embeddings * np.nan):
        with pytest.raises(LimbeckError, match="embeddings: "):
            limbeck.Index.build(tmp_path / "wrong", codes, items=items, embeddings=wrong)
    with raises_code("E-OPTION-MISSING", "embeddings:"):
        limbeck.Index.build(tmp_path / "wrong", codes, items=items, embeddings=True)


def test_with_a_model_from_python_and_the_command_line(pairs, feature_model, tmp_path, monkeypatch, capsys):  # noqa: F811
    feature_model.save(tmp_path / "model")

    def run(*words):
        monkeypatch.setattr("sys.argv", ["limbeck", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out + err

    status, text = run(
        "index",
        "build",
        pairs.path,
        "--model",
        tmp_path / "model",
        "--out",
        tmp_path / "ix",
        "--keep-embeddings",
    )
    assert status == 0, text
    index = limbeck.Index.open(tmp_path / "ix")
    rows = [i for i in range(40) if i != 5]
    wanted = feature_model.encode_image(pairs.features("mobile", rows), output="embeddings")
    np.testing.assert_allclose(embeddings_at(index.store, np.arange(39)), wanted, atol=3e-4)
    np.testing.assert_array_equal(np.concatenate(index.store.points), sign_codes(wanted))
    status, text = run(
        "search", tmp_path / "ix", "red", "-k", 3, "--rerank", 20, "--json", tmp_path / "hits.json"
    )
    assert status == 0 and "product" in text
    value = json.loads((tmp_path / "hits.json").read_text())
    asked = feature_model.encode_text(["red"], output="embeddings")[0].astype(np.float64)
    hits = value["results"][0]["hits"]
    assert value["rerank"] == 20 and "embedding" not in hits[0]["metadata"]
    for hit in hits:
        row = index.store.row_of(hit["id"])
        assert hit["score"] == pytest.approx(wanted[row].astype(np.float64) @ asked, abs=2e-3)
    assert value["score"] == "product" and "numbers whose signs" in value["ranked_by"]
    status, text = run("search", tmp_path / "ix", "red", "--rerank", 20, "--radius", 3)
    assert status == 2 and "--rerank and --radius exclude each other" in text
    (tmp_path / "model").rename(tmp_path / "gone")
    from limbeck.index.remove import remove_items

    remove_items(tmp_path / "ix", ["p3"])
    add_items(tmp_path / "ix", pairs.path, rows=np.array([3]))
    again = limbeck.Index.open(tmp_path / "ix")
    row = np.array([again.store.row_of("p3")])
    np.testing.assert_allclose(embeddings_at(again.store, row)[0], wanted[3], atol=3e-4)
