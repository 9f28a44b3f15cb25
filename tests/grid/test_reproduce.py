"""`limbeck reproduce`: recorded rows measured again, the noise, and rows that are void."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from limbeck.data import caption_chains
from limbeck.data.pairs import Pairs
from limbeck.evaluation import validity
from limbeck.evaluation.hashing import Scores
from limbeck.evaluation.packs import read_pack, write_pack
from limbeck.evaluation.results import FIRST_METRICS, Result, same_protocol
from limbeck.evaluation.validity import metric_version, void_reasons
from limbeck.grid import benchmark
from limbeck.grid.recorded import Recorded, drawn, recorded_folder, recorded_names
from limbeck.grid.repeat import Compared, Noise, compare_rows
from raising import raises_code

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]
REPOSITORY = Path(__file__).parents[2]


def row(label: str = "a", seed: int = 0, value: float = 0.5, **changes: Any) -> Result:
    fields: dict[str, Any] = {
        "protocol": "p", "protocol_hash": "0" * 64, "task": "hashing", "method": "m",
        "run": f"{label}-s{seed}", "space": {}, "bits": 16, "seed": seed,
        "metrics": {"i2t": {"map": value}}, "settings": {"label": label},
    }  # fmt: skip
    return Result(**fields | changes)


def table(*rows: Result) -> Recorded:
    return Recorded("t", {one.run: one for one in rows}, {})


def test_a_table_is_measured_again_and_a_changed_figure_is_flagged(
    tmp_path: Path, write: Write, limbeck: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"direct": {"recipe": "direct.yaml"}}
    file = write("again", rows=rows, prepare={}, base="direct", seeds=[0])
    pack = tmp_path / "recorded" / "tiny.jsonl.xz"
    assert limbeck("grid", file, "--out", tmp_path / "grid", "--rows", pack)[0] == 0
    words = ["reproduce", "tiny", "--recorded", pack.parent, "--grid", file, "--rows", 1, "--seed", 3]
    out = tmp_path / "ours.json"
    status, said, err = limbeck(*words, "--out", tmp_path / "again", "--json", out)
    assert (status, err) == (0, "")
    assert "tune/direct-t0" not in said  # the trials are those that were recorded
    written = json.loads(out.read_text())
    assert {one["verdict"] for one in written["rows"]} == {"same"}
    assert [one["figure"] for one in written["rows"]] == ["i2t map", "t2i map"]

    records = read_pack(pack)
    records["direct-s0"]["metrics"]["i2t"]["map"] -= 0.1
    records["direct-s0"]["settings"]["metric_version"] = "another"
    write_pack(pack, records)
    status, said, err = limbeck(*words, "--dry-run")
    assert (status, said) == (1, "")
    assert "direct-s0: void: the code of the metrics of hashing has changed" in err
    assert "tiny: no row can be measured again" in err and "[E-RESULT-VOID]" in err
    del records["direct-s0"]["settings"]["metric_version"]
    write_pack(pack, records)
    words += ["--out", tmp_path / "again"]  # the run of before is kept
    status, said, err = limbeck(*words)
    assert status == 0 and "one run only" in said
    monkeypatch.setattr(Noise, "of", lambda values: Noise(0.01, 5))
    status, said, err = limbeck(*words)
    assert status == 1 and "differs" in said


def test_what_is_missing_is_named(tmp_path: Path, limbeck: Run) -> None:
    assert "has no recorded rows" in limbeck("reproduce", "--list", "--recorded", tmp_path)[2]
    write_pack(tmp_path / "mine.jsonl.xz", {"a-s0": row().model_dump(mode="json")})
    assert "choose from mine, hamming" in limbeck("reproduce", "other", "--recorded", tmp_path)[2]
    assert "its rows name no grid; give the grid" in limbeck("reproduce", "mine", "--recorded", tmp_path)[2]
    status, said, _ = limbeck("reproduce", "--list", "--recorded", tmp_path)
    assert status == 0 and "mine: its rows name no grid; give the grid with --grid" in said
    assert limbeck("reproduce", "--recorded", tmp_path)[:2] == (0, said)


def test_the_rows_of_the_checkout_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert recorded_folder() == REPOSITORY / "results"
    kept = Recorded.read("hmid_net-tuning", recorded_folder())
    assert kept.sample(1, 0, None) and not kept.void() and kept.seeds == 1


@pytest.mark.slow
def test_the_packaged_grids_have_the_settings_of_the_recorded_rows() -> None:
    folder = recorded_folder()
    tables = [Recorded.read(name, folder) for name in recorded_names(folder)]
    other = {one.name for one in tables if any("other settings" in why for why in one.cannot_run.values())}
    assert other == {"hmid_net-scenes6000"}  # its grid draws 24,000 scenes now


def test_noise_is_what_rows_and_draws_do_not_explain() -> None:
    rows = {"a": {0: 0.1, 1: 0.3, 2: 0.2}, "b": {0: 0.5, 1: 0.7, 2: 0.6}}
    assert Noise.of(rows) == Noise(pytest.approx(0.0), 2)  # both rows move alike with the draw
    rows["b"] = {0: 0.5, 1: 0.6, 2: 0.7}
    found = Noise.of(rows)  # deviations -.1 +.1 0 and -.1 0 +.1: means of the draws -.1 .05 .05
    assert found.freedom == 2 and found.sd == pytest.approx((4 * 0.05**2 / 2) ** 0.5)
    assert found.reach(1) == pytest.approx(4.302653 * 2**0.5 * found.sd)  # t of 2 degrees of freedom
    assert found.reach(2) > found.reach(1)
    assert Noise.of({"a": {0: 0.1}, "b": {0: 0.5}}).freedom == 0
    assert Noise.of({"a": {0: 0.1, 1: 0.3}}) == Noise(pytest.approx(0.02**0.5), 1)


def test_verdicts() -> None:
    recorded = table(
        *(row(name, seed, 0.5 + 0.01 * (seed == len(name))) for name in ("a", "bb") for seed in (0, 1, 2))
    )
    ours = {"a-s0": row(value=0.5), "a-s1": row(seed=1, value=0.515), "bb-s0": row("bb", value=0.9)}
    compared, _ = compare_rows(recorded, ours)
    assert [one.verdict for one in compared] == ["same", "within the noise", "differs"]
    alone, _ = compare_rows(table(row()), {"a-s0": row(value=0.6)})
    assert [one.verdict for one in alone] == ["one run only"] and alone[0].reach is None


def test_a_change_of_protocol_data_or_metric_voids_a_row(
    tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Recorded.read("soda-pixels", REPOSITORY / "results")
    result = next(iter(recorded.rows.values()))
    assert void_reasons(result) == []
    changed = result.model_copy(update={"protocol_hash": "f" * 64})
    assert "protocol mirflickr15k/dcmh has changed (ffffffff in the row" in void_reasons(changed)[0]
    pairs = Pairs.open(place / "pairs")
    assert "data set pairs has changed" in void_reasons(result, pairs)[0]
    monkeypatch.setattr(validity, "metric_version", lambda task: "later")
    assert "the code of the metrics of hashing has changed" in void_reasons(result)[0]


def test_another_rule_of_the_chains_voids_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Recorded.read("hyperbolic-flickr8k", REPOSITORY / "results").rows["meru-s0"]
    assert kept.settings["chains"]["source"] == "rule" and not void_reasons(kept)
    monkeypatch.setattr(caption_chains, "RULE", "another rule")
    assert "the rule of the chains of texts has changed" in void_reasons(kept)[0]


def test_the_version_of_the_metrics_follows_what_they_give(monkeypatch: pytest.MonkeyPatch) -> None:
    # A failure here says that a change of code changed figures, so that recorded rows are void. Then leave
    # FIRST_METRICS as it is, and compare with the new version here.
    assert {task: metric_version(task) for task in FIRST_METRICS} == FIRST_METRICS
    metric_version.cache_clear()
    scores = Scores(metrics={"i2t": {"r@1": 0.25}})
    monkeypatch.setattr(validity, "score_retrieval", lambda *sides: scores)
    assert metric_version("retrieval") != FIRST_METRICS["retrieval"]
    metric_version.cache_clear()


def test_results_of_two_versions_are_not_compared() -> None:
    one, other = row(), row(settings={"label": "b", "metric_version": "later"})
    with raises_code("E-RESULT-OTHER", "another version of the metrics"):
        same_protocol([one, other])


def hamming(**changes: Any) -> dict[str, Any]:
    return {
        "algorithm": "limbeck scan", "library": "limbeck", "version": "0.1", "dataset": "random-64-500",
        "setting": {}, "count": 10, "recall": 1.0, "queries": 200, "qps": 100.0,
    } | changes  # fmt: skip


def test_rows_of_the_hamming_benchmark_are_drawn_and_judged(tmp_path: Path) -> None:
    rows = [hamming(), hamming(algorithm="faiss ivf"), hamming(dataset="photos-64-500")]
    assert benchmark.sample(rows, None, 0, None) == [
        ("faiss ivf", "random-64-500"),
        ("limbeck scan", "random-64-500"),
    ]
    assert len(benchmark.sample(rows, 1, 0, None)) == 1
    features = tmp_path / "photos.npy"
    with raises_code("E-PATH-MISSING", "photos.npy"):
        benchmark.sample(rows, None, 0, features)
    features.touch()
    assert len(benchmark.sample(rows, None, 0, features)) == 3
    assert benchmark.sample(rows, None, 0, None, "faiss*") == [("faiss ivf", "random-64-500")]
    with raises_code("E-RESULT-MISSING", "give --data FEATURES.npy"):
        benchmark.sample(rows[2:], None, 0, None)
    found = benchmark._compared(hamming(recall=0.99, qps=50.0), [hamming()])
    assert [one.verdict for one in found] == ["differs", "one run only"]  # exact search has no noise
    assert benchmark._compared(hamming(recall=0.91), [hamming(recall=0.9)])[0].verdict == "within the noise"
    assert isinstance(found[0], Compared) and benchmark._compared(hamming(count=5), [hamming()]) == []


def test_a_failed_row_of_the_benchmark_does_not_end_the_others(tmp_path: Path) -> None:
    places = [("no such", "random-64-500"), ("neither", "random-64-500")]
    compared, failed = benchmark.repeat(REPOSITORY / "results", places, tmp_path, None, lambda line: None)
    assert compared == [] and list(failed) == ["no such on random-64-500", "neither on random-64-500"]


def test_a_new_row_replaces_one_drawn_row_at_most() -> None:
    names = [f"a-s{seed}" for seed in range(20)]
    before = drawn(names, 5, 3)
    assert len(before) == 5 and before == sorted(before) == drawn(names[::-1], 5, 3)
    assert all(len(set(before) - set(drawn([*names, f"b-s{n}"], 5, 3))) <= 1 for n in range(20))
    assert drawn(names, 5, 4) != before and drawn(names, 50, 3) == sorted(names)
    assert drawn(names, None, 0, "*-s1,*-s2") == ["a-s1", "a-s2"] and len(drawn(names, 1, 0, "*-s1?")) == 1
    with raises_code("E-GRID-ROW", "c*", "a-s0"):
        drawn(names, None, 0, "c*")


def test_the_recorded_row_of_the_same_version_is_compared() -> None:
    rows = [hamming(version="2", qps=20.0), hamming(version="1", qps=10.0)]
    assert benchmark._compared(hamming(version="2"), rows)[1].recorded == 20
    assert benchmark._compared(hamming(version="3"), rows)[1].recorded == 10  # the last one
