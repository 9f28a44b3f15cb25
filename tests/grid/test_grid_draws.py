"""`limbeck grid` with a protocol for each seed, and rows that are also measured by their first bits."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from limbeck.evaluation.results import Result
from limbeck.grid import read_grid
from limbeck.grid.tasks import expand

Run = Callable[..., tuple[int, str, str]]
Write = Callable[..., Path]


@pytest.fixture(scope="module")
def drawn(place: Path) -> str:
    """A protocol with a rule, beside the data set."""
    content = yaml.safe_load((place / "hashing.yaml").read_text())
    rule = {"draw": {"seed": 5, "query": 10, "train": 40}}
    file = place / "drawn.yaml"
    file.write_text(yaml.safe_dump(content | {"name": "tiny/drawn", "splits": rule}))
    return str(file)


def plan(drawn: str, **changes: Any) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "direct": {"recipe": "direct.yaml", "set": {"lift.bits": 16}, "bits": [8]},
        "short": {"recipe": "direct.yaml", "set": {"lift.bits": 8}, "tune": False},
    }
    return {
        "protocols": [drawn, f"{drawn}@1"],
        "prepare": {},
        "rows": rows,
        "base": "short",
        "tune": {"trials": 2, "search": {"optim.lr": [1e-2]}},
    } | changes


def test_each_seed_has_its_draw_and_the_table_pools_them(
    tmp_path: Path, write: Write, limbeck: Run, drawn: str
) -> None:
    out, file = tmp_path / "grid", write("draws", **plan(drawn))
    status, said, err = limbeck("grid", file, "--out", out)
    assert (status, err) == (0, "")
    rows = {found.stem: Result.load(found) for found in (out / "rows").glob("*.json")}
    assert {name: (row.protocol, row.seed, row.bits) for name, row in rows.items()} == {
        f"{name}-s{seed}{tail}": (f"tiny/drawn{'@1' * seed}", seed, bits)
        for seed in (0, 1)
        for name, tail, bits in (("direct", "", 16), ("direct", "-8bits", 8), ("short", "", 8))
    }
    assert {row.label for row in rows.values()} == {"direct", "short"}
    assert len({row.pool for row in rows.values()}) == 1
    assert "tiny/drawn, @1" in said and "minus short" in said
    status, said, _ = limbeck("grid", file, "--out", out)
    assert "4 of 4 tasks are done and kept" in said  # what is done is not trained for
    (out / "rows/direct-s1-8bits.json").unlink()
    (out / "rows/direct-s0.json").unlink()
    before = (out / "direct-s1/stages/direct/done.json").stat().st_mtime_ns
    assert limbeck("grid", file, "--out", out)[0] == 0
    assert {found.stem for found in (out / "rows").glob("*.json")} == set(rows)
    assert (out / "direct-s1/stages/direct/done.json").stat().st_mtime_ns == before


def test_trials_and_prepared_runs_follow_the_draws(write: Write, drawn: str) -> None:
    teacher = {"teacher": {"recipe": "teacher.yaml", "seeds": "each"}}
    taught = {"recipe": "soda.yaml", "set": {"stages.student.init": {"image": "$teacher"}}}
    tune = {"trials": 2, "seed": 1, "search": {"optim.lr": [1e-2]}}
    rows = {"taught": taught | {"tune": False}, "direct": {"recipe": "direct.yaml"}}
    file = write("follow", **plan(drawn, prepare=teacher, rows=rows, base=None, tune=tune))
    asked = {task.name: task.resolved(Path("/out")).data.protocol for task in expand(read_grid(file))}
    fixed, one = drawn, f"{drawn}@1"
    assert {name: asked[name] for name in ("teacher-s0", "teacher-s1", "taught-s1")} == {
        "teacher-s0": fixed,
        "teacher-s1": one,
        "taught-s1": one,
    }
    assert asked["tune/direct-t0"] == asked["tune/direct-t1"] == one


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("another number", {"protocols": ["a"]}, "protocols: names 1 for 2 seeds; name one per seed"),
    ("two ways", {"data": {"protocol": "a"}}, "replaces data.protocol; remove one"),
    ("one run for all", {"prepare": {"teacher": {"recipe": "teacher.yaml"}}}, "set seeds: each"),
    (
        "tuned at no place",
        {"tune": {"trials": 2, "at": {"lift.bit": 8}}},
        "tune.at: product has no key 'lift.bit'",
    ),
    ("tuned on no draw", {"tune": {"trials": 2, "seed": 7}}, "tune.seed: there is no protocol for seed 7"),
    (
        "a row's own seed",
        {"rows": {"short": {"recipe": "direct.yaml", "seeds": [4]}}},
        r"rows.short.seeds: there is no protocol for seed 4; choose from \[0, 1\]",
    ),
]


@pytest.mark.parametrize(("changes", "said"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_draws_that_do_not_fit(
    write: Write, limbeck: Run, drawn: str, changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    status, _, err = limbeck("grid", write("bad-draws", **plan(drawn) | changes), "--out", tmp_path / "o")
    assert (status, err.count("\n")) == (1, 1)
    assert re.search(said, err), err


def test_trials_stand_where_at_says_and_a_row_of_its_own_places_where_it_has_them(
    write: Write, drawn: str
) -> None:
    rows = {"direct": {"recipe": "direct.yaml"}, "alone": {"recipe": "direct.yaml", "product": {}}}
    tune = {"trials": 2, "at": {"lift.bits": 16}, "search": {"optim.lr": [1e-2]}}
    plan_ = plan(drawn, rows=rows, base=None, tune=tune)
    places = {
        t.name: t.product for t in expand(read_grid(write("at", **plan_, product={"lift.bits": [8, 16]})))
    }
    assert places["tune/direct-t1"] == {"lift.bits": 16}
    assert places["tune/alone-t1"] == {}


def test_codes_without_steps_are_tuned_by_a_look_at_the_end(
    place: Path, tmp_path: Path, write: Write, limbeck: Run
) -> None:
    """ITQ takes no steps: what lies before it is chosen by the validation score of its codes."""
    whole = yaml.safe_load((place / "direct.yaml").read_text())
    towers = {m: {"backbone": {"kind": "run", "path": "clip"}, "hidden": []} for m in ("image", "text")}
    codes = {
        "method": {"name": "binarize"},
        "towers": towers,
        "lift": {"kind": "binary", "bits": 8},
        "schedule": {"steps": 0},
    }
    stages = {"clip": {"method": {"name": "clip"}}, "codes": codes}
    recipe = whole | {"name": "tiny/itq", "lift": {"kind": "sphere", "dim": 16}, "stages": stages}
    tune = {"trials": 2, "search": {"stages.clip.optim.lr": [1e-3]}}
    file = write("itq", prepare={}, rows={"itq": {"recipe": recipe}}, base=None, tune=tune, seeds=[0])
    status, _, err = limbeck("grid", file, "--out", tmp_path / "grid")
    assert (status, err) == (0, "")
    log = json.loads((tmp_path / "grid/rows/tune/itq.json").read_text())
    assert all(0 < trial["score"] <= 1 for trial in log["trials"])
    done = json.loads((tmp_path / "grid/itq-s0/stages/codes/done.json").read_text())
    assert (done["steps"], done["best_step"]) == (0, 0)
