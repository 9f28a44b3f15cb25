"""Towers and lifts of one's own: trained and loaded by name, said before they run, never run unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck as package
from limbeck import plugins
from limbeck.evaluation import evaluate
from limbeck.files import read_json, sha256_file
from limbeck.training import train
from limbeck.training.recipe import load_recipe
from raising import raises_code
from tiny import soda_recipe, write_pairs, write_protocol, write_recipe

CODE = '''
from __future__ import annotations

from pathlib import Path

import torch
from pydantic import Field
from torch import nn

from limbeck.encoders.backbone import Backbone
from limbeck.encoders.config import Strict
from limbeck.encoders.lifts import Lift
from limbeck.encoders.lifts.base import linear_heads
from limbeck.spaces import Sphere

(Path(__file__).parent / "ran").touch()


class Letters(Backbone):
    """Counts of letters, by a linear map."""

    reads = "text"

    class Config(Strict):
        width: int = Field(default=6, ge=1)

    def __init__(self, config):
        super().__init__(config)
        self.dim = config.width
        self.map = nn.Linear(26, config.width)

    def collate(self, items, generators=None):
        counts = [[text.lower().count(chr(97 + i)) for i in range(26)] for text in items]
        return {"counts": torch.tensor(counts, dtype=torch.float32)}

    def forward(self, inputs):
        return self.map(inputs["counts"])


class Scaled(Lift):
    """Unit vectors, logits by a fixed scale."""

    class Config(Strict):
        dim: int = 8
        scale: float = 10.0

    def __init__(self, config, dims):
        super().__init__(config, dims)
        self.dim, self.space = config.dim, Sphere(config.dim)
        self.heads = linear_heads(dims, config.dim, bias=False)

    def forward(self, features, modality):
        return nn.functional.normalize(self.heads[modality](features).float(), dim=-1)

    def logits(self, a, b, logit_scale=None):
        return (self.config.scale if logit_scale is None else logit_scale) * (a @ b.T)

    def distance(self, a, b):
        return 1 - (a * b).sum(-1)


class Bare:
    """No tower."""


class NoConfig(Letters):
    Config = None
'''
TEXTS = ["cat and dog", "sky"]


@pytest.fixture(autouse=True)
def nobody_named_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "TRUSTED", {})
    monkeypatch.setattr(plugins, "MODULES", {})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(CODE)
    return tmp_path / "mine.py"


def recipe(file: Path, **changes: Any) -> dict[str, Any]:
    """One stage with a text tower and a lift of one's own."""
    place = file.parent
    pairs = place / "pairs" if (place / "pairs").is_dir() else write_pairs(place)
    tree = soda_recipe(pairs, write_protocol(place, "retrieval"), steps=4)
    tree["towers"]["text"] = {"backbone": {"kind": f"{file}:Letters", "width": 5}}
    tree["lift"] = {"kind": f"{file}:Scaled", "dim": 8}
    tree["stages"] = {"own": {"method": {"name": "clip"}}}
    return tree | changes


def forget(file: Path) -> None:
    """As in a process in which nobody has named the file yet."""
    plugins.TRUSTED.clear()
    plugins.MODULES.clear()
    (file.parent / "ran").unlink(missing_ok=True)


