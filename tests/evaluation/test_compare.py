from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers_results import columns, figure, make
from scipy import stats

from limbeck.errors import LimbeckError
from limbeck.evaluation import Result, compare
from limbeck.evaluation.run_metadata import settings_hash
from limbeck.files import write_atomic
from raising import raises_code

SODA, BASE = [0.81, 0.82, 0.835, 0.82], [0.80, 0.815, 0.82, 0.81]


def results() -> list:
    soda = [make("soda", seed, value) for seed, value in enumerate(SODA)]
    base = [make("base", seed, value) for seed, value in enumerate(BASE)]
    third = [make("third", seed, value) for seed, value in enumerate([0.8, 0.83, 0.81, 0.815])]
    return [*soda, *base, *third]


def test_means_and_differences_agree_with_scipy() -> None:
    comparison = compare(results(), base="base")
    assert columns(comparison) == ["i2t map", "t2i map", "mean map"]
    soda = figure(comparison, "soda")
    assert soda.mean == pytest.approx(np.mean(SODA))
    assert soda.sd == pytest.approx(np.std(SODA, ddof=1))
    oracle = stats.ttest_rel(SODA, BASE)
    interval = oracle.confidence_interval(0.95)
    assert soda.p == pytest.approx(oracle.pvalue)
    assert (soda.low, soda.high) == pytest.approx((interval.low, interval.high))
    assert np.isnan(figure(comparison, "base").difference)


def test_holm_over_the_table_without_the_mean() -> None:
    comparison = compare(results(), base="base")
    raw = [row for row in comparison.figures.itertuples() if row.p == row.p and row.direction != "mean"]
    assert len(raw) == 4
    running = 0.0
    for place, row in enumerate(sorted(raw, key=lambda row: row.p)):
        running = max(running, min(1.0, (4 - place) * row.p))
        assert row.p_holm == pytest.approx(running)
        assert row.counts == (running < 0.05)
    assert np.isnan(figure(comparison, "soda", "mean").p_holm)


def test_pairs_by_seed_not_by_order() -> None:
    shuffled = [*results()[:4], *reversed(results()[4:8])]
    straight = figure(compare(results()[:8], base="base"), "soda")
    assert figure(compare(shuffled, base="base"), "soda") == straight


def test_one_seed_has_a_difference_without_interval() -> None:
    row = figure(compare([make("soda", 0, 0.82), make("base", 0, 0.8)], base="base"), "soda")
    assert row.difference == pytest.approx(0.02)
    assert np.isnan(row.low) and not row.counts
    assert row.best


def test_lower_median_rank_is_better() -> None:
    both = [
        make(label, task="retrieval", bits=None, metrics={"i2t": {"r@1": 0.3, "median_rank": rank}})
        for label, rank in (("a", 9.0), ("b", 4.0))
    ]
    comparison = compare(both)
    assert columns(comparison) == ["i2t r@1", "i2t median_rank"]
    assert [figure(comparison, label, "i2t", "median_rank").best for label in "ab"] == [False, True]


def test_a_score_that_one_result_lacks_is_left_out() -> None:
    one_way = make("b", metrics={"i2t": {"map": 0.7, "floor": 0.5}})
    assert columns(compare([make("a"), one_way])) == ["i2t map"]
    with pytest.raises(LimbeckError, match="no metric in common"):
        compare([make("a"), make("b", metrics={"i2t": {"r@1": 0.5}})])


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with raises_code("E-PACKAGE-MISSING", "'limbeck[report]'"):
        compare([make()])


def test_a_seed_twice_is_two_runs() -> None:
    first, second = make("soda", 0, 0.8, run="out/plain"), make("soda", 0, 0.9, run="out/wide")
    assert [group.label for group in compare([first, second]).groups] == ["soda (plain)", "soda (wide)"]
    with raises_code("E-OPTION-REPEATED", "plain:"):
        compare([first, first])


def test_runs_of_other_settings_are_no_repeats() -> None:
    def of(run: str, seed: int, value: float, recipe: str) -> Result:
        return make("soda", seed, value, run=run, settings={"recipe": recipe})

    plain = [of(f"out/plain-s{seed}", seed, 0.8, "a" * 64) for seed in (0, 1)]
    permuted = [of(f"out/permuted-s{seed}", seed, 0.6, "b" * 64) for seed in (2, 3)]
    found = compare([*plain, *permuted])
    assert [(group.label, group.seeds) for group in found.groups] == [
        ("soda (plain)", [0, 1]),
        ("soda (permuted)", [2, 3]),
    ]
    assert [group.label for group in compare(plain).groups] == ["soda"]
    alike = [of("out/x-s2", 2, 0.6, "b" * 64), of("out/x-s1", 1, 0.8, "a" * 64)]
    assert [group.label for group in compare(alike).groups] == ["soda (bbbbbbbb)", "soda (aaaaaaaa)"]


def test_what_tells_settings_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, **changes: Any) -> str:
        data = {"pairs": f"/data/{name}", "protocol": name} | changes.pop("data", {})
        folder = tmp_path / name
        folder.mkdir()
        write_atomic(folder / "recipe.yaml", json.dumps({"name": "r", "data": data} | changes))
        return settings_hash(folder)

    first = run("a-s0", seed=0, stages=[{"name": "one"}])
    assert run("a-s1", seed=1, stages=[{"name": "one"}]) == first
    assert run("b-s0", seed=0, stages=[{"name": "two"}]) != first
    assert run("c-s0", seed=0, stages=[{"name": "one"}], data={"permute_labels": 1}) != first
    taught = [run(f"t{i}", seed=i, stages=[{"teacher": str(tmp_path / f"a-s{i}")}]) for i in (0, 1)]
    assert taught[0] == taught[1]
    assert run("t2", stages=[{"teacher": str(tmp_path / "b-s0")}]) != taught[0]
    monkeypatch.chdir(tmp_path)  # a run may be called as one of its own stages is
    assert run("student", stages=[{"name": "student"}, {"init": "student"}])


def test_other_labels_of_the_same_items_are_refused() -> None:
    one, other = (make("a", i, settings={"items": "x", "relevance": str(i)}) for i in (0, 1))
    with raises_code("E-RESULT-OTHER", "a-1:"):
        compare([one, other])


def test_unknown_base_names_the_known() -> None:
    with raises_code("E-OPTION-CHOICE", "soda"):
        compare([make()], base="nobody")


def test_equal_differences_are_not_tested() -> None:
    """Two seeds that differ by the same amount have no spread: p would be 0 whatever the amount."""
    rows = [make("soda", seed, 0.75) for seed in (0, 1)] + [make("base", seed, 0.5) for seed in (0, 1)]
    row = figure(compare(rows, base="base"), "soda")
    assert row.difference == pytest.approx(0.25)
    assert np.isnan(row.p)
    assert not row.counts
