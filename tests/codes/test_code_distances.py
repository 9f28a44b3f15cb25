"""Hamming distances of any length, from any kind of array."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from limbeck.codes import hamming_distances
from limbeck.codes.kernel import kernel
from limbeck.codes.threads import run_threads, spans, thread_count
from raising import raises_code


def naive(queries: np.ndarray, items: np.ndarray) -> np.ndarray:
    return np.unpackbits(queries[:, None] ^ items[None], axis=-1).sum(axis=-1)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 6, 8, 12, 16, 24, 64])
def test_every_length_against_unpacking(width):
    rng = np.random.default_rng(width)
    queries, items = (rng.integers(0, 256, (n, width), dtype=np.uint8) for n in (5, 77))
    got = hamming_distances(queries, items, threads=2)
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, naive(queries, items))


def test_strided_unaligned_and_read_only_arrays():
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (40, 24), dtype=np.uint8)
    unaligned = np.frombuffer(wide.tobytes()[1:] + b"\0", dtype=np.uint8)[: 39 * 24].reshape(39, 24)[:, :8]
    raw = np.frombuffer(b"\0" * 3 + wide.tobytes(), dtype=np.uint8)[3:].reshape(-1, 8)
    for items in (wide[:, :8], wide[::-2, 8:16], unaligned, raw):
        np.testing.assert_array_equal(hamming_distances(wide[:3, :8], items), naive(wide[:3, :8], items))
    assert wide.flags.writeable, "the caller's array stays as it was"


pairs = st.integers(1, 10).flatmap(
    lambda w: st.tuples(
        hnp.arrays(np.uint8, (2, w)), hnp.arrays(np.uint8, (4, w)), hnp.arrays(np.uint8, (w,))
    )
)


@settings(deadline=None, max_examples=50)
@given(pairs)
def test_invariant_under_a_common_mask_and_additive_over_prefixes(drawn):
    queries, items, mask = drawn
    full = hamming_distances(queries, items)
    np.testing.assert_array_equal(hamming_distances(queries ^ mask, items ^ mask), full)
    cut = items.shape[1] // 2
    if cut:
        parts = [hamming_distances(queries[:, p], items[:, p]) for p in (slice(0, cut), slice(cut, None))]
        np.testing.assert_array_equal(sum(parts), full)


def test_empty_sides():
    codes = np.zeros((3, 8), np.uint8)
    assert hamming_distances(codes[:0], codes).shape == (0, 3)
    assert hamming_distances(codes, codes[:0]).shape == (3, 0)


def test_lengths_must_agree():
    with raises_code("E-CODES-LENGTH", "64-bit", "32 bits"):
        hamming_distances(np.zeros((1, 8), np.uint8), np.zeros((1, 4), np.uint8))


def test_threads_keep_the_order_of_tasks_and_pass_errors_on():
    assert run_threads([lambda i=i: i for i in range(7)], 3) == list(range(7))

    def fail() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        run_threads([lambda: None, fail], 2)
    for threads in (0, -1, 1.5, True):
        with raises_code("E-OPTION-RANGE", "threads:"):
            thread_count(threads)
    assert thread_count(None) >= 1


@given(st.integers(1, 50), st.integers(1, 9))
def test_spans_cover_everything_once(total, parts):
    pieces = spans(total, parts)
    assert [i for start, stop in pieces for i in range(start, stop)] == list(range(total))
    assert len(pieces) == min(parts, total)


def _in_child(queue) -> None:
    codes = np.arange(64, dtype=np.uint8).reshape(8, 8)
    queue.put(int(hamming_distances(codes, codes, threads=2).sum()))


@pytest.mark.skipif(sys.platform != "linux", reason="fork")
def test_threads_work_in_a_process_forked_after_their_first_use():
    codes = np.arange(64, dtype=np.uint8).reshape(8, 8)
    expected = int(hamming_distances(codes, codes, threads=2).sum())
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_child, args=(queue,))
    child.start()
    try:
        assert queue.get(timeout=30) == expected
    finally:
        child.join(timeout=5)
        child.kill()


def test_no_torch():
    code = (
        "import sys, limbeck.codes, limbeck.metrics, limbeck.index.exact; "
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_kernels_work_where_nothing_can_be_cached(monkeypatch):
    def without_a_folder(cache: bool = False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(sys.modules["limbeck.codes.kernel"], "njit", without_a_folder)
    assert kernel(lambda x: x + 1)(1) == 2
    assert kernel(lambda x: x + 1, fastmath={"nsz"})(1) == 2
