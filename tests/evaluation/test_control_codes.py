"""Random codes score the share of relevant pairs, codes from labels the ceiling."""

from __future__ import annotations

import pytest

from limbeck.data.pairs import Pairs
from limbeck.data.protocol import Protocol
from limbeck.evaluation import compare, evaluate_codes
from raising import raises_code


def test_floor_and_ceiling_as_rows(pairs: Pairs, hashing: Protocol) -> None:
    low = [evaluate_codes("random:16", pairs, hashing, seed=seed, ceiling=False) for seed in range(5)]
    high = evaluate_codes("oracle:16", pairs, hashing, seed=0)
    for way in ("i2t", "t2i"):
        drawn = [result.metrics[way]["map"] for result in low]
        assert len(set(drawn)) == 5
        assert sum(drawn) / 5 == pytest.approx(low[0].metrics[way]["floor"], abs=0.04)
        assert high.metrics[way]["map"] == pytest.approx(high.metrics[way]["ceiling"])
        assert high.metrics[way]["map"] > 0.9
    table = compare([*low, high])
    assert {(group.label, group.bits) for group in table.groups} == {("random", 16), ("oracle", 16)}


@pytest.mark.parametrize(
    ("codes", "given", "message"),
    [
        ("random:12", True, ("E-CODES-LENGTH", "of 8", "64")),
        ("oracle:0", True, ("E-CODES-LENGTH", "of 8")),
        ("oracle:16", False, ("E-OPTION-MISSING", "--data", "--protocol")),
    ],
)
def test_refusals(codes: str, given: bool, message: tuple[str, ...], pairs: Pairs, hashing: Protocol) -> None:
    with raises_code(*message):
        evaluate_codes(codes, *((pairs, hashing) if given else ()))
