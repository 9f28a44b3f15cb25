"""Asymmetric search: real queries against codes, beside the inner product with ±1."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_index import build_parts

import limbeck
from limbeck.codes import sign_codes, unpack_bits
from limbeck.errors import LimbeckError
from limbeck.index.asymmetric import AsymmetricSearch
from limbeck.search import SearchOptions
from limbeck.spaces import Hamming


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
