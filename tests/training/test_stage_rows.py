"""Which rows a stage sees: fewer of train, few pairs, labels it must not know, rows without a text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.inputs import Input, PromptConfig
from limbeck.data.pairs import Pairs
from limbeck.encoders.load import load
from limbeck.files import read_json
from limbeck.training import train
from limbeck.training.data import Data, open_data
from limbeck.training.dry_run import dry_run
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, recipe_identity
from raising import raises_code
from tiny import CLASSES, soda_recipe, write_pairs, write_protocol


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_pairs(folder, rows=200)
    write_protocol(folder)
    return folder


def tree(place: Path, student: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    recipe = soda_recipe(place / "pairs", place / "hashing.yaml", steps=4)
    recipe["stages"]["student"] |= student or {}
    recipe["data"] |= {k: v for k, v in changes.items() if k == "limit"}
    return recipe | {k: v for k, v in changes.items() if k != "limit"}


def seen(recipe: dict[str, Any], stage: str = "student") -> Data:
    resolved = load_recipe(recipe)
    return open_data(resolved).of_stage(resolved.stages[stage], resolved.seed)


# ------------------------------------------------------------------------------ few pairs
def test_pairs_are_all_that_a_stage_sees(place: Path) -> None:
    teacher = seen(tree(place, {"pairs": 20}), "teacher")
    student = seen(tree(place, {"pairs": 20}))
    assert (len(teacher.train), len(teacher.held_out)) == (112, 8)
    assert (len(student.train), len(student.held_out)) == (16, 4)
    own = {*student.train.ids, *student.held_out.ids}
    assert len(own) == 20
    assert own <= set(teacher.train.ids)  # the teacher's validation keeps its texts


def test_its_vocabulary_is_that_of_its_pairs(place: Path) -> None:
    recipe = load_recipe(tree(place, {"pairs": 10, "init": {}}))
    data = open_data(recipe).of_stage(recipe.last, 0)
    method = build_method(recipe.last, data, {}, 0)
    known = {word for texts in data.train.texts for word in texts[0].split()}
    assert set(method.encoder.towers["text"].backbone.vocabulary) == known
    assert len(known) < len({word for tags in data.pairs.tags for word in tags})


@settings(max_examples=15, deadline=None)
@given(few=st.integers(10, 60), more=st.integers(0, 52), seed=st.integers(0, 3))
def test_fewer_are_part_of_more(place: Path, few: int, more: int, seed: int) -> None:
    def drawn(n: int) -> set[str]:
        data = seen(tree(place, {"pairs": n}, seed=seed))
        return {*data.train.ids, *data.held_out.ids}

    assert drawn(few) <= drawn(few + more)


def test_another_seed_draws_others(place: Path) -> None:
    first, second = (seen(tree(place, {"pairs": 30}, seed=seed)).train.ids for seed in (0, 1))
    assert set(first) != set(second)


def test_the_draw_does_not_depend_on_the_order_of_the_table(place: Path, tmp_path: Path) -> None:
    pairs = Pairs.open(place / "pairs")
    order = np.random.default_rng(0).permutation(len(pairs))
    columns = {n: [pairs.table.column(n).to_pylist()[i] for i in order] for n in pairs.table.column_names}
    cnn = {"cnn": {"file": str(place / "cnn.npy"), "scale": 1.0}}
    meta = {"name": "turned", "label_names": list(CLASSES), "features": cnn}
    Pairs.write(tmp_path / "pairs", columns, meta)
    write_protocol(tmp_path)
    first, second = (seen(tree(p, {"pairs": 20})) for p in (place, tmp_path))
    assert set(first.train.ids) == set(second.train.ids)


def test_a_run_says_what_each_stage_saw(place: Path, tmp_path: Path) -> None:
    run = train(tree(place, {"pairs": 20}), out=tmp_path / "run", quiet=True)
    facts = read_json(run / "run.json")["stages"]
    assert (facts["teacher"]["rows"], facts["teacher"]["held_out_rows"]) == (112, 8)
    assert (facts["student"]["rows"], facts["student"]["held_out_rows"]) == (16, 4)
    assert load(run).space.to_json()["bits"] == 8
    assert "batch 16" in "\n".join(dry_run(load_recipe(tree(place, {"pairs": 20}))))


# ------------------------------------------------------------------------------ fewer rows at all
def test_limit_counts_validation_in(place: Path) -> None:
    small, large = (open_data(load_recipe(tree(place, limit=n))) for n in (30, 60))
    assert (len(small.train), len(small.held_out)) == (24, 6)
    assert (len(large.train), len(large.held_out)) == (52, 8)
    assert {*small.train.ids, *small.held_out.ids} <= {*large.train.ids, *large.held_out.ids}
    whole = open_data(load_recipe(tree(place)))
    assert {*large.train.ids, *large.held_out.ids} <= {*whole.train.ids, *whole.held_out.ids}


def test_idle_keys_change_no_identity(place: Path) -> None:
    plain = load_recipe(tree(place))
    written = tree(place, {"pairs": None, "hide": None}, limit=None)
    assert recipe_identity(plain) == recipe_identity(load_recipe(written))
    for other in (
        tree(place, limit=30),
        tree(place, {"pairs": 20}),
        tree(place, {"hide": {"labels": ["cat"]}}),
    ):
        assert recipe_identity(load_recipe(other)) != recipe_identity(plain)


# ------------------------------------------------------------------------------ hidden labels
@pytest.mark.parametrize("how", ["labels", "pictures"])
def test_hidden_labels_are_nowhere(place: Path, how: str) -> None:
    data = seen(tree(place, {"hide": {"labels": ["cat", "sky"], "how": how}}))
    whole = seen(tree(place))
    pairs = data.pairs
    for view, source in (
        (data.train, whole.train),
        (data.train.drawing("shown"), whole.train.drawing("shown")),
        (data.held_out, whole.held_out),
    ):
        wanted = []
        for row, names in zip(source.ids, (pairs.labels_text[r] for r in source.rows.tolist()), strict=True):
            rest = [name for name in names if name not in ("cat", "sky")]
            if rest == names or (rest and how == "labels"):
                wanted.append((row, rest))
        assert list(zip(view.ids, view.label_names, strict=True)) == wanted
        assert view.labels is not None
        shown = view.labels.numpy() > 0
        assert [[c for c, on in zip(CLASSES, r, strict=True) if on] for r in shown] == [
            sorted(r) for _, r in wanted
        ]
        prompts = view.candidates(Input("label_prompt", "text", PromptConfig()))
        assert not any("cat" in prompt or "sky" in prompt for (prompt,) in prompts)
        lists = view.candidates(Input("labels", "text"))
        assert [own for (own,) in lists] == [rest for _, rest in wanted]
    assert len(seen(tree(place, {"hide": {"labels": ["cat", "sky"], "how": how}}), "teacher").train) == 112


def test_hidden_labels_that_are_none(place: Path) -> None:
    with raises_code("E-LABEL-UNKNOWN", "stages.student.hide.labels", "'lion'"):
        seen(tree(place, {"hide": {"labels": ["lion"]}}))
    with raises_code("E-TRAIN-EMPTY", "stages.student"):
        seen(tree(place, {"hide": {"labels": list(CLASSES)}}))


def test_too_many_are_refused(place: Path) -> None:
    with raises_code("E-CONFIG-VALUE", "stages.student.pairs", "113", "112"):
        seen(tree(place, {"pairs": 113}))
    with raises_code("E-CONFIG-VALUE", "data.limit", "500 rows", "120"):
        seen(tree(place, limit=500))
    with raises_code("E-CONFIG-VALUE", "10"):
        load_recipe(tree(place, {"pairs": 5}))


# ------------------------------------------------------------------------------ rows without a text
def rewritten(place: Path, folder: Path, **columns: Any) -> Path:
    pairs = Pairs.open(place / "pairs")
    kept = {name: pairs.table.column(name).to_pylist() for name in pairs.table.column_names}
    meta = {
        "name": "other",
        "label_names": list(CLASSES),
        "features": {"cnn": {"file": str(place / "cnn.npy"), "scale": 1.0}},
    }
    Pairs.write(folder / "pairs", kept | columns, meta)
    write_protocol(folder)
    return folder


def test_a_teacher_keeps_rows_without_a_text(place: Path, tmp_path: Path) -> None:
    tags = [own if row % 2 else [] for row, own in enumerate(Pairs.open(place / "pairs").tags)]
    other = rewritten(place, tmp_path, tags=tags)
    teacher, student = (seen(tree(other), stage) for stage in ("teacher", "student"))
    assert len(teacher.train) == 112
    assert 40 < len(student.train) < 70
    assert all(own[0].strip() for own in [*student.train.texts, *student.held_out.texts])
    assert set(student.train.ids) < set(teacher.train.ids)
    assert len(seen(tree(other, {"pairs": 20})).train) == 16
    # Where every stage reads texts, rows without one go at once, as ever.
    alone = tree(other)
    alone["stages"] = {"teacher": {"method": {"name": "direct-hashing"}}}
    assert {*open_data(load_recipe(alone)).train.ids} == {*student.train.ids}


def test_a_teacher_alone_needs_no_text(place: Path, tmp_path: Path) -> None:
    other = rewritten(place, tmp_path, tags=[[]] * 200, captions=[[]] * 200)
    recipe = tree(other)
    with raises_code("E-DATA-TEXT", "'tags'"):
        open_data(load_recipe(recipe))
    del recipe["stages"]["student"]
    run = train(recipe, out=tmp_path / "run", quiet=True)
    facts = read_json(run / "run.json")
    assert (facts["train_pairs"], facts["validation_pairs"], facts["skipped_without_text"]) == (112, 8, 0)
    assert facts["stages"]["teacher"]["best_score"] > 0


# ------------------------------------------------------------------------------ labels that teach nothing
def test_labels_without_contrast_are_refused(place: Path, tmp_path: Path) -> None:
    other = rewritten(place, tmp_path, labels=[["cat"]] * 200)
    with raises_code("E-DATA-LABELS", "112", "'cat'") as found:
        open_data(load_recipe(tree(other)))
    assert "\n" not in str(found.value)


def test_no_labels_are_refused(place: Path, tmp_path: Path) -> None:
    other = rewritten(place, tmp_path, labels=[[]] * 200)
    with raises_code("E-DATA-LABELS", "112 rows"):
        open_data(load_recipe(tree(other)))