def test_they_train_and_come_back_when_they_are_named(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(recipe(file), out=tmp_path / "run", quiet=True)
    digest = sha256_file(file)
    assert f"limbeck: runs the code of {file} (SHA-256 {digest})\n" in capsys.readouterr().err
    stored = read_json(run / "model/model.json")
    text = stored["towers"]["text"]["config"]["backbone"]
    assert text == {"kind": f"{file}:Letters", "sha256": digest, "width": 5}
    assert stored["lift"]["config"] == {"kind": f"{file}:Scaled", "sha256": digest, "dim": 8}
    assert not list((run / "model").rglob("*.py"))
    assert {"t2i", "i2t"} <= set(evaluate(run, ceiling=False).metrics)
    wanted = package.load(run).encode_text(TEXTS)
    assert wanted.shape == (2, 8)

    forget(file)
    with raises_code("E-PLUGIN-TRUST", "mine.py", "--code"):
        package.load(run)
    assert not (tmp_path / "ran").exists()
    moved = tmp_path / "elsewhere" / "mine.py"
    moved.parent.mkdir()
    file.rename(moved)
    capsys.readouterr()
    np.testing.assert_array_equal(package.load(run, code=[moved]).encode_text(TEXTS), wanted)
    assert capsys.readouterr().err == f"limbeck: runs the code of {moved} (SHA-256 {digest})\n"


def test_a_changed_file_is_said(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(recipe(file), out=tmp_path / "run", quiet=True)
    before = sha256_file(file)
    forget(file)
    file.write_text(CODE + "# changed\n")
    capsys.readouterr()
    package.load(run, code=[file])
    told = capsys.readouterr().err
    assert f"differs from the file of the model's training (SHA-256 {sha256_file(file)[:16]}" in told
    assert f"then {before[:16]})" in told


def test_an_index_and_the_command_line_take_the_file(file: Path, tmp_path: Path, limbeck: Any) -> None:
    run = train(recipe(file), out=tmp_path / "run", quiet=True)
    forget(file)
    index = tmp_path / "index"
    build = ("index", "build", tmp_path / "pairs", "--model", run, "--out", index)
    code, _, err = limbeck(*build)
    assert (code, "limbeck --code mine.py" in err) == (1, True)
    assert not index.exists()
    assert limbeck("--code", file, *build)[0] == 0
    forget(file)
    code, _, err = limbeck("search", index, "cat")
    assert (code, "limbeck --code mine.py" in err) == (1, True)
    assert not (tmp_path / "ran").exists()
    assert limbeck("--code", file, "search", index, "cat")[0] == 0
    code, _, err = limbeck("--code", tmp_path / "gone.py", "search", index, "cat")
    assert (code, err) == (
        1,
        f"limbeck: {tmp_path / 'gone.py'}: there is no such file; name your class FILE.py:CLASS "
        "[E-PATH-MISSING]\n",
    )


def test_a_dry_run_says_what_it_runs(file: Path, tmp_path: Path, limbeck: Any) -> None:
    path = write_recipe(tmp_path / "r.yaml", recipe(file))
    code, out, err = limbeck("train", path, "--dry-run")
    assert code == 0
    assert "own: clip" in out
    assert err.count(f"runs the code of {file} (SHA-256 {sha256_file(file)})") == 1


def test_a_resumed_run_says_that_a_file_changed(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(recipe(file), out=tmp_path / "run", quiet=True)
    assert read_json(run / "code.json") == {str(file): sha256_file(file)}
    (run / "run.json").unlink()  # as if it had been stopped at the end
    train(recipe(file), out=run, resume=True, quiet=True)
    assert "changed since" not in capsys.readouterr().err
    before = sha256_file(file)
    file.write_text(CODE + "# changed\n")
    (run / "run.json").unlink()
    train(recipe(file), out=run, resume=True, quiet=True)
    told = capsys.readouterr().err
    assert f"{file}: changed since {run} began (SHA-256 {before[:16]}, now {sha256_file(file)[:16]})" in told
    assert read_json(run / "code.json") == {str(file): before}


@pytest.mark.parametrize(
    ("backbone", "told"),
    [
        ({"kind": "gone.py:Letters"}, ("E-PATH-MISSING", "stages.own.towers.text.backbone", "gone.py")),
        ({"kind": "mine.py:Nobody"}, ("E-PLUGIN-CLASS", "mine.py", "'Nobody'")),
        ({"kind": "mine.py:Bare"}, ("E-PLUGIN-CLASS", "'Bare'")),
        ({"kind": "mine.py:NoConfig"}, ("E-PLUGIN-CLASS", "has no class Config derived from Strict")),
        (
            {"kind": "mine.py:Letters", "widht": 3},
            ("E-CONFIG-VALUE", "widht"),
        ),
        ({"kind": "mine.py:Letters", "width": 0}, ("E-CONFIG-VALUE", "width")),
        (
            {"kind": "mine.py:Letters", "sha256": "0" * 64},
            ("E-PLUGIN-TRUST", "SHA-256"),
        ),
        ({"kind": "mine.py"}, ("E-CONFIG-VALUE", "'mine.py'", "'kind'")),
        (
            {"kind": "concat", "parts": [{"kind": "mine.py:Scaled"}]},
            ("E-PLUGIN-CLASS", "parts.0", "'Scaled'"),
        ),
    ],
)
def test_what_cannot_be_used_names_the_key(
    file: Path, backbone: dict[str, Any], told: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    tree = recipe(file)
    tree["towers"]["text"] = {"backbone": backbone}
    with raises_code(*told) as found:
        load_recipe(tree)
    assert "\n" not in str(found.value)


def test_parts_beside_others_and_frozen_ones(file: Path, tmp_path: Path) -> None:
    tree = recipe(file, lift={"kind": "sphere", "dim": 8})
    parts = [{"kind": "bag"}, {"kind": f"{file}:Letters"}]
    tree["towers"]["text"] = {"backbone": {"kind": "concat", "parts": parts}, "freeze_backbone": True}
    run = train(tree, out=tmp_path / "run", quiet=True)
    stored = json.loads((run / "model/model.json").read_text())
    part = stored["towers"]["text"]["config"]["backbone"]["parts"][1]
    assert part["sha256"] == sha256_file(file)
    found = package.load(run).encode_text(TEXTS)
    forget(file)
    with raises_code("E-PLUGIN-TRUST", "--code"):
        package.load(run)
    np.testing.assert_array_equal(package.load(run, code=[file]).encode_text(TEXTS), found)


def test_comparing_recipes_runs_nothing(file: Path, tmp_path: Path) -> None:
    """`--resume` and a grid read the recipe of a run; only the recipe that a person names is run."""
    run = train(recipe(file), out=tmp_path / "run", quiet=True)
    forget(file)
    found = load_recipe(run / "recipe.yaml", code=False)
    assert found.last.lift.kind == f"{file}:Scaled"
    assert not (tmp_path / "ran").exists()


def test_the_cache_tells_codes_apart(file: Path) -> None:
    from limbeck.encoders.config import OwnConfig
    from limbeck.encoders.own import build_own_backbone

    config = OwnConfig.model_validate({"kind": f"{file}:Letters"})
    one = build_own_backbone(config, saved=False).cache_key()
    assert build_own_backbone(config, saved=False).cache_key() == one
    file.write_text(CODE.replace("lower()", "upper()"))
    assert build_own_backbone(config, saved=False).cache_key() != one
