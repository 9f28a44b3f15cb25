"""``data.like``: the step is chosen on the test queries, as public code does, and every result says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from limbeck.data.pairs import Pairs
from limbeck.errors import LimbeckError
from limbeck.evaluation import compare, evaluate
from limbeck.reporting.codes import code_tables
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import recipe_identity
from raising import raises_code


def liked(recipe: dict[str, Any], like: str | None, **student: Any) -> dict[str, Any]:
    tree = json.loads(json.dumps(recipe))
    tree["data"]["like"] = like
    tree["stages"]["student"] |= student
    return tree


def test_chosen_on_the_queries_and_said(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = train(liked(recipe, "qinlab"), out=tmp_path / "run", quiet=True)
    data = open_data(load_recipe(run / "recipe.yaml"))
    query, items = (data.splits.query.rows, data.splits.database.rows)
    assert data.held_out.rows.tolist() == query.tolist()
    assert data.database is not None and data.database.rows.tolist() == items.tolist()
    assert len(data.train) == len(data.splits.train.rows)

    result = evaluate(run, ceiling=False)
    assert result.protocol.endswith("@qinlab-selected") and (run / "result.json").is_file()
    stage = run / "stages" / "student"
    best = json.loads((stage / "done.json").read_text())["best_score"]
    assert result.mean("map") == pytest.approx(best, abs=1e-6)  # the very score that chose the step
    looks = [json.loads(line) for line in (stage / "metrics.jsonl").read_text().splitlines()]
    said = result.settings["like"]
    for way in ("i2t", "t2i"):
        seen = [look[f"val/{way}/mAP"] for look in looks if f"val/{way}/mAP" in look]
        assert said["best_looks"][way] == max(seen) >= result.metrics[way]["map"] - 1e-6
    notes = " ".join(code_tables([result])[0].notes)
    assert "selected on the test queries, as in the repository" in notes
    assert "reports the best epoch" not in notes and "captions at random" in notes

    with pytest.raises(LimbeckError, match="the run selected its step like qinlab"):
        evaluate(run, metric_preset="mith")
    plain = train(recipe, out=tmp_path / "plain", quiet=True)
    with raises_code("E-RESULT-OTHER", "plain:"):
        compare([result, evaluate(plain, ceiling=False)])
    with raises_code("E-RESULT-OTHER", "plain:"):
        compare([result, evaluate(plain, ceiling=False, metric_preset="qinlab")])


@pytest.mark.parametrize(
    ("like", "student", "said"),
    [
        ("ucch", {}, ("E-OPTION-CONFLICT", "data.like", "ucch")),
        ("quinlab", {}, ("E-OPTION-CHOICE", "data.like", "quinlab", "'qinlab'")),
    ],
)
def test_refusals(recipe: dict[str, Any], like: str, student: dict[str, Any], said: tuple[str, ...]) -> None:
    with raises_code(*said):
        open_data(load_recipe(liked(recipe, like, **student)))


def test_a_last_step_is_not_chosen(recipe: dict[str, Any]) -> None:
    tree = liked(recipe, "qinlab")
    with raises_code("E-CONFIG-VALUE", "schedule.select"):
        load_recipe(tree, {"stages.student.schedule.select": "last"})


def test_few_pairs_do_not_mix_with_it(recipe: dict[str, Any]) -> None:
    resolved = load_recipe(liked(recipe, "mith", pairs=10))
    with raises_code("E-CONFIG-VALUE", "stages.student"):
        open_data(resolved).of_stage(resolved.last, 0)


def test_without_it_nothing_changes(recipe: dict[str, Any]) -> None:
    assert recipe_identity(load_recipe(recipe)) == recipe_identity(load_recipe(liked(recipe, None)))
    data = open_data(load_recipe(recipe))
    assert data.database is None and not np.isin(data.held_out.rows, _queries(data.pairs, data)).any()


def _queries(pairs: Pairs, data: Any) -> np.ndarray:
    return np.asarray(data.splits.query.rows)
