"""Asymmetric search: real queries against codes, beside the inner product with ±1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_index import build_parts

import limbeck
from limbeck.codes import sign_codes, unpack_bits
from limbeck.encoders import saved
from limbeck.encoders.dual import DualEncoder
from limbeck.errors import LimbeckError
from limbeck.index import asymmetric, engine_selection
from limbeck.index.asymmetric import AsymmetricSearch
from limbeck.search import SearchOptions, answer_file, replace_query_encoder
from limbeck.spaces import Hamming
from tiny_encoder import pixel_encoder, write_pictures


def made(seed: int, count: int) -> np.ndarray:
    """Whole numbers of few values, so that every sum is exact and many items tie; none is 0."""
    return np.random.default_rng(seed).choice([-3.0, -1.0, 1.0, 2.0], (count, 16)).astype(np.float32)


@pytest.mark.parametrize("cuts", [[], [100, 101]], ids=str)
def test_the_order_is_that_of_the_inner_product_with_ties_by_row(tmp_path: Path, cuts: list[int]) -> None:
    codes, queries = sign_codes(made(0, 400)), made(1, 9)
    search = AsymmetricSearch(build_parts(tmp_path / "ix", codes, cuts, Hamming(16)))
    product = queries.astype(np.float64) @ unpack_bits(codes).T
    for mask in (None, np.random.default_rng(2).random(400) < 0.3, np.zeros(400, bool)):
        allowed = np.arange(400) if mask is None else np.flatnonzero(mask)
        for k in (1, 10, 1000):
            distances, rows = search(queries, k, mask)
            assert distances.shape == rows.shape == (9, min(k, len(allowed)))
            for q in range(9):
                order = allowed[np.argsort(-product[q, allowed], kind="stable")][:k]
                np.testing.assert_array_equal(rows[q], order)
                weights = np.abs(queries[q].astype(np.float64))
                expected = (weights.sum() - product[q, order]) / 2 / weights.mean()
                np.testing.assert_allclose(distances[q], expected, rtol=1e-12, atol=1e-12)


def test_signs_as_queries_give_the_hamming_distance(tmp_path: Path) -> None:
    codes = sign_codes(made(0, 200))
    index = limbeck.Index.build(tmp_path / "ix", codes, items={"id": [f"i{i}" for i in range(200)]})
    plain, ours = (index.search(like="i7", k=20, asymmetric=asymmetric) for asymmetric in (False, True))
    assert [(hit.id, hit.score) for hit in ours] == [(hit.id, hit.score) for hit in plain]
    none = index.search(points=np.zeros(16, np.float32), k=3, asymmetric=True)
    assert [(hit.row, hit.score) for hit in none] == [(0, 0), (1, 0), (2, 0)]


def test_the_short_list_of_a_rerank_is_that_of_the_asymmetric_search(tmp_path: Path) -> None:
    floats = np.random.default_rng(3).standard_normal((300, 16)).astype(np.float32)
    asked = np.random.default_rng(4).standard_normal((4, 16)).astype(np.float32)
    items = {"id": [f"i{i}" for i in range(300)]}
    index = limbeck.Index.build(tmp_path / "ix", sign_codes(floats), items=items, embeddings=floats)
    options = SearchOptions(40, asymmetric=True)
    short = index.search_many(asked, options)
    reranked = index.search_many(asked, replace(options, k=10, rerank=40), embeddings=asked)
    for near, best in zip(short, reranked, strict=True):
        assert {hit.id for hit in best} <= {hit.id for hit in near}
        assert [hit.score for hit in best] == sorted((hit.score for hit in best), reverse=True)


def test_what_asymmetric_search_refuses(tmp_path: Path) -> None:
    codes = limbeck.Index.build(tmp_path / "codes", sign_codes(made(0, 9)), items={"id": list("abcdefghi")})
    with pytest.raises(LimbeckError, match="needs floats") as refused:
        codes.search(points=np.zeros(2, np.uint8), asymmetric=True)
    assert refused.value.code == "E-ARRAY-SHAPE"
    with pytest.raises(LimbeckError, match="NaN"):
        codes.search(points=np.full(16, np.nan, np.float32), asymmetric=True)
    for others, named in (({"radius": 3}, "a radius"), ({"engine": "auto"}, "an engine")):
        with pytest.raises(LimbeckError, match=named) as refused:
            SearchOptions(asymmetric=True, **others)
        assert refused.value.code == "E-OPTION-CONFLICT"
    vectors = np.eye(3, dtype=np.float32)
    floats = limbeck.Index.build(tmp_path / "floats", vectors, items={"id": list("abc")})
    with pytest.raises(LimbeckError, match="floats already") as refused:
        floats.search(points=vectors[0], asymmetric=True)
    assert refused.value.code == "E-OPTION-UNUSED"


def test_the_compiled_scan_gives_the_same_bits_as_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (500, 4), np.uint8)
    numbers = np.random.default_rng(1).standard_normal((5, 32)).astype(np.float32)
    store = build_parts(tmp_path / "ix", codes, [120], Hamming(32))
    mask = np.random.default_rng(2).random(500) < 0.5
    monkeypatch.setattr(asymmetric, "_BLOCK", 64)
    by_numpy = [AsymmetricSearch(store)(numbers, 7, allowed) for allowed in (None, mask)]
    monkeypatch.setattr(asymmetric, "_BY_NUMPY", 0)
    monkeypatch.setattr(asymmetric, "_add_up", None)
    compiled = [AsymmetricSearch(store)(numbers, 7, allowed) for allowed in (None, mask)]
    for ours, theirs in zip(by_numpy, compiled, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_equal_codes_are_ordered_by_the_kept_embeddings(tmp_path: Path) -> None:
    codes = np.repeat(sign_codes(made(0, 1)), 40, axis=0)
    floats = np.random.default_rng(1).standard_normal((40, 8)).astype(np.float32)
    items = {"id": [f"i{i}" for i in range(40)]}
    index = limbeck.Index.build(tmp_path / "ix", codes, items=items, embeddings=floats)
    found = index.search_many(made(2, 1), SearchOptions(3, asymmetric=True), embeddings=floats[25:26])[0]
    near = np.argsort(-(floats @ floats[25]) / np.linalg.norm(floats, axis=1))
    assert [hit.row for hit in found] == near[:3].tolist() and found[0].row == 25


def coded(*, asymmetric: bool) -> DualEncoder:
    """A tiny model of 16 bits."""
    model = pixel_encoder(bits=16)
    model.lift.asymmetric = asymmetric
    return model


def test_the_model_of_an_index_decides_unless_the_search_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved, "export_onnx", lambda *args: None)  # for speed
    codes = sign_codes(np.random.default_rng(3).standard_normal((90, 16)))
    items = {"id": [f"i{i}" for i in range(90)]}
    models = {default: coded(asymmetric=default) for default in (True, False)}
    index, plain = (
        limbeck.Index.build(tmp_path / str(default), codes, items=items, model=model)
        for default, model in models.items()
    )

    write_pictures(tmp_path, range(1))

    def scores(searched: limbeck.Index, **asked: Any) -> list[float]:
        return [hit.score for hit in searched.search(image=tmp_path / "0000.png", k=20, **asked)]

    real, code = scores(plain, asymmetric=True), scores(plain)
    assert real != code and all(isinstance(score, int) for score in code)
    assert scores(index) == real == scores(limbeck.Index.open(tmp_path / "True"))
    assert scores(index, asymmetric=False) == code
    # What has no real numbers, its own unit, or another engine is compared as codes.
    assert isinstance(index.search(like="i3")[0].score, int)
    assert index.search(points=codes[0])[0].score == 0
    assert scores(index, radius=16) == code
    lines = tmp_path / "queries.jsonl"
    lines.write_text('{"image": "0000.png"}\n')
    for searched, expected in ((index, real), (plain, code)):
        (answer,) = answer_file(searched, lines, SearchOptions(20))
        assert [hit["score"] for hit in answer["hits"]] == expected
    monkeypatch.setattr(engine_selection, "LARGEST", 2 * 90 - 1)  # bytes
    assert scores(index) == code


def test_a_new_query_encoder_brings_its_own_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved, "export_onnx", lambda *args: None)
    model, items = coded(asymmetric=True), {"id": ["a", "b"]}
    index = limbeck.Index.build(tmp_path / "ix", sign_codes(made(0, 2)), items=items, model=model)
    assert index.store.manifest.asymmetric and index.store.info()["asymmetric"]
    assert model.prefix(8).asymmetric
    replace_query_encoder(tmp_path / "ix", model)
    assert limbeck.Index.open(tmp_path / "ix").store.manifest.asymmetric
    replace_query_encoder(tmp_path / "ix", coded(asymmetric=False))
    assert not limbeck.Index.open(tmp_path / "ix").store.manifest.asymmetric
