from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import pytest
from rich.console import Console

from limbeck.evaluation import Result, compare
from limbeck.reporting.comparison import comparison_csv, comparison_tables, write_comparison
from limbeck.reporting.curves import read_curves
from limbeck.reporting.secondary_metrics import further_tables
from limbeck.reporting.tables import figure, result_tables
from raising import raises_code


def printed(table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(table.rich())
    return stream.getvalue()


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0.8312, 3, ".831"),
        (-0.02, 3, "-.020"),
        (1.0, 3, "1.000"),
        (7.25, 1, "7.2"),
        (10.0, 1, "10.0"),
        (None, 3, "–"),
    ],
)
def test_figures(value: float | None, digits: int, text: str) -> None:
    assert figure(value, digits) == text


def test_rows_without_a_text_are_said(hashing_results: list[Result]) -> None:
    first = hashing_results[0]
    told = first.settings | {"without_text": {"query": 3}, "counts": {"query_text": 1200}}
    said = printed(result_tables([first.model_copy(update={"settings": told})])[0])
    assert "3 of 1,200 query texts are empty, and encoded as such" in said


def test_labels_in_no_mean_are_named(hashing_results: list[Result]) -> None:
    first = hashing_results[0]
    each = {"sky": {"i2t": {"queries": 2, "items": 9, "map": 0.5}}}
    each["guitar"] = {"i2t": {"queries": 14, "items": 0, "map": None}}
    of = {"metrics": first.metrics | {"label": {"i2t/all": 0.5}}}
    told = first.model_copy(update=of | {"settings": first.settings | {"labels": {"each": each}}})
    assert further_tables([told])[-1].notes[-1] == "in no mean: guitar (14 queries, 0 items)"


def test_queries_without_a_relevant_item_are_said(hashing_results: list[Result]) -> None:
    first = hashing_results[0]
    ways = {way: first.metrics[way] | {"without_relevant": 2.0} for way in ("i2t", "t2i")}
    lost = {"metrics": ways, "per_query": {"i2t": [None, None, 0.5], "t2i": [0.0, 0.0, 0.5]}}
    for rule, said in (("skip", "left out of mAP"), ("zero", "they count 0 in mAP")):
        settings = first.settings | {"metric": {"empty": rule}}
        shown = printed(result_tables([first.model_copy(update=lost | {"settings": settings})])[0])
        assert f"i→t: 2 of 3 queries have no relevant item, {said}" in shown and "t→i: 2 of 3" in shown
    assert "no relevant item" not in printed(result_tables([first])[0])


def test_one_table_a_protocol(hashing_results: list[Result], retrieval_results: list[Result]) -> None:
    first, second = result_tables([*hashing_results[:2], *retrieval_results])
    shown = printed(first)
    assert "soda" in shown and "16 bits" in shown and ".558" in shown and ".985" in shown
    assert "R@10" in printed(second) and "t→i" in printed(second) and "31.0" in printed(second)
    assert max(map(len, printed(second).splitlines())) <= 80
    lines = [line for line in first.markdown().splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_comparison_tables_mark_and_test(hashing_results: list[Result]) -> None:
    means, beside, differences = comparison_tables(compare(hashing_results, base="no teacher"))
    assert len(means.rows) == 10
    assert {means.rows[row][0] for row, _ in means.strong} == {"soda"}
    assert re.search(r"\*\*\.8\d\d ± \.00\d\*\*", means.markdown())
    assert len(differences.rows) == 6 * 3  # two methods at three lengths: both directions and their mean
    shown = differences.markdown()
    assert re.search(r"\| \+\.01\d", shown) and "Holm" in shown
    for table in (means, beside, differences):
        assert max(map(len, printed(table).splitlines())) <= 90


def test_long_csv_is_complete(hashing_results: list[Result]) -> None:
    rows = list(csv.DictReader(io.StringIO(comparison_csv(compare(hashing_results, base="no teacher")))))
    assert len(rows) == 10 * 5  # both directions, their mean, and both without trained items
    soda = rows[0]
    assert (soda["method"], soda["bits"], soda["figure"], soda["n"]) == ("soda", "16", "i2t map", "3")
    assert float(soda["low"]) < float(soda["difference"]) < float(soda["high"])


def test_retrieval_comparison_has_a_row_a_direction(retrieval_results: list[Result]) -> None:
    (table,) = comparison_tables(compare(retrieval_results))
    assert [row[2] for row in table.rows] == ["i→t", "t→i"]
    assert table.rows[0][4:] == ["31.0", "62.0", "77.5", "7.0"]


def test_written_comparison(tmp_path: Path, hashing_results: list[Result]) -> None:
    written = write_comparison(tmp_path / "out", compare(hashing_results, base="no teacher"))
    names = {file.name for file in written}
    assert names == {
        "table.md", "table.csv", "comparison.json", "map-bits.svg", "precision-recall.svg", "bit-balance.svg",
    }  # fmt: skip
    stored = json.loads((tmp_path / "out" / "comparison.json").read_text())
    soda = next(group for group in stored["groups"] if group["label"] == "soda" and group["bits"] == 16)
    assert len(soda["values"]["i2t map"]) == 3
    assert soda["difference"]["i2t map"]["p_holm"] is not None


def test_a_comparison_writes_over_no_other_files(tmp_path: Path, hashing_results: list[Result]) -> None:
    comparison = compare(hashing_results, base="no teacher")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/notes.txt").write_text("mine")
    (tmp_path / "docs/table.md").write_text("mine")
    with raises_code("E-PATH-EXISTS", "docs/table.md"):
        write_comparison(tmp_path / "docs", comparison)
    assert {f.name: f.read_text() for f in (tmp_path / "docs").iterdir()} == {
        "notes.txt": "mine",
        "table.md": "mine",
    }
    (tmp_path / "docs/table.md").unlink()
    for _ in range(2):  # the second time over its own
        write_comparison(tmp_path / "docs", comparison)
    assert (tmp_path / "docs/notes.txt").read_text() == "mine"


def test_curves_of_a_run(tmp_path: Path) -> None:
    for stage, steps in (("teacher", 3), ("student", 2)):
        folder = tmp_path / "stages" / stage
        folder.mkdir(parents=True)
        lines = [json.dumps({"step": step, "loss": 0.5}) for step in range(steps)]
        (folder / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 9, "lo']))
    (tmp_path / "run.json").write_text(json.dumps({"stages": {"teacher": {}, "student": {}}}))
    rows = read_curves(tmp_path)
    assert [row["stage"] for row in rows] == ["teacher"] * 3 + ["student"] * 2
