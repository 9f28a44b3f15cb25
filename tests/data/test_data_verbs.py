from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from data_samples import picture
from typer.testing import CliRunner

from limbeck.cli.data import data_app
from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError


def run(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


def failure(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, LimbeckError), result.output
    return str(result.exception)


def test_scenes(tmp_path):
    result = run("scenes", tmp_path / "s", "--n", 36, "--seed", 2, "--size", 32, "--baselines")
    assert result.exit_code == 0 and "36 scenes of 32 pixels, seed 2" in result.output
    assert "ridge from histogram: R@1" in result.output
    assert len(Pairs.open(tmp_path / "s")) == 36
    assert "exists already" in failure("scenes", tmp_path / "s", "--n", 36)
    assert run("scenes", tmp_path / "s", "--n", 24, "--replace").exit_code == 0


def test_import_with_features(tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    picture(0).save(src / "a.png")
    (src / "t.csv").write_text("pic,said\na.png,hello\n")
    np.save(tmp_path / "f.npy", np.array([[255]], np.uint8))
    (tmp_path / "names.txt").write_text("a.png\n")
    result = run(
        *("import", "folder", src, tmp_path / "out", "--name", "mine", "--image-column", "pic"),
        *("--caption-column", "said", "--features", f"f={tmp_path / 'f.npy'}"),
        *("--feature-names", tmp_path / "names.txt", "--feature-scale", "6/255"),
    )
    assert result.exit_code == 0 and "mine: 1 pairs" in result.output
    pairs = Pairs.open(tmp_path / "out")
    assert pairs.captions == [["hello"]] and pairs.features("f")[0, 0] == pytest.approx(6.0)


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "nope", ".", "out"),
        ("import", "folder", ".", "out", "--features", "f.npy"),
        ("import", "folder", ".", "out", "--feature-scale", "six"),
        ("import", "folder", ".", "out", "--feature-scale", "6/0"),
        ("scenes", "out", "--n", "many"),
        ("check",),
    ],
)
def test_wrong_usage_ends_with_status_2(arguments):
    assert run(*arguments).exit_code == 2


def test_check_writes_json_and_fails_on_errors(pairs_dir, tmp_path):
    result = run("check", pairs_dir, "--json", tmp_path / "r.json")
    assert result.exit_code == 0 and "share a label" in result.output
    assert json.loads((tmp_path / "r.json").read_text())["rows"] == 6
    (pairs_dir.parent / "media" / "p0.png").unlink()
    assert "1 kinds of errors" in failure("check", pairs_dir, "--json", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["findings"][0]["items"][0]["id"] == "p0"
    assert "unknown protocol" in failure("check", pairs_dir, "--protocol", "nope")
    assert "not a pairs directory" in failure("check", tmp_path)


def test_the_data_package_needs_no_torch(pairs_dir):
    code = (
        "import sys; from limbeck.data.pairs import Pairs; from limbeck.data import check, prompts;"
        f"from limbeck.data.synthetic import generate; Pairs.open({str(pairs_dir)!r}).labels();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
