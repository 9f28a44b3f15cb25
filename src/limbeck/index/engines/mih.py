"""Searches exactly with multi-index hashing: codes sorted by each of their parts, probed at growing radii.

Norouzi, Punjani and Fleet, "Fast Exact Search in Hamming Space with Multi-Index Hashing", TPAMI 2014. Two
codes that differ in few bits differ in very few bits of some part. Ours: a bucket holds the other parts of
its codes besides their row numbers, so that one sequential read suffices. A query is given up if its buckets
would cost as much as a scan of all codes; the scan then answers it (`limbeck.index.ann_search`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from limbeck.codes.packing import read_only
from limbeck.codes.threads import run_threads, spans, thread_count
from limbeck.errors import LimbeckError
from limbeck.index.arrays import NpyWriter, open_npy
from limbeck.index.engines.base import BuildParam, Candidates, Points, RowMask, SearchParams
from limbeck.index.engines.scan_buckets import keys_of, place_entries, search_buckets

_WIDEST = 24  # bits of a part: its table of 2^24 starts takes 64 MB
_SAMPLE = 20_000
_LOOKUP = 40.0  # the cost of finding a bucket, in codes of a bucket
_PERCENT = 3  # of the codes may be examined; beyond that the scan is about as fast
_FEW = 256  # initial capacity of the answer to a radius search


class MultiIndex:
    """Searches exactly; ``budget`` is the percentage of examined codes at which a query is given up."""

    name: ClassVar[str] = "mih"

    def __init__(self, folder: Path, rows: int) -> None:
        order, self._widths = (
            np.array(open_npy(folder / name)).ravel().astype(np.int64) for name in ("order.npy", "widths.npy")
        )
        self._bits, parts = len(order), len(self._widths)
        sizes = (1 << np.clip(self._widths, 0, 32)) + 1
        self._starts = read_only(open_npy(folder / "starts.npy").ravel())
        entries = open_npy(folder / "entries.npy")
        if (
            (np.sort(order) != np.arange(self._bits)).any()
            or self._widths.sum() != self._bits
            or self._starts.shape != (sizes.sum(),)
            or entries.shape != (parts * rows, parts)
            or not self._starts.dtype == entries.dtype == np.uint32
        ):
            raise LimbeckError(
                f"{folder}: its files do not fit each other; build the engine again", code="E-ENGINE-DAMAGED"
            )
        self._entries = read_only(entries.reshape(parts, rows, parts))
        self._offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        self._table = _table(order, self._widths)

    @classmethod
    def build_params(cls, rows: int, columns: int) -> list[BuildParam]:
        """Return ``parts``, by default so that a part has about as many buckets as there are rows."""
        bits = 8 * columns
        least = -(-bits // _WIDEST)
        wanted = round(bits / max(1.0, np.log2(rows)))
        return [BuildParam("parts", min(bits, max(least, wanted)), least, bits)]

    @classmethod
    def write(cls, folder: Path, points: Points, params: Mapping[str, int]) -> None:
        """Sort the codes by each part, in row order within a bucket, and write the tables."""
        if points.rows >= 1 << 32:
            raise LimbeckError("engine: mih takes fewer than 2^32 rows; use ivf", code="E-ENGINE-CANNOT")
        parts = params["parts"]
        order, widths = _ordered(points.sample(_SAMPLE), parts)
        np.save(folder / "order.npy", order[:, None])
        np.save(folder / "widths.npy", widths[:, None])
        table = _table(order, widths)
        with (
            NpyWriter(folder / "starts.npy", np.dtype(np.uint32), 1) as starts,
            NpyWriter(folder / "entries.npy", np.dtype(np.uint32), parts) as entries,
        ):
            for part in range(parts):
                sizes = np.zeros((1 << int(widths[part])) + 1, dtype=np.int64)
                for piece in points.pieces():
                    sizes[1:] += np.bincount(_keys(piece, table)[:, part], minlength=len(sizes) - 1)
                first = np.cumsum(sizes)
                starts.append(first.astype(np.uint32)[:, None])
                sorted_by, at = np.empty((points.rows, parts), dtype=np.uint32), 0
                for piece in points.pieces():
                    place_entries(_keys(piece, table), at, part, first, sorted_by)
                    at += len(piece)
                entries.append(sorted_by)

    def search_params(self) -> list[SearchParams]:
        """Return the budget."""
        return [{"budget": _PERCENT}]

    def search(
        self, queries: np.ndarray, count: int, params: SearchParams, allowed: RowMask | None
    ) -> Candidates:
        """Return the ``count`` nearest codes with exact distances; none for a query that is given up."""
        nearest, _ = self.nearest(self.cut(queries), count, self._bits, params, allowed)
        none = (nearest < 0) | (nearest >> 32 > self._bits)
        rows = np.where(none, -1, nearest & 0xFFFFFFFF)
        return Candidates(rows, np.where(none, self._bits + 1, nearest >> 32).astype(np.int32))

    def range_search(
        self, queries: np.ndarray, radius: int, params: SearchParams, allowed: RowMask | None
    ) -> list[tuple[np.ndarray, np.ndarray] | None]:
        """Return distances and rows (m,) within a radius for each query (Q, B); None if given up."""
        radius, count = min(radius, self._bits), _FEW
        query_parts, open_ = self.cut(queries), np.arange(len(queries))
        answers: list[tuple[np.ndarray, np.ndarray] | None] = [None] * len(queries)
        while len(open_):  # a full answer may be incomplete: search again with more capacity
            count = min(count, self._entries.shape[1])
            nearest, _ = self.nearest(query_parts[open_], count, radius, params, allowed)
            full = (nearest[:, -1] >= 0) & (nearest[:, -1] >> 32 <= radius) & (count < self._entries.shape[1])
            for q, held in zip(open_[~full], nearest[~full], strict=True):
                if held[0] >= 0:
                    held = held[held >> 32 <= radius]
                    answers[q] = (held >> 32).astype(np.int32), held & 0xFFFFFFFF
            open_, count = open_[full], 8 * count
        return answers

    def cut(self, queries: np.ndarray) -> np.ndarray:
        """Return uint32 (Q, m): the m parts of packed codes (Q, B)."""
        return _keys(queries, self._table)

    def nearest(
        self, query_parts: np.ndarray, count: int, reach: int, params: SearchParams, allowed: RowMask | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return ``nearest`` and ``work`` of `search_buckets` for queries cut into parts, uint32 (Q, m)."""
        rows = self._entries.shape[1]
        mask = np.empty(0, np.uint8) if allowed is None else np.ascontiguousarray(allowed.mask).view(np.uint8)
        nearest = np.empty((len(query_parts), min(count, rows)), dtype=np.int64)
        work = np.empty((len(query_parts), 2), dtype=np.int64)
        workers = thread_count(None)
        tasks = [
            functools.partial(
                search_buckets,
                read_only(query_parts[start:stop]),
                self._widths,
                self._starts,
                self._offsets,
                self._entries,
                read_only(mask),
                _LOOKUP,
                params["budget"] / 100 * rows,
                reach,
                nearest[start:stop],
                work[start:stop],
            )
            for start, stop in spans(len(query_parts), workers)
        ]
        run_threads(tasks, workers)
        return nearest, work


