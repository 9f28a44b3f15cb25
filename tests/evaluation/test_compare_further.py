"""Figures beside the directions, over seeds: zero-shot, tree errors, cones."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_results import columns, figure, make
from scipy import stats

from limbeck.evaluation import Result, compare
from limbeck.reporting.comparison import comparison_csv, comparison_tables
from limbeck.reporting.secondary_metrics import further_tables

TOP = {"meru": [0.5, 0.52, 0.55], "clip": [0.48, 0.47, 0.51]}


def result(label: str, seed: int, *, cones: bool) -> Result:
    top = TOP[label][seed]
    metrics = {
        "i2t": {"r@1": 0.3 + 0.01 * seed, "r@10": 0.6, "median_rank": 4.0},
        "t2i": {"r@1": 0.31 + 0.02 * seed, "r@10": 0.61, "median_rank": 3.0},
        "zero_shot": {"top1": top, "mean_per_class": top - 0.01, "chance": 0.125},
        "hierarchy": {"tie": 3 - top, "lca": 2 - top, "jaccard": top, "precision": top, "recall": top},
    }
    if cones:
        metrics |= {"cone": {"inside": 0.8}, "radius": {"image": 1.5, "text": 1.0, "text/detail-1": 1.1}}
    space = {"name": "lorentz", "dim": 8, "curv": 1.0 + seed} if cones else {"name": "sphere", "dim": 8}
    return make(label, seed, task="retrieval", bits=None, space=space, metrics=metrics)


def results() -> list[Result]:
    return [result(label, seed, cones=label == "meru") for label in TOP for seed in range(3)]


def test_further_columns_stand_apart() -> None:
    comparison = compare(results(), base="clip")
    assert columns(comparison) == [f"{d} {n}" for d in ("i2t", "t2i") for n in ("r@1", "r@10", "median_rank")]
    further = columns(comparison, "further")
    assert further[:3] == ["zero_shot top1", "zero_shot mean_per_class", "hierarchy tie"]
    assert further[-3:] == ["radius image", "radius text", "radius text/detail-1"]
    assert figure(comparison, "clip", "cone", "inside") is None
    top = figure(comparison, "meru", "zero_shot", "top1")
    assert top.mean == pytest.approx(np.mean(TOP["meru"]))
    assert top.best and figure(comparison, "meru", "hierarchy", "tie").best
    for name in (("radius", "image"), ("cone", "inside")):
        assert not figure(comparison, "meru", *name).best


def test_differences_of_the_further_are_corrected_by_themselves() -> None:
    bare = [r.model_copy(update={"metrics": {d: r.metrics[d] for d in ("i2t", "t2i")}}) for r in results()]
    alone, comparison = compare(bare, base="clip"), compare(results(), base="clip")
    scores = comparison.figures[comparison.figures["part"] == "scores"].reset_index(drop=True)
    compared = ["direction", "metric", "difference", "p", "p_holm"]
    assert scores[compared].equals(alone.figures[compared])
    top = figure(comparison, "meru", "zero_shot", "top1")
    assert top.p == pytest.approx(stats.ttest_rel(TOP["meru"], TOP["clip"]).pvalue)
    assert top.p_holm >= 2 * top.p
    assert np.isnan(figure(comparison, "meru", "cone", "inside").difference)


def test_tables_fit_and_tell() -> None:
    comparison = compare(results(), base="clip")
    titles = [table.title.partition(",")[0] for table in comparison_tables(comparison)]
    assert titles[1:] == [
        "zero-shot classification", "errors in the class tree", "cones and radii",
        "mean radius of texts by detail", "minus clip",
    ]  # fmt: skip
    _, zero, tree, cones, detail, minus = comparison_tables(comparison)
    assert zero.head == ["method", "space", "n", "top-1", "per class"]
    assert zero.rows[0][3] == "52.3 ± 2.5" and (0, 3) in zero.strong
    assert tree.head[3:] == ["TIE", "LCA", "Jaccard", "h. prec.", "h. rec."]
    assert cones.rows == [["meru", "lorentz 8", "3", "80.0 ± 0.0", "1.500 ± .000", "1.000 ± .000"]]
    assert detail.head[3:] == ["detail-1"]
    assert ["meru", "lorentz 8", "top-1"] in [row[:3] for row in minus.rows]
    assert "separate" in minus.notes[-1]
    lines = comparison_csv(comparison).splitlines()
    assert any(line.startswith("meru,lorentz,,cone inside,3,0.8") for line in lines)
    assert not any("clip" in line and "cone" in line for line in lines)


def test_one_table_a_kind_and_protocol() -> None:
    other = result("clip", 0, cones=False).model_copy(update={"protocol": "q", "protocol_hash": "b" * 64})
    tables = further_tables([result("meru", 0, cones=True), result("clip", 0, cones=False), other])
    assert [table.title for table in tables] == [
        "zero-shot classification, p", "errors in the class tree, p", "cones and radii, p",
        "mean radius of texts by detail, p", "zero-shot classification, q", "errors in the class tree, q",
    ]  # fmt: skip
    assert tables[0].head[-1] == "chance" and tables[0].rows[0][-1] == "12.5"
    assert len(tables[0].rows) == 2 and len(tables[2].rows) == 1
    assert not further_tables([make()])
