"""The benchmark's own code: what counts as found, how ties are counted, and the form of a row."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2]))

from benchmarks.hamming import __main__ as program
from benchmarks.hamming import measure as measures
from benchmarks.hamming.algorithm import Algorithm, Asked
from benchmarks.hamming.codes import Task, count_ties, write_codes

# distances to the query of zeros: 0, 1, 2, 2, 2, 64
CODES = np.zeros((6, 8), dtype=np.uint8)
CODES[1, 0], CODES[2, 0], CODES[3, 1], CODES[4, 7], CODES[5] = 1, 3, 3, 3, 255
QUERY = np.zeros((1, 8), dtype=np.uint8)


def task(queries: int = 1) -> Task:
    """Three nearest wanted: the third is at distance 2, where three codes tie."""
    limit = np.full(queries, 2)
    asked = np.repeat(QUERY, queries, axis=0)
    return Task("made-64-6", CODES, asked, limit, count_ties(asked[:1], CODES, limit))


def test_nearer_and_tied_codes_are_counted() -> None:
    assert task().ties.tolist() == [[2, 3]]


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        ([0, 1, 2], 1),  # the order of rows
        ([1, 0, 4], 1),  # another of the tied codes
        ([2, 3, 4], 1),  # any three within the limit
        ([0, 1, 5], 2 / 3),  # too far
        ([0, 0, 0], 1 / 3),  # a row counts once
        ([0, -1, -1], 1 / 3),  # nothing found
    ],
)
def test_recall_counts_distances_and_not_rows(rows: list[int], share: float) -> None:
    assert measures.recall(task(), np.array([rows])) == pytest.approx(share)


def test_real_codes_are_tiled_with_noise_of_two_to_twenty_per_cent(tmp_path: Path) -> None:
    base = np.random.default_rng(0).integers(0, 256, (50, 64), dtype=np.uint8)
    write_codes(tmp_path / "codes.npy", base, 500, 64)
    codes = np.load(tmp_path / "codes.npy")
    share = np.bitwise_count(codes ^ base[np.arange(500) % 50]).sum(axis=1) / 512
    assert share.min() > 0 and share.max() < 0.28
    assert share.mean() == pytest.approx(0.11, abs=0.01)
    assert [file.name for file in tmp_path.iterdir()] == ["codes.npy"]


def test_a_row_has_the_fields_of_ann_benchmarks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(codes: np.ndarray, folder: Path, parameters: object) -> Asked:
        def ask(queries: np.ndarray, k: int, setting: object) -> np.ndarray:
            return np.repeat([[0, 1, 5]], len(queries), axis=0)

        return Asked(ask, 4096)

    known = Algorithm("numpy", build, {"M": 2}, [{"ef": 1}, {"ef": 2}])
    monkeypatch.setattr(measures, "ALGORITHMS", {"made": known})
    monkeypatch.setattr(measures, "SECONDS", (0.0, 0.01))
    measures.measure("made", task(300), 3)
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    theirs = {"algorithm", "parameters", "dataset", "distance", "count", "build_time", "index_size"}
    assert theirs | {"best_search_time", "recall", "qps", "batch_qps", "version"} <= set(first)
    assert (first["algorithm"], first["dataset"], first["count"]) == ("made", "made-64-6", 3)
    assert (first["setting"], second["setting"]) == ({"ef": 1}, {"ef": 2})
    assert first["recall"] == pytest.approx(2 / 3, abs=1e-4) and first["version"] == np.__version__


@pytest.mark.slow  # the benchmark in a process of its own
def test_what_fails_is_a_row_with_the_reason() -> None:
    rows = program.run("annoy", task(), ["--n", "x"], limit=60, memory=4)
    assert [set(row) for row in rows] == [{"algorithm", "library", "dataset", "failed"}]
    assert "could not convert" in rows[0]["failed"] or "invalid float" in rows[0]["failed"]


def test_joined_files_name_every_version(tmp_path: Path) -> None:
    for name, version in (("a", "1"), ("b", "2")):
        row = {"algorithm": "faiss flat", "library": "faiss-cpu", "version": version}
        (tmp_path / name).write_text(f'{{"command": "{name}"}}\n{json.dumps(row)}\n')
    program.join([tmp_path / "a", tmp_path / "b", tmp_path / "none"], tmp_path / "part.json")
    part = json.loads((tmp_path / "part.json").read_text())
    assert [run["command"] for run in part["runs"]] == ["a", "b"]
    assert part["libraries"] == {"faiss-cpu": "1, 2"} and len(part["rows"]) == 2
