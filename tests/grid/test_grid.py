"""`limbeck grid` as a user sees it: rows, what is kept, stopped and resumed, failures, refusals."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_grid import tree

from limbeck.evaluation.results import Result
from limbeck.grid.plan import Between
from limbeck.grid.tasks import expand
from limbeck.training import fit
from tiny import write_pairs

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]
ROWS = ["direct-s0", "direct-s1", "taught-s0", "taught-s1"]


def rows_of(folder: Path) -> dict[str, Any]:
    """What the rows say, but for times and places."""
    found = {file.stem: json.loads(file.read_text()) for file in sorted((folder / "rows").glob("*.json"))}
    for row in found.values():
        for key in ("seconds", "created", "run", "efficiency", "progress"):
            row.pop(key, None)
        # Folders of other runs are named in the settings.
        row["settings"]["grid"].pop("set")
    return found


@pytest.fixture(scope="module")
def whole(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The grid, never stopped."""
    import yaml
    from typer.testing import CliRunner

    from limbeck.cli.app import app

    file, out = place / "whole.yaml", tmp_path_factory.mktemp("out") / "grid"
    file.write_text(yaml.safe_dump(tree(), sort_keys=False))
    done = CliRunner().invoke(app, ["grid", str(file), "--out", str(out)])
    (out.parent / "said.txt").write_text(done.stdout)
    (out.parent / "errors.txt").write_text(done.stderr)
    assert done.exit_code == 1, done.stderr
    return out


