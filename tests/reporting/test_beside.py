"""What stands beside mAP when codes are compared: unseen items, NDCG, P@100, the look-up."""

from __future__ import annotations

from typing import Any

import pytest

from limbeck.evaluation import Result, compare
from limbeck.reporting.comparison import comparison_csv, comparison_tables

OF_CODES = {"map_unseen": 0.7, "ndcg@100": 0.4, "ndcg@1000": 0.5, "p@100": 0.9, "lookup_precision": 0.2}
OF_CODES |= {"lookup_recall": 0.001, "lookup_answered": 0.3}


def make(label: str, seed: int, more: float, bits: int | None = 16, **changes: Any) -> Result:
    own = {name: value + more for name, value in OF_CODES.items()} if bits else {"map_unseen": 0.75 + more}
    metrics = {way: {"map": 0.8 + more, "floor": 0.5} | own for way in ("i2t", "t2i")}
    space = {"name": "hamming", "bits": bits} if bits else {"name": "sphere", "dim": 8}
    return Result(
        protocol="p", protocol_hash="a" * 64, task="hashing", method=label, run=f"{label}-{seed}",
        space=space, bits=bits, seed=seed, metrics=metrics | changes.pop("metrics", {}), **changes,
    )  # fmt: skip


def test_table_of_what_stands_beside() -> None:
    results = [make("a", s, 0.01 * s) for s in (0, 1)] + [make("b", s, 0.05 + 0.02 * s) for s in (0, 1)]
    comparison = compare([*results, make("floats", 0, 0.0, bits=None)], base="a")
    tables = {table.title: table for table in comparison_tables(comparison)}
    table = tables["beside mAP, p"]
    assert table.head[3:] == [
        "unseen", "NDCG@100", "NDCG@1000", "P@100", "prec. r≤2", "recall r≤2", "found r≤2",
    ]  # fmt: skip
    assert [row[:4] for row in table.rows] == [
        ["a", "16 bits", "i→t", ".705"],
        ["a", "16 bits", "t→i", ".705"],
        ["b", "16 bits", "i→t", ".760"],
        ["b", "16 bits", "t→i", ".760"],
        ["floats", "sphere 8", "i→t", ".750"],
        ["floats", "sphere 8", "t→i", ".750"],
    ]
    assert table.rows[4][4:] == ["–"] * 6
    assert {row for row, _ in table.strong} == {2, 3}
    assert table.rules == {3}
    # Differences of unseen items are on file; the table of differences stays with the directions.
    unseen = next(group for group in comparison.to_json()["groups"] if group["label"] == "b")["difference"]
    assert unseen["i2t map_unseen"]["mean"] == pytest.approx(0.055)
    assert not [row for row in tables["minus a, p"].rows if "unseen" in row[2]]
    assert "i2t map_unseen" in comparison_csv(comparison)


def test_nothing_beside_mean_no_table() -> None:
    plain = {way: {"map": 0.8, "floor": 0.5} for way in ("i2t", "t2i")}
    comparison = compare([make("a", 0, 0.0, metrics=plain)])
    assert "codes" not in set(comparison.figures["part"])
    assert len(comparison_tables(comparison)) == 1
