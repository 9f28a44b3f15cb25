"""A method in a file of one's own: found, trained, and every way to get its name wrong."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from limbeck.errors import LimbeckError
from limbeck.evaluation import evaluate
from limbeck.methods import METHODS
from limbeck.methods.plugins import find_method
from limbeck.training import train
from raising import raises_code
from tiny import soda_recipe, write_pairs, write_protocol

CODE = '''
from limbeck.encoders.config import Strict
from limbeck.losses import pairwise_likelihood, shared_label
from limbeck.methods.base import Losses, PairMethod, SupervisedMethod


class Mine(SupervisedMethod):
    """A likelihood."""

    class Config(Strict):
        weight: float = 1.0

    def loss(self, outputs, state):
        similar = shared_label(outputs.labels, outputs.labels)
        logits = self.encoder.lift.logits(outputs.image, outputs.text)
        return Losses.weighted(likelihood=(self.config.weight, pairwise_likelihood(logits, similar)))


class Bare(PairMethod):
    """Without a configuration."""

    def loss(self, outputs, state):
        return Losses({})


class Hollow(PairMethod):
    """Without a loss."""


class Old(PairMethod):
    """With the names of version 0.1."""

    def objective(self, reps, state):
        return Losses({})


class Other:
    """No method."""
'''


def test_it_trains_and_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    recipe = soda_recipe(write_pairs(tmp_path), write_protocol(tmp_path), steps=4)
    method = {"name": f"{tmp_path / 'mine.py'}:Mine", "weight": 2.0}
    run = train(recipe | {"stages": {"mine": {"method": method}}}, out=tmp_path / "run", quiet=True)
    result = evaluate(run, ceiling=False)
    assert result.method.endswith("mine.py:Mine") and 0 < result.metrics["i2t"]["map"] <= 1
    wrong = method | {"wieght": 1.0}
    with raises_code("E-CONFIG-KEY", "mine.method"):
        train(recipe | {"stages": {"mine": {"method": wrong}}}, out=tmp_path / "no")


def test_names_that_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(CODE)
    Path("broken.py").write_text("import no_such_module\n")
    assert find_method("dcmh") is METHODS["dcmh"]
    assert find_method("mine.py:Mine").__name__ == "Mine"
    for name, told in {
        "dcmhh": "no method 'dcmhh'; did you mean 'dcmh'?, or name your class FILE.py:CLASS",
        "mine.py": "name your class FILE.py:CLASS",
        "yours.py:Mine": "yours.py: there is no such file",
        "mine.py:Nobody": "mine.py: has no method 'Nobody'",
        "mine.py:Other": "has no method 'Other'",
        "mine.py:Hollow": "mine.py: Hollow lacks loss; implement it",
        "mine.py:Old": "mine.py: Old defines objective, which is called loss since version 0.2; rename it",
        "mine.py:Bare": "Bare lacks a class Config derived from Strict",
        "broken.py:Mine": "broken.py: does not run (ModuleNotFoundError: No module named 'no_such_module'",
    }.items():
        with pytest.raises(LimbeckError, match=re.escape(told)):
            find_method(name)
