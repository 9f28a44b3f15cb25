"""``choose``: the forms of a run train on one teacher, and the best by validation is the run's model."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from limbeck.data.subset import Subset
from limbeck.encoders.ancestry import ancestry
from limbeck.encoders.dual import DualEncoder
from limbeck.evaluation.efficiency import read_efficiency
from limbeck.evaluation.run_metadata import read_run_facts
from limbeck.files import read_json, write_json
from limbeck.training import train
from limbeck.training.choice import choose
from limbeck.training.data import open_data
from limbeck.training.early import check_stages
from limbeck.training.recipe import load_recipe
from raising import raises_code

DIRECT = {"method": {"name": "direct-hashing"}}


@pytest.fixture
def forms(recipe):
    """Two forms after one teacher, the last step kept; the form without a teacher barely trains."""
    recipe["schedule"] |= {"select": "last", "steps": 8, "validate_every": 3}
    recipe["stages"]["direct"] = DIRECT | {"optim": {"lr": 1e-9}}
    return recipe | {"choose": ["direct", "student"]}


def test_the_best_form_is_the_model_and_the_run_says_so(forms, tmp_path, capfd):
    run = train(forms, out=tmp_path / "run")
    stages = {name: run / "stages" / name for name in ("teacher", "student", "direct")}
    bound = {name: read_json(stages[name] / "done.json")["best_score"] for name in forms["choose"]}
    found = read_json(run / "run.json")
    scores = found["chosen"]["scores"]
    assert list(scores) == forms["choose"] and all(0 < scores[name] <= bound[name] for name in scores)
    best = max(scores, key=scores.get)
    assert found["chosen"]["stage"] == best
    assert f"chosen by validation: {best} (direct {scores['direct']:.4f}" in capfd.readouterr().err
    mine, its = DualEncoder.load(run / "model"), DualEncoder.load(stages[best] / "model")
    for one, other in zip(mine.parameters(), its.parameters(), strict=True):
        assert torch.equal(one, other)
    method = {"student": "soda-student", "direct": "direct-hashing"}[best]
    assert found["methods"] == ["soda-teacher", method]
    facts = read_run_facts(run)
    assert (facts.stage, facts.method) == (best, method)
    assert ancestry(str(run)).chosen == scores
    cost, points = read_efficiency(run)
    assert cost["pairs_per_second"] == read_json(stages[best] / "efficiency.json")["pairs_per_second"]
    assert points[-1]["score"] == scores[best]
    alone = forms | {"stages": {"direct": forms["stages"]["direct"]}, "choose": []}
    control = DualEncoder.load(train(alone, out=tmp_path / "alone", quiet=True) / "model")
    for one, other in zip(
        control.parameters(), DualEncoder.load(stages["direct"] / "model").parameters(), strict=True
    ):
        assert torch.equal(one, other)  # the control is in the choice, weight for weight


def test_the_last_or_the_best_score_counts_and_ties_go_to_the_earlier(forms, tmp_path):
    forms["stages"]["student"]["schedule"] = {"select": "best"}
    recipe = load_recipe(forms)
    for name, best, rows in (("direct", 0.9, [0.9, 0.5]), ("student", 0.5, [0.5, 0.4])):
        folder = tmp_path / "stages" / name
        folder.mkdir(parents=True)
        write_json(folder / "done.json", {"best_score": best})
        lines = [f'{{"step": {n}, "val/score": {row}}}\n' for n, row in enumerate(rows)]
        (folder / "metrics.jsonl").write_text("".join(lines) + '{"step": 9}\n')
    choice = choose(tmp_path, recipe)
    assert (choice.stage.name, choice.scores) == ("direct", {"direct": 0.5, "student": 0.5})
    write_json(tmp_path / "stages" / "student" / "done.json", {"best_score": 0.51})
    assert choose(tmp_path, recipe).stage.name == "student"


def test_a_choice_that_cannot_be_fair_is_refused(forms):
    with raises_code("E-CONFIG-VALUE", "choose", "'studnet'", "teacher, student, direct"):
        load_recipe(forms | {"choose": ["studnet", "direct"]})
    with raises_code("E-CONFIG-VALUE", "choose", "data.like"):
        load_recipe(forms, {"data.like": "mith", "schedule.select": "best"})
    with raises_code("E-CONFIG-VALUE", "choose", "pairs or hide"):
        load_recipe(forms, {"stages.student.pairs": 40})
    data = open_data(load_recipe(forms))
    assert isinstance(data.held_out, Subset)
    with raises_code("E-CONFIG-VALUE", "choose", "held out"):
        check_stages(load_recipe(forms), dataclasses.replace(data, held_out=data.held_out.take([])))


def test_the_adaptive_recipe_holds_its_control():
    adaptive, lead = (load_recipe(f"soda/mirflickr-{name}") for name in ("adaptive", "lead"))
    control = load_recipe("soda/mirflickr-direct-lead", {"schedule.validate_every": 2000})
    assert adaptive.stages["direct"] == control.stages["direct"]
    kept = {name: adaptive.stages[name].optim for name in lead.stages}
    assert kept == {name: stage.optim for name, stage in lead.stages.items()}
    assert [stage.name for stage in adaptive.candidates] == ["student", "free", "direct"]
