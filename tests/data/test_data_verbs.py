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


def verb(*arguments: object):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(data_app, [str(argument) for argument in arguments])


def failure(*arguments: object) -> str:
    result = verb(*arguments)
    assert isinstance(result.exception, LimbeckError), result.output
    return str(result.exception)


def test_scenes(tmp_path):
    result = verb("scenes", tmp_path / "s", "--n", 36, "--seed", 2, "--size", 32, "--baselines")
    assert result.exit_code == 0 and "36 scenes of 32 pixels, seed 2" in result.output
    assert "ridge from histogram: R@1" in result.output
    assert len(Pairs.open(tmp_path / "s")) == 36
    assert "already exists" in failure("scenes", tmp_path / "s", "--n", 36)
    assert verb("scenes", tmp_path / "s", "--n", 24, "--replace").exit_code == 0


def test_import_with_features(tmp_path):
    src = tmp_path / "src"
    src.mkdir()
    picture(0).save(src / "a.png")
    (src / "t.csv").write_text("pic,said\na.png,hello\n")
    np.save(tmp_path / "f.npy", np.array([[255]], np.uint8))
    (tmp_path / "names.txt").write_text("a.png\n")
    result = verb(
        *("import", "folder", src, tmp_path / "out", "--name", "mine", "--image-column", "pic"),
        *("--caption-column", "said", "--features", f"f={tmp_path / 'f.npy'}"),
        *("--feature-names", tmp_path / "names.txt", "--feature-scale", "6/255"),
    )
    assert result.exit_code == 0 and "mine: 1 pairs" in result.output
    pairs = Pairs.open(tmp_path / "out")
    assert pairs.captions == [["hello"]] and pairs.features("f")[0, 0] == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("words", "owners"),
    [
        (["folder", "--year", "2017"], "coco"),
        (["mirflickr", "--only=captions"], "coco"),
        (["flickr8k", "--concepts", "tc10"], "nuswide"),
        (["coco", "--annotations", "x"], "mirflickr"),
        (["folder", "--images", "x"], "flickr8k, karpathy, hierarcaps, coco, nuswide, iaprtc12, lists"),
    ],
)
def test_an_option_of_another_format_names_its_formats(run, tmp_path, words, owners):
    format, *option = words
    status, _, errors = run("data", "import", format, tmp_path, tmp_path / "out", *option)
    flag = option[0].partition("=")[0]
    assert status == 2 and f"{format} has no option {flag}; it is an option of {owners}\n" in errors


def test_every_format_has_a_line_of_help_and_few_options(run):
    status, text, _ = run("data", "import", "--help")
    formats = ("folder", "mirflickr", "flickr8k", "karpathy", "hierarcaps", "coco", "nuswide", "iaprtc12")
    formats += ("lists",)
    lines = {words[0]: len(words) for line in text.splitlines() if (words := line.split())}
    assert status == 0 and all(lines[name] > 5 for name in formats)
    options = {name: run("data", "import", name, "--help")[1].count("  --") for name in formats}
    assert options.pop("folder") == 19 and max(options.values()) <= 10


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
    assert verb(*arguments).exit_code == 2


def test_check_writes_json_and_fails_on_errors(pairs_dir, tmp_path):
    result = verb("check", pairs_dir, "--json", tmp_path / "r.json")
    assert result.exit_code == 0 and "share a label" in result.output
    assert json.loads((tmp_path / "r.json").read_text())["rows"] == 6
    (pairs_dir.parent / "media" / "p0.png").unlink()
    assert "1 kinds of errors" in failure("check", pairs_dir, "--json", tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["findings"][0]["items"][0]["id"] == "p0"
    assert "protocol 'nope' is unknown" in failure("check", pairs_dir, "--protocol", "nope")
    assert "not a pairs directory" in failure("check", tmp_path)


def test_the_data_package_needs_no_torch(pairs_dir):
    code = (
        "import sys; from limbeck.data.pairs import Pairs; from limbeck.data import check, prompts;"
        f"from limbeck.data.synthetic import generate; Pairs.open({str(pairs_dir)!r}).labels();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
