"""A log shows that a grid is alive: runs as they begin and end, how far they are; tables in one piece."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers_grid import tree

from limbeck.grid.heartbeat import Heartbeat, last_step

Run = Callable[..., tuple[int, str, str]]


def test_last_step(tmp_path: Path) -> None:
    assert last_step(tmp_path) == "no step logged yet"
    for stage, text in (("one", '{"step": 1200}\n'), ("two", '{"step": 10}\n{"step": 20}\n{"ste')):
        (tmp_path / "stages" / stage).mkdir(parents=True)
        (tmp_path / "stages" / stage / "metrics.jsonl").write_text(text)
    assert last_step(tmp_path) == "stage two, step 20"


def test_a_line_for_what_runs(tmp_path: Path) -> None:
    said: list[str] = []
    heartbeat = Heartbeat(said.append)
    heartbeat.begin("a-s0", tmp_path, "[1/2] a-s0: begins")
    heartbeat.begin("b-s0", tmp_path, "[2/2] b-s0: begins")
    heartbeat.end("a-s0")
    heartbeat.beat()
    assert said == [
        "[1/2] a-s0: begins",
        "[2/2] b-s0: begins",
        "b-s0: running for 0 min, no step logged yet",
    ]


def test_a_log_names_each_run_as_it_begins_and_wraps_no_table(
    tmp_path: Path, write: Callable[..., Path], limbeck: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = "a row with a name that is longer than all of the columns that a terminal has, in the table"
    rows: dict[str, Any] = {"direct": tree()["rows"]["direct"] | {"label": label, "tune": False}}
    file = write("log", rows=rows, prepare=None, tune=None, seeds=[0], base=None)
    status, said, err = limbeck("grid", file, "--out", tmp_path / "grid")
    assert (status, err) == (0, "")
    assert re.search(r"^\[1/1\] direct-s0: begins\n\[1/1\] direct-s0: i2t map", said, re.MULTILINE)
    assert len([line for line in said.splitlines() if line.strip().startswith(label)]) >= 1
    assert max(map(len, said.splitlines())) > 120
