"""Draws of one protocol in one table: pooled, paired by split and seed; other protocols are refused."""

from __future__ import annotations

import pytest
from helpers_results import figure, make
from scipy import stats

from limbeck.data.protocols import load_protocol
from limbeck.evaluation import Result, compare
from limbeck.evaluation.metric_presets import as_in
from limbeck.reporting.comparison import comparison_tables
from raising import raises_code

FAMILY = "f" * 64
SODA, BASE = [0.81, 0.82, 0.835], [0.80, 0.815, 0.82]


def of(split: int, label: str, seed: int, value: float, family: str | None = FAMILY) -> Result:
    """The fixed split carries no family, as results did before there were draws."""
    own: dict[str, object] = {"protocol": f"p@{split}", "protocol_hash": f"{split}" * 64, "family": family}
    if split == 0:
        own = {"protocol": "p", "protocol_hash": FAMILY}
    return make(label, seed, value, **own, settings={"items": f"items{split}", "label": label})


def test_pooled_and_paired_by_split_and_seed() -> None:
    soda = [of(n, "soda", n, value) for n, value in enumerate(SODA)]
    base = [of(n, "base", n, value) for n, value in enumerate(BASE)]
    comparison = compare([*soda, *reversed(base)], base="base")
    assert comparison.protocol == "p, @1, @2" and comparison.protocol_hash == FAMILY
    group = comparison.groups[0]
    assert (group.label, len(group.results)) == ("soda", 3)
    oracle = stats.ttest_rel(SODA, BASE)
    assert figure(comparison, "soda").p == pytest.approx(oracle.pvalue)
    assert comparison.to_json()["groups"][0]["protocols"] == ["p", "p@1", "p@2"]
    table = comparison_tables(comparison)[0]
    assert table.title == "p, @1, @2" and table.rows[0][2] == "3"


def test_one_seed_on_several_splits_counts_each(tmp_path: object) -> None:
    """Folds: the seed is the same, the split is what repeats."""
    soda = [of(n + 1, "soda", 0, value) for n, value in enumerate(SODA)]
    base = [of(n + 1, "base", 0, value) for n, value in enumerate(BASE)]
    difference = figure(compare([*soda, *base], base="base"), "soda")
    assert difference.seeds == [0, 0, 0] and difference.p == pytest.approx(stats.ttest_rel(SODA, BASE).pvalue)


def test_another_split_pairs_with_nothing() -> None:
    comparison = compare([of(1, "soda", 0, 0.8), of(2, "base", 0, 0.7)], base="base")
    assert comparison.figures["difference"].isna().all()


def test_other_families_and_changed_draws_are_refused() -> None:
    with raises_code("E-RESULT-OTHER", "soda-1:"):
        compare([of(0, "soda", 0, 0.8), of(2, "soda", 1, 0.8, family="e" * 64)])
    with raises_code("E-RESULT-OTHER", "base-0:"):
        compare([of(1, "soda", 0, 0.8), of(1, "base", 0, 0.8).model_copy(update={"protocol_hash": "9" * 64})])
    other_items = of(1, "base", 0, 0.8).model_copy(update={"settings": {"items": "others"}})
    with raises_code("E-RESULT-OTHER", "base-0:"):
        compare([of(0, "base", 0, 0.8), of(1, "soda", 0, 0.8), other_items])


def test_protocol_may_be_a_pattern() -> None:
    results = [of(0, "soda", 0, 0.8), of(1, "soda", 1, 0.8), make("soda", 2, protocol="q")]
    assert compare(results, protocol="p*").protocol == "p, @1"
    assert compare(results, protocol="p@1").protocol == "p@1"


def test_like_keeps_draws_together_and_apart_from_the_plain_metric() -> None:
    fixed, drawn = (load_protocol(f"mirflickr15k/dcmh{tail}") for tail in ("", "@1"))
    liked = [as_in(rules, "qinlab")[0] for rules in (fixed, drawn)]
    assert liked[0].family == liked[1].family != fixed.family
    assert liked[0].hash != liked[1].hash