def test_without_pandas_a_grid_stops_before_its_first_run(
    run: Run, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its table at the end needs pandas."""
    monkeypatch.setitem(sys.modules, "pandas", None)
    status, said, errors = run("grid", write("unstarted"), "--out", tmp_path / "grid")
    assert (status, said) == (1, "")
    assert "pandas is not installed; type: pip install 'limbeck[report]'" in errors
    assert not list((tmp_path / "grid").glob("**/result*.json"))


def test_rows_table_failures_and_estimates(whole: Path) -> None:
    said, errors = ((whole.parent / name).read_text() for name in ("said.txt", "errors.txt"))
    assert list(rows_of(whole)) == ROWS
    assert re.search(r"^\[9/9\] .* elapsed\)$", said, re.MULTILINE)
    assert re.search(r"^\[3/9\] .*; .* elapsed, about .* left\)$", said, re.MULTILINE)
    assert "minus direct, tiny/hashing" in said
    assert (
        f"4 rows in {whole / 'rows'}; show the table again: limbeck compare {whole / 'rows'} --base direct\n"
        in said
    )
    assert errors.count("\n") == 1
    assert errors.startswith("limbeck: broken-s0: ")
    row = Result.load(whole / "rows/taught-s1.json")
    assert row.run == "taught-s1" and str(whole) not in (whole / "rows/taught-s1.json").read_text()
    assert (row.label, row.seed, row.per_query) == ("taught", 1, {})
    assert row.seconds["train"] > 0
    about = row.settings["grid"]
    assert (about["name"], about["row"], len(about["hash"])) == ("tiny/grid", "taught", 64)
    assert Result.load(whole / "taught-s1/result.json").per_query


def test_the_way_back_to_the_table_names_its_protocol() -> None:
    """Rows of further protocols lie in the same folder, and `limbeck compare` refuses a mixture."""
    from types import SimpleNamespace
    from typing import cast

    from limbeck.cli.grid import comparison_arguments

    def told(*protocols: str, base: str | None = "A b", further: bool = True) -> str:
        rows = cast("list[Result]", [SimpleNamespace(label="A b", protocol=name) for name in protocols])
        return comparison_arguments(rows, base, further=further)

    assert told("s/test", "s/test") == " --base 'A b' --protocol s/test"
    assert told("s/test", base="left out") == " --protocol s/test"
    assert told("m/dcmh", "m/dcmh@1", base=None) == " --protocol 'm/dcmh*'"
    assert told("m/dcmh", "m/dcmh@1", base=None, further=False) == ""


def test_prepared_runs_and_tuning(whole: Path) -> None:
    recipe = (whole / "taught-s1/recipe.yaml").read_text()
    assert str(whole / "teacher-s1") in recipe
    log = json.loads((whole / "rows/tune/direct.json").read_text())
    assert log["trials"][0]["settings"] == {}
    scores = [trial["score"] for trial in log["trials"]]
    assert log["chosen"] == scores.index(max(scores))
    chosen = log["trials"][log["chosen"]]["settings"]
    row = Result.load(whole / "rows/direct-s0.json")
    assert row.settings["grid"]["tuned"] == chosen
    assert not (whole / "rows/tune/taught.json").exists()


def test_what_is_done_is_kept_even_without_its_runs(
    whole: Path, tmp_path: Path, write: Write, limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "grid"
    shutil.copytree(whole / "rows", out / "rows")
    monkeypatch.setattr("limbeck.grid.workers.perform", lambda *_: pytest.fail("nothing is to do"))
    status, said, err = limbeck("grid", write("kept"), "--out", out, "--only", "taught,direct*")
    assert (status, err) == (0, "")
    assert "4 of 4 tasks are done and kept" in said
    assert "minus direct" in said


def test_a_lost_row_comes_back_from_its_run(whole: Path, write: Write, limbeck: Run) -> None:
    before = rows_of(whole)
    (whole / "rows/direct-s1.json").unlink()
    status, said, _ = limbeck("grid", write("back"), "--out", whole, "--only", "direct-s1", "--dry-run")
    assert (status, said.split()) == (0, ["done", "row", "direct-s1"])
    assert rows_of(whole) == before


@pytest.mark.parametrize(("number", "call"), [(signal.SIGINT, 4), (signal.SIGTERM, 15)])
def test_stopped_and_resumed_ends_with_the_same_rows(
    tmp_path: Path,
    whole: Path,
    write: Write,
    limbeck: Run,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    call: int,
) -> None:
    """In the teacher, then in a row's second stage."""
    out, calls, original = tmp_path / "grid", 0, fit.forward_backward

    def counted(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(number)
        return original(*given)

    file = write(f"stopped-{number}")
    with monkeypatch.context() as patch:
        patch.setattr(fit, "forward_backward", counted)
        status, _, err = limbeck("grid", file, "--out", out, "--only", "taught-s0")
    assert (status, err.count("\n")) == (130, 1)
    assert "resume with: limbeck grid" in err
    assert calls == call
    _, said, _ = limbeck("grid", file, "--out", out, "--only", "taught-s0", "--dry-run")
    assert "to resume" in said
    assert limbeck("grid", file, "--out", out, "--only", "taught-s0")[0] == 0
    assert calls == call
    assert rows_of(out)["taught-s0"] == rows_of(whole)["taught-s0"]


@pytest.mark.slow
def test_side_by_side_gives_the_same_rows(tmp_path: Path, whole: Path, write: Write, limbeck: Run) -> None:
    out = tmp_path / "grid"
    status, said, err = limbeck("grid", write("side"), "--out", out, "--jobs", "2")
    assert (status, err.count("\n")) == (1, 1)
    assert "[9/9]" in said
    assert rows_of(out) == rows_of(whole)


def test_rows_of_another_data_set_are_refused(
    tmp_path: Path, whole: Path, place: Path, write: Write, limbeck: Run
) -> None:
    out, other = shutil.copytree(whole, tmp_path / "grid"), write_pairs(tmp_path / "other", rows=60)
    call = ("grid", write("other"), "--only", "taught-s0", "--data", other)
    status, _, err = limbeck(*call, "--out", out)
    assert status == 1
    assert "taught-s0.json: row 'taught' is of another data set" in err and "--rows" in err
    (out / "rows/taught-s0.json").unlink()
    assert "is of another data set" in limbeck(*call, "--out", out)[2]  # the run itself, too
    status, said, _ = limbeck(*call, "--out", tmp_path / "new", "--rows", out / "mine", "--dry-run")
    assert status == 0 and "to do" in said
    status, said, _ = limbeck("grid", write("other"), "--only", "taught-s1", "--out", out, "--dry-run")
    assert "done" in said


def test_what_needs_a_failed_run_fails_with_it(tmp_path: Path, write: Write, limbeck: Run) -> None:
    teacher = {"recipe": "teacher.yaml", "set": {"data.protocol": "mirflickr15k/dcmh"}}
    rows = {"taught": tree()["rows"]["taught"]}
    file = write("needs", prepare={"teacher": teacher}, rows=rows, seeds=[0], base=None)
    status, _, err = limbeck("grid", file, "--out", tmp_path / "grid")
    assert status == 1
    assert "limbeck: taught-s0: needs teacher, which failed\n" in err
    assert err.count("\n") == 2


def test_an_unforeseen_error_is_logged(
    tmp_path: Path, write: Write, limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory\nin detail")

    monkeypatch.setattr("limbeck.training.train", broken)
    rows = {"direct": {"recipe": "direct.yaml"}}
    file = write("unforeseen", rows=rows, tune=None, seeds=[0])
    status, _, err = limbeck("grid", file, "--out", tmp_path / "grid")
    assert status == 1
    assert err.startswith("limbeck: direct-s0: RuntimeError: out of memory (see ")
    assert "in detail" in (tmp_path / "grid/logs/direct-s0.log").read_text()


@pytest.mark.parametrize("key", ["data", "protocols", "extra_protocols"])
def test_a_missing_protocol_is_said_before_anything_is_compared(
    tmp_path: Path, write: Write, limbeck: Run, whole: Path, key: str
) -> None:
    value = {
        "data": {"protocol": "gone.yaml"},
        "protocols": ["gone.yaml"] * 2,
        "extra_protocols": ["gone.yaml"],
    }[key]
    file = write(f"gone-{key}", **{key: value})
    for more in ([], ["--dry-run"]):
        status, out, err = limbeck("grid", file, "--out", whole, "--only", "taught", *more)
        assert (status, out, err.count("\n")) == (1, "", 1)
        assert "gone.yaml: there is no such protocol file; give its path" in err


def test_a_protocol_in_a_relative_file_is_the_same_the_next_time(
    tmp_path: Path, place: Path, write: Write, limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run notes where the file lies; what counts is what it says."""
    monkeypatch.chdir(place)
    data = {"protocol": "hashing.yaml"}
    rows = {"taught": tree()["rows"]["taught"]}
    file = write("relative", data=data, rows=rows, seeds=[0], base=None)
    assert limbeck("grid", file, "--out", tmp_path / "grid")[0] == 0
    call = ("grid", file, "--out", tmp_path / "grid", "--dry-run")
    for folder in (tmp_path, place):  # in the first it is found beside the grid file
        monkeypatch.chdir(folder)
        assert limbeck(*call)[1].split() == ["done", "row", "taught-s0"]
    for name in ("rows/taught-s0.json", "taught-s0/result.json", "taught-s0/run.json"):
        (tmp_path / "grid" / name).unlink()
    status, said, err = limbeck(*call)
    assert (status, err) == (0, "")
    assert "to resume  row      taught-s0" in said
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hashing.yaml").write_text((place / "hashing.yaml").read_text().replace("size: 8", "size: 9"))
    status, _, err = limbeck("grid", file, "--out", tmp_path / "grid", "--dry-run")
    assert status == 1
    assert "has other settings than row 'taught' of the grid file (data.protocol" in err


def test_over_multiplies_rows_and_refers_to_the_same_place(place: Path, write: Write) -> None:
    from limbeck.grid import read_grid

    rows: dict[str, Any] = {
        "direct": {"recipe": "direct.yaml"},
        "after": {"recipe": "direct.yaml", "set": {"stages.direct.init": {"image": "$direct"}}},
        "alone": {"recipe": "direct.yaml", "product": {}, "seeds": [3]},
    }
    product = {"lift.bits": [8, 16], "towers.image.dropout": [0.0, 0.5]}
    tasks = expand(
        read_grid(write("over", rows=rows, product=product, tune=None, prepare=None, seeds=[0, 1]))
    )
    assert len(tasks) == 17
    named = {task.name: task for task in tasks}
    assert named["after-16-0.5-s1"].refers["direct"].name == "direct-16-0.5-s1"
    assert named["after-16-0.5-s1"].label == "after 0.5"
    recipe = named["after-16-0.5-s1"].resolved(Path("/out"))
    assert recipe.last.init == {"image": "/out/direct-16-0.5-s1"}
    assert named["alone-s3"].product == {}
    assert len({task.own_hashes for task in tasks}) == 17
    moved = [task.resolved(Path("/elsewhere")) for task in tasks]
    assert len({task.own_hashes for task in tasks}) == len(moved)


def test_trials_are_spread_equal_in_number_and_the_same_each_time(write: Write) -> None:
    from limbeck.grid import read_grid

    rows = {name: {"recipe": "direct.yaml"} for name in ("one", "two")}
    search = {"optim.lr": {"low": 1e-4, "high": 1, "log": True}, "lift.theta": [1.0, 2.0]}
    plan = read_grid(write("spread", rows=rows, base=None, tune={"trials": 9, "search": search}))
    first, again = ([t for t in expand(plan) if t.kind == "trial"] for _ in range(2))
    assert [t.settings for t in first] == [t.settings for t in again]
    for row in rows:
        own = [t.searched for t in first if t.entry == row]
        assert len(own) == 9
        assert own[0] == {}
        assert [s["lift.theta"] for s in own[1:]].count(1.0) == 4
        lrs = sorted(s["optim.lr"] for s in own[1:])
        edges = [Between(low=1e-4, high=1, log=True).at(i / 8) for i in range(9)]
        assert all(low <= lr <= high for low, lr, high in zip(edges, lrs, edges[1:], strict=False))


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("an unknown key", {"seed": [1]}, "key 'seed' is unknown; did you mean 'seeds'?"),
    (
        "an unknown key of a row",
        {"rows": {"a": {"recipe": "direct.yaml", "sets": {}}}},
        "did you mean 'set'?",
    ),
    ("an unknown recipe", {"rows": {"a": {"recipe": "soda/mirflick"}}}, "did you mean 'soda/mirflickr'?"),
    ("a renamed key", {"over": {"lift.bits": [8]}}, "key 'over' is now named 'product'; rename it"),
    (
        "a renamed key of a row",
        {"rows": {"a": {"recipe": "direct.yaml", "over": {}}}},
        "key 'rows.a.over' is now named 'product'; rename it",
    ),
    ("another renamed key", {"also": ["p"]}, "key 'also' is now named 'extra_protocols'; rename it"),
    (
        "an unknown key of a recipe",
        {"shared": {"optim.lrr": 1}},
        "direct: recipe: key .* is unknown|did you mean 'lr'",
    ),
    (
        "no such prepared run",
        {"prepare": {}},
        r"taught: \$teacher: no run above it in the file has this name",
    ),
    ("a row of a prepared run's name", {"prepare": {"direct": {"recipe": "teacher.yaml"}}}, "rename one"),
    ("a seed twice", {"seeds": [1, 1]}, "one appears twice"),
    ("no rows", {"rows": {}}, "rows"),
    ("a reserved name", {"rows": {"tune": {"recipe": "direct.yaml"}}}, "is not a valid name"),
    ("an unknown base", {"base": "soda"}, "base: there is no row 'soda'; choose from broken, direct, taught"),
    ("nothing to search", {"tune": {"trials": 2}}, "tune: nothing is searched"),
    ("a range upside down", {"tune": {"trials": 2, "search": {"a": {"low": 2, "high": 1}}}}, "low < high"),
    (
        "colliding names",
        {"rows": {"a": {"recipe": "direct.yaml", "product": {"lift.bits": [8, 8]}}}},
        "two runs",
    ),
]


@pytest.mark.parametrize(("changes", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_files_are_one_line_and_leave_nothing(
    tmp_path: Path, write: Write, limbeck: Run, changes: dict[str, Any], said: str
) -> None:
    plain = {"base": None} if "rows" in changes else {}
    status, out, err = limbeck("grid", write("bad", **plain | changes), "--out", tmp_path / "grid")
    assert (status, out, err.count("\n")) == (1, "", 1)
    assert re.search(said, err), err
    assert not (tmp_path / "grid").exists()


def test_a_key_twice_no_file_and_no_match(tmp_path: Path, write: Write, limbeck: Run) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text("name: a\nrows:\n  x: {recipe: r}\n  x: {recipe: q}\n")
    status, _, err = limbeck("grid", file)
    assert (status, err) == (
        1,
        f"limbeck: {file}: line 4: 'x' is repeated; rename or remove one [E-YAML-SYNTAX]\n",
    )
    status, _, err = limbeck("grid", "no/such")
    assert (status, err.count("\n")) == (1, 1)
    assert "no such grid file" in err
    status, _, err = limbeck("grid", write("match"), "--only", "nobody", "--out", tmp_path / "o")
    assert status == 1
    assert "--only nobody: matches no row; choose from taught, direct, broken" in err


def test_changed_settings_are_refused(whole: Path, tmp_path: Path, write: Write, limbeck: Run) -> None:
    file = write("changed", shared={"towers.image.dropout": 0.1})
    status, _, err = limbeck("grid", file, "--out", whole, "--only", "taught")
    assert (status, err.count("\n")) == (1, 1)
    assert "taught-s0.json: row 'taught' was made with other settings" in err
    status, _, err = limbeck("grid", file, "--out", whole, "--only", "direct")
    assert "direct.json: trial 0 was made with other settings" in err
    rows = tmp_path / "rows"
    status, _, err = limbeck(
        "grid", write("moved", shared={"towers.image.dropout": 0.1}, rows_to=str(rows)),
        "--out", whole, "--only", "taught-s0",
    )  # fmt: skip
    assert (status, err.count("\n")) == (1, 1)
    assert (
        "taught-s0: its run has other settings than row 'taught' of the grid file "
        "(stages.teacher.towers.image.dropout)" in err
    )
    (tmp_path / "no/taught-s0").mkdir(parents=True)
    (tmp_path / "no/taught-s0/mine.txt").touch()
    status, _, err = limbeck("grid", write("plain"), "--out", tmp_path / "no", "--only", "taught-s0")
    assert (status, err.count("\n")) == (1, 1)
    assert "exists and is not a run" in err