def _ordered(sample: np.ndarray, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Assign bits to parts, correlated bits to different parts; return bits (b,) by part and widths (m,).

    This follows section 6 of the paper: each part in turn takes the bit that correlates least with its bits.
    """
    bits = np.unpackbits(sample, axis=1).astype(np.float32)
    order = np.argsort(-bits.std(axis=0), kind="stable")  # the most balanced bit wins a tie
    alike = np.zeros((len(order), len(order)))
    if len(sample) > 1:
        with np.errstate(divide="ignore", invalid="ignore"):  # a constant bit has no correlation
            alike = np.abs(np.nan_to_num(np.corrcoef(bits[:, order].T)))
    widths = np.array([len(some) for some in np.array_split(order, parts)], dtype=np.int64)
    chosen: list[list[int]] = [[] for _ in range(parts)]
    most, taken = np.zeros((parts, len(order))), np.zeros(len(order), dtype=bool)
    for turn in range(int(widths[0])):
        for part in np.flatnonzero(widths > turn):
            bit = int(np.argmin(np.where(taken, np.inf, most[part])))
            chosen[part].append(int(order[bit]))
            most[part], taken[bit] = np.maximum(most[part], alike[bit]), True
    return np.concatenate([np.array(own, dtype=np.int64) for own in chosen]), widths


def _table(order: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Return uint32 (B, 256, m): what each value of each byte contributes to each part."""
    table = np.zeros((len(order) // 8, 256, len(widths)), dtype=np.uint32)
    part = np.repeat(np.arange(len(widths)), widths)
    place = np.concatenate([np.arange(width) for width in widths])
    values = np.arange(256)
    for bit, own, shift in zip(order, part, place, strict=True):
        table[bit // 8, :, own] |= ((values >> (7 - bit % 8) & 1) << shift).astype(np.uint32)
    return read_only(table)


def _keys(codes: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return uint32 (n, m): the m parts of packed codes (n, B)."""
    keys = np.empty((len(codes), table.shape[2]), dtype=np.uint32)
    keys_of(read_only(np.ascontiguousarray(codes)), table, keys)
    return keys
