"""The side-by-side table, what trainings cost, histograms of radii, ways to the root."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from limbeck.evaluation.results import Result
from limbeck.reporting.overview import Cost, cost_table, overview_table
from limbeck.reporting.radius_histogram import radius_histograms
from limbeck.reporting.traversal_view import Station, Way, shown_way
from limbeck.traversal import ROOT


def result(label: str, space: dict[str, object], **groups: dict[str, float]) -> Result:
    recalls = {"r@1": 0.125, "r@10": 0.5, "median_rank": 9.0}
    return Result(
        protocol="scenes/retrieval", protocol_hash="77ab01" + "0" * 58, task="retrieval", method="clip",
        run=f"runs/{label}", space=space, seed=0, settings={"label": label}, seconds={},
        metrics={"i2t": recalls, "t2i": {**recalls, "r@1": 0.25}, **groups},
    )  # fmt: skip


def test_bytes_cells_and_figures_that_are_missing() -> None:
    rows = [
        result("MERU", {"name": "lorentz", "dim": 128, "curv": 0.7},
               zero_shot={"top1": 0.21, "chance": 0.125}, hierarchy={"tie": 2.5}),
        result("CLIP", {"name": "sphere", "dim": 64}),
        result("SODA", {"name": "hamming", "bits": 64}),
    ]  # fmt: skip
    table = overview_table(rows, {"colour top-1": ["1", "2", "3"]})
    cells = [dict(zip(table.head, row, strict=True)) for row in table.rows]
    assert [cell["bytes"] for cell in cells] == ["512", "256", "8"]
    assert [cell["method"] for cell in cells] == ["MERU", "CLIP", "SODA"]
    assert cells[0]["R@1 i→t"] == "12.5" and cells[0]["R@1 t→i"] == "25.0" and cells[0]["R@10 t→i"] == "50.0"
    assert [cell["top-1"] for cell in cells] == ["21.0", "–", "–"]
    assert [cell["TIE"] for cell in cells] == ["2.500", "–", "–"]
    assert [cell["colour top-1"] for cell in cells] == ["1", "2", "3"]
    assert any("chance 12.5" in note for note in table.notes)
    assert not any("chance" in note for note in overview_table(rows[1:]).notes)


def test_the_table_fits_into_a_terminal_of_80_columns() -> None:
    rows = [
        result("HMID-Net", {"name": "lorentz", "dim": 128, "curv": 1.0},
               zero_shot={"top1": 0.21, "chance": 0.125}, hierarchy={"tie": 2.5}),
    ]  # fmt: skip
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(overview_table(rows, {"colour top-1": ["12.5"], "colour TIE": ["2.958"]}).rich())
    text = console.export_text()
    assert "…" not in text and "HMID-Net" in text and "lorentz 128" in text and "2.958" in text


def test_what_a_training_costs() -> None:
    table = cost_table([Cost("teacher", 1_340_000, 12_800, 40.0)])
    assert table.rows == [["teacher", "1.34 M", "12,800", "40", "320"]]


def test_radii_share_one_scale_and_a_kind_keeps_its_colour() -> None:
    models = {
        "a": {"pictures": np.array([0.9, 1.0]), "texts": np.array([0.4]), "nothing": np.array([])},
        "b": {"texts": np.array([2.0, 0.0])},
        "empty": {},
    }
    chart = radius_histograms(models)
    assert chart is not None
    assert [key.label for key in chart.legend] == ["pictures", "texts"]
    panels = chart.inline()
    assert [name for name, _ in panels] == ["a", "b"]
    assert "var(--s0" in panels[0][1] and "var(--s0" not in panels[1][1] and "var(--s1" in panels[1][1]
    assert radius_histograms({}) is None and radius_histograms({"a": {"pictures": np.array([])}}) is None


@pytest.mark.parametrize("radius", [0.5, 2.0])
def test_a_way_is_measured_against_its_farthest_point(radius: float) -> None:
    picture = Image.new("RGB", (20, 20), "red")
    stations = [Station("a red ring", 1.0, [picture] * 3), Station(ROOT, 0.0)]
    shown = shown_way(Way(picture, "a small red ring", "m", radius, 12, 3400, True, stations))
    assert shown["radius"] == f"{radius:.2f}" and shown["entailing"] == "12 of 3,400 texts entail it"
    assert shown["share"] == min(1.0, radius)
    other = shown_way(Way(picture, "a ring", "m", radius, 0, 3, False, stations))
    assert other["entailing"] == "0 of 3 texts entail it; the nearest texts are shown, entailing or not"
    text, root = shown["stations"]
    assert text["share"] == min(1.0, 1 / radius) and len(text["pictures"]) == 3 and not text["root"]
    assert root["root"] and root["text"] == "the root" and root["share"] == 0 and root["pictures"] == []
