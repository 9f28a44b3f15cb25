"""The demo at its smallest: the whole chain, a self-contained report, and commands that work as printed."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from limbeck.cli import main
from limbeck.demo import chain
from limbeck.demo.clock import Clock
from limbeck.errors import LimbeckError
from limbeck.files import read_json


def limbeck(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["limbeck", *arguments])
    with pytest.raises(SystemExit) as done:
        main()
    return int(done.value.code or 0)


@pytest.mark.slow
def test_the_whole_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'report' is not installed")
    tiny = chain.Size(120, teacher_seconds=0.1, students_seconds=0.1, epochs=(1, 1), steps=20, bits=(16, 64))
    monkeypatch.setattr(chain, "QUICK", tiny)
    monkeypatch.chdir(tmp_path)
    assert limbeck(monkeypatch, "demo", "--quick", "--out", "demo") == 0
    out, err = capsys.readouterr()
    assert re.search(r"\[1/6\] draw 120 scenes  \(about .* left\)", err)
    report = (tmp_path / "demo/report.html").read_text()
    assert report.count("data:image/") >= 10
    assert not re.findall(r'(?:src|href)="(?!data:|#|https?://[^"]*arxiv)[^"]+"', report)
    results = read_json(tmp_path / "demo/results.json")
    assert {r["bits"] for r in results} >= set(tiny.bits)
    compared = {r["settings"]["label"]: r["space"]["name"] for r in results if r["task"] == "retrieval"}
    assert compared == {
        "teacher": "lorentz", "CLIP": "sphere", "MERU": "lorentz", "HMID-Net": "lorentz", "SODA": "hamming",
    }  # fmt: skip
    for label in compared:
        assert re.search(rf"^{label} .*\d", out, re.M), label  # in a terminal of 80 columns
    for section in ("overview", "searches", "ways", "disk", "radii", "scores", "learning"):
        assert f'id="{section}"' in report, section
    commands = [line.strip() for line in out.splitlines() if line.strip().startswith("limbeck ")]
    assert len(commands) == 5
    for command in commands:
        assert limbeck(monkeypatch, *shlex.split(command)[1:]) == 0
    assert (tmp_path / "hits.png").is_file() and (tmp_path / "way.png").is_file()


def test_a_place_that_is_taken_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert limbeck(monkeypatch, "demo", "--out", str(tmp_path)) == 1
    err = capsys.readouterr().err
    assert err == f"limbeck: {tmp_path}: already exists; choose another --out or remove it [E-PATH-EXISTS]\n"
    with pytest.raises(LimbeckError):
        chain.run_demo(tmp_path)


def test_the_clock_counts_down(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock({"a": 60, "b": 120})
    with clock.step("a", "first"):
        pass
    with clock.step("b", "second"):
        pass
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] first  (about 3 min left)",
        "[2/2] second  (about 2 min left)",
    ]
    assert clock.spent.keys() == {"a", "b"}
