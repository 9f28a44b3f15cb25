"""An option given twice, or by a former name, is an error of usage in every verb."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "words",
    [
        ["data", "import", "folder", "a", "b", "--labels-column", "x", "--labels-column", "y"],
        ["search", "i", "words", "-k", 3, "-k", 4],
        ["index", "build", "a", "--out", "x", "--out", "y"],
        ["encode", "m", "s", "--out", "x", "--types", "a=int", "--types", "b=int"],
    ],
)
def test_an_option_given_twice(run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, said = run(*words)
    assert status == 2 and "is given 2 times" in said and not list(tmp_path.iterdir())


def test_options_that_take_several_may_repeat(run, tmp_path):
    words = ["--features", f"a={tmp_path}/a.npy", "--features", f"b={tmp_path}/b.npy"]
    status, _, said = run("data", "import", "folder", tmp_path / "none", tmp_path / "out", *words)
    assert status == 1 and "no such file or folder to import from" in said


def test_a_renamed_option_names_the_current_one(run, tmp_path):
    status, _, said = run("evaluate", tmp_path, "--like", "qinlab")
    assert status == 2 and "--like is now named --metric-preset; rename it" in said
