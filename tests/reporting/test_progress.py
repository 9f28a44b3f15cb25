"""Efficiency table and figures of a comparison; interpolation against numbers by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limbeck.evaluation import compare
from limbeck.evaluation.efficiency import common_end, read_efficiency, score_at
from limbeck.evaluation.results import Result
from limbeck.files import write_json
from limbeck.reporting.comparison import comparison_tables, write_comparison
from limbeck.reporting.efficiency import short
from limbeck.reporting.plots import precision_at
from limbeck.reporting.progress import common_curves, quality_over, write_figure
from raising import raises_code


def run(label: str, seed: int, pace: float, level: float, **changes: object) -> Result:
    ways = [{"pairs": n, "seconds": n / pace, "score": level * n / 1000} for n in (200, 600, 1000)]
    cost = {
        "pairs": 1000, "seconds": 1000 / pace, "pairs_per_second": pace, "flops_per_step": 1.5e9,
        "peak_memory": 4e8, "parameters": 2.5e6,
    }  # fmt: skip
    fields = {
        "protocol": "p", "protocol_hash": "a" * 64, "task": "retrieval", "method": label, "seed": seed,
        "run": f"{label}-{seed}", "space": {"name": "sphere", "dim": 8}, "progress": ways, "efficiency": cost,
        "metrics": {"i2t": {"r@1": level}, "t2i": {"r@1": level}},
    }  # fmt: skip
    return Result(**(fields | changes))  # type: ignore[arg-type]


def pair() -> list[Result]:
    return [run("fast", s, 100, 0.4 + 0.1 * s) for s in (0, 1)] + [run("slow", s, 50, 0.5) for s in (0, 1)]


def test_quality_at_equal_samples_and_time() -> None:
    results = pair()
    assert common_end(results, "pairs") == 1000
    assert common_end(results, "seconds") == 10
    assert score_at(results[2], "seconds", 10) == pytest.approx(0.25)  # 500 pairs: between two looks
    assert score_at(results[0], "pairs", 100) is None
    table = next(t for t in comparison_tables(compare(results)) if t.title.startswith("efficiency"))
    costs = ["2", "2.5M", "100", "1.5G", "400M", "1k", "10"]
    assert table.rows[0] == ["fast", "sphere 8", *costs, ".450 ± .071", ".450 ± .071"]
    assert table.rows[1][-2:] == [".500 ± .000", ".250 ± .000"]
    assert table.head[-2:] == ["at 1k pairs", "at 10 s"]


def test_without_records_there_is_no_table_and_several_processors_are_said(tmp_path: Path) -> None:
    plain = [r.model_copy(update={"efficiency": {}, "progress": []}) for r in pair()]
    assert not [t for t in comparison_tables(compare(plain)) if t.title.startswith("efficiency")]
    other = [r.model_copy(update={"machine": {"processor": r.label}}) for r in pair()]
    table = next(t for t in comparison_tables(compare(other)) if t.title.startswith("efficiency"))
    assert "several processors" in table.notes[-1]
    with raises_code("E-RESULT-MISSING", "a.png:"):
        write_figure(tmp_path / "a.png", plain)
    with raises_code("E-PATH-ENDING", "a.pdf:"):
        write_figure(tmp_path / "a.pdf", pair())


def test_common_curves_keep_to_where_all_seeds_were() -> None:
    at, scores = common_curves([run("a", 0, 100, 0.4), run("a", 1, 50, 0.4)], "seconds")
    assert (at.min(), at.max()) == (4, 10)
    assert scores.shape == (2, len(at))
    np.testing.assert_allclose(scores[0], 0.4 * at / 10)
    np.testing.assert_allclose(scores[1], 0.4 * at / 20)


def test_figures_are_written(tmp_path: Path, hashing_results: list[Result]) -> None:
    chart = quality_over(pair())
    assert chart is not None
    assert [panel.title for panel in chart.panels] == [
        "validation by pairs seen",
        "validation by seconds of training",
    ]
    for result in hashing_results:
        for curve in result.curves.values():
            curve |= {"ns": [1.0, 10.0, 100.0], "precision_at": [0.9, 0.8, 0.7]}
    assert precision_at(hashing_results) is not None
    assert precision_at(pair()) is None
    for name, results in (("a.png", pair()), ("b.png", hashing_results), ("c.svg", hashing_results)):
        write_figure(tmp_path / name, results)
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.width > 1000
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
    assert "P@N" in (tmp_path / "c.svg").read_text()
    names = {file.name for file in write_comparison(tmp_path / "out", compare(pair()))}
    assert "quality.svg" in names


def test_a_run_of_several_stages_counts_all(tmp_path: Path) -> None:
    stages = {}
    for name, pairs in (("teacher", 100), ("student", 60)):
        folder = tmp_path / "stages" / name
        record = {"pairs": pairs, "seconds": 2.0, "pairs_per_second": pairs / 2, "flops_per_step": 5}
        write_json(folder / "efficiency.json", record | {"peak_memory": pairs})
        stages[name] = {"steps": 10, "parameters": 7}
        (folder / "clock.jsonl").write_text('{"step": 5, "pairs": 30, "seconds": 1.0}\n')
        (folder / "metrics.jsonl").write_text('{"step": 5, "val/score": 0.5}\n{"step": 6}\n')
    write_json(tmp_path / "run.json", {"stages": stages})
    cost, points = read_efficiency(tmp_path)
    assert (cost["pairs"], cost["seconds"], cost["flops"], cost["peak_memory"]) == (160, 4.0, 100, 100)
    assert points == [{"pairs": 130, "seconds": 3.0, "score": 0.5}]
    (tmp_path / "stages/teacher/efficiency.json").unlink()  # trained before costs were recorded
    assert read_efficiency(tmp_path) == ({}, [])


def test_a_tuned_model_has_one_line_of_points(tmp_path: Path) -> None:
    """Stages that hand both towers on are one model; a teacher, or a half, is another."""
    stages = {}
    for name in ("teacher", "student", "tune"):
        folder = tmp_path / "stages" / name
        record = {"pairs": 100, "seconds": 2.0, "pairs_per_second": 50, "flops_per_step": 5, "peak_memory": 1}
        write_json(folder / "efficiency.json", record)
        stages[name] = {"steps": 10, "parameters": 7}
        (folder / "clock.jsonl").write_text('{"step": 5, "pairs": 30, "seconds": 1.0}\n')
        (folder / "metrics.jsonl").write_text('{"step": 5, "val/score": 0.5}\n')
    write_json(tmp_path / "run.json", {"stages": stages})

    def seen(*inits: dict[str, str], **options: int) -> list[float]:
        own = {name: {"init": init} for name, init in zip(stages, inits, strict=True)}
        own["tune"] |= options  # type: ignore[arg-type]
        write_json(tmp_path / "recipe.yaml", {"stages": own})
        return [point["pairs"] for point in read_efficiency(tmp_path)[1]]

    whole = {"image": "student", "text": "student"}
    assert seen({}, {"image": "teacher"}, whole) == [130, 230]
    assert seen({}, {"image": "teacher", "text": "teacher"}, whole) == [30, 130, 230]
    assert seen({}, {}, {"image": "student"}) == [230]
    assert seen({}, {}, {"image": "runs/a", "text": "runs/a"}) == [230]
    assert seen({}, {}, whole, pairs=20) == [230]  # other rows are held out


def test_short_numbers() -> None:
    assert [short(v) for v in (0.5, 12, 999.9, 204_800, 1.5e9, 2e12)] == [
        "0.5",
        "12",
        "1k",
        "205k",
        "1.5G",
        "2T",
    ]
