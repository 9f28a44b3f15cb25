from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest

from limbeck.evaluation import Result
from limbeck.reporting import plots
from limbeck.reporting.style import MARKERS, SERIES, looks, swatch


def test_every_chart_is_a_valid_file(
    hashing_results: list[Result], training_curves: dict[str, list[dict[str, Any]]]
) -> None:
    charts = [
        plots.map_against_bits(hashing_results),
        plots.precision_recall(hashing_results),
        plots.bit_balance(hashing_results),
        plots.learning_curves(training_curves),
    ]
    for chart in charts:
        assert chart is not None
        svg = chart.svg()
        root = ElementTree.fromstring(svg)
        texts = " ".join(
            "".join(element.itertext()) for element in root.iter() if element.tag.endswith("text")
        )
        assert all(panel.title in texts for panel in chart.panels)
        assert "#010101" not in svg
        assert svg == chart.svg()  # the same results give the same bytes
        for _, part in chart.inline():
            ElementTree.fromstring(part)


def test_nothing_to_draw_is_none(retrieval_results: list[Result]) -> None:
    assert plots.map_against_bits(retrieval_results) is None
    assert plots.precision_recall(retrieval_results) is None
    assert plots.bit_balance([]) is None
    assert plots.learning_curves({"a": [{"step": 1, "lr": 0.1}]}) is None


def test_precision_recall_takes_the_length_most_methods_share(hashing_results: list[Result]) -> None:
    longest = [r for r in hashing_results if not (r.bits == 64 and r.label != "soda")]
    chart = plots.precision_recall(longest)
    assert chart is not None and chart.panels[0].title.endswith("32 bits")


def test_stage_series_thins_and_splits() -> None:
    rows: list[dict[str, Any]] = [{"stage": "a", "step": i, "loss": float(i)} for i in range(1000)]
    rows += [{"stage": "b", "step": 1, "loss": None}, {"stage": "b", "step": 2, "loss": float("nan")}]
    series = plots.stage_series(rows, "loss", most=50)
    assert set(series) == {"a"}
    steps, values = series["a"]
    assert len(steps) == 50
    np.testing.assert_allclose(steps, values)
    assert values.mean() == pytest.approx(499.5)


def test_looks_stay_apart_beyond_the_palette() -> None:
    many = looks([f"m{i}" for i in range(20)] + ["m0"])
    assert len(many) == 20 and len({(look.color, str(look.dash)) for look in many.values()}) == 20
    assert len(SERIES) == len(MARKERS) == 8
    for look in many.values():
        for kind in ("line", "level", "bar"):
            ElementTree.fromstring(swatch(look, kind))
