"""Small stores of codes are searched by numpy: the hits of the compiled scan, without loading numba."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_index import build_parts

from limbeck.index import query
from limbeck.index.exact import search_codes, search_radius
from limbeck.index.query import ExactSearch
from limbeck.spaces import Hamming


def few_values(seed: int, count: int, width: int) -> np.ndarray:
    """Codes of few distinct distances, so that most hits tie."""
    return np.random.default_rng(seed).integers(0, 3, (count, width), dtype=np.uint8)


@pytest.mark.parametrize("width", [1, 3, 4, 8, 12, 16, 64])
@pytest.mark.parametrize("cuts", [[], [100, 101]], ids=str)
def test_numpy_and_the_compiled_scan_give_the_same_hits(tmp_path: Path, width: int, cuts: list[int]) -> None:
    codes, queries = few_values(0, 400, width), few_values(1, 9, width)
    search = ExactSearch(build_parts(tmp_path / "ix", codes, cuts, Hamming(8 * width)))
    rng = np.random.default_rng(2)
    for mask in (None, rng.random(400) < 0.5, rng.random(400) < 0.01, np.zeros(400, bool)):
        for k in (1, 10, 400, 1000):
            for ours, compiled in zip(
                search(queries, k, mask), search_codes(queries, codes, k, mask=mask), strict=True
            ):
                np.testing.assert_array_equal(ours, compiled)
                assert ours.dtype == compiled.dtype
        for radius in (0, width, 9 * width):
            near = search.range_search(queries, radius, mask)
            for one, other in zip(near, search_radius(queries, codes, radius, mask=mask), strict=True):
                np.testing.assert_array_equal(one[0], other[0])
                np.testing.assert_array_equal(one[1], other[1])
    assert search(queries[:0], 3)[0].shape == (0, 3)


@pytest.mark.parametrize(("rows", "pairs"), [(399, 10**6), (400, 3599)])
def test_larger_stores_and_many_queries_take_the_compiled_scan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, pairs: int
) -> None:
    codes, queries = few_values(0, 400, 8), few_values(1, 9, 8)
    search = ExactSearch(build_parts(tmp_path / "ix", codes, [], Hamming(64)))
    want, calls = search(queries, 10), []
    monkeypatch.setattr(query, "SMALL_ROWS", rows)
    monkeypatch.setattr(query, "SMALL_PAIRS", pairs)
    monkeypatch.setattr(
        "limbeck.index.exact.search_codes",
        lambda *given, **named: calls.append(1) or search_codes(*given, **named),
    )
    np.testing.assert_array_equal(search(queries, 10), want)
    assert calls


def test_a_small_store_is_searched_without_numba(tmp_path: Path) -> None:
    build_parts(tmp_path / "ix", few_values(0, 50, 8), [20], Hamming(64))
    script = f"""
import sys, numpy as np
from limbeck.search import Index
index = Index.open({str(tmp_path / "ix")!r})
assert len(index.search(like="id-7", k=5)) == 5
assert index.search(points=np.zeros(8, np.uint8), radius=64)
slow = {{"numba", "torch", "faiss", "pandas", "filelock", "pyarrow.parquet", "pyarrow.compute"}}
loaded = slow & sys.modules.keys()
assert not loaded, loaded
assert len(index.search(points=np.zeros(8, np.uint8), k=3, where="labels has even")) == 3
assert "numba" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
