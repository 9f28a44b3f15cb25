"""Recipes: strict, inherited, overridden; every shipped one resolves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from limbeck.errors import LimbeckError
from limbeck.evaluation.run_metadata import settings_hash
from limbeck.training.recipe import (
    list_recipes,
    load_recipe,
    method_config,
    parse_override,
    recorded_recipe,
)
from limbeck.training.stages import recipe_identity
from raising import raises_code
from tiny import soda_recipe, write_protocol, write_recipe


@pytest.fixture
def tree(tmp_path: Path) -> dict[str, Any]:
    return soda_recipe(tmp_path / "pairs", tmp_path / "hashing.yaml")


def refused(tree: dict[str, Any] | Path, overrides: dict[str, Any] | None = None) -> str:
    with pytest.raises(LimbeckError) as found:
        load_recipe(tree, overrides)
    message = str(found.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_resolve_and_come_back_from_yaml(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.note
    for stage in recipe.stages.values():
        method_config(stage)
    again = load_recipe(yaml.safe_load(recipe.to_yaml()))
    assert again == recipe
    assert recipe_identity(again) == recipe_identity(recipe)


def test_stages_inherit_and_change_parts(tree: dict[str, Any]) -> None:
    tree["stages"]["student"] |= {"optim": {"lr": 0.5}, "towers": {"text": {"dropout": 0.0}}}
    teacher, student = load_recipe(tree).stages.values()
    assert teacher.optim.lr == 0.01
    assert (student.optim.lr, student.optim.warmup) == (0.5, 0.1)
    assert student.towers.text.dropout == 0.0
    assert student.towers.text.hidden == teacher.towers.text.hidden == [12]
    assert student.towers.image == teacher.towers.image


def test_another_kind_replaces_the_whole_mapping(tree: dict[str, Any]) -> None:
    tree["towers"]["text"]["backbone"] = {"kind": "bag", "min_count": 3}
    tree["stages"]["teacher"]["towers"] = {"text": {"backbone": {"kind": "multihot"}}}
    tree["stages"]["student"]["towers"] = {"text": {"backbone": {"kind": "bag", "vocabulary_size": 9}}}
    teacher, student = load_recipe(tree).stages.values()
    assert teacher.towers.text.backbone.model_dump() == {"kind": "multihot"}
    assert teacher.towers.text.hidden == [12]
    assert student.towers.text.backbone.model_dump() == {"kind": "bag", "min_count": 3, "vocabulary_size": 9}


def test_extends_overrides_stages_by_name(tmp_path: Path, tree: dict[str, Any]) -> None:
    write_recipe(tmp_path / "base.yaml", tree)
    child = {
        "extends": "base.yaml",
        "name": "tiny/child",
        "lift": {"bits": 16},
        "stages": {"student": {"schedule": {"steps": 3}}},
    }
    write_recipe(tmp_path / "child.yaml", child)
    grandchild = {"extends": "child.yaml", "stages": {"teacher": {"method": {"name": "multihot-teacher"}}}}
    recipe = load_recipe(write_recipe(tmp_path / "grandchild.yaml", grandchild))
    assert recipe.name == "tiny/child"
    assert [s.schedule.steps for s in recipe.stages.values()] == [15, 3]
    assert [s.method["name"] for s in recipe.stages.values()] == ["multihot-teacher", "soda-student"]
    assert {s.lift.bits for s in recipe.stages.values()} == {16}


def test_extends_a_shipped_recipe(tmp_path: Path) -> None:
    file = write_recipe(tmp_path / "own.yaml", {"extends": "soda/mirflickr", "name": "own"})
    assert list(load_recipe(file).stages) == ["teacher", "student", "tuned"]


def test_a_stage_without_a_method_is_refused(tmp_path: Path, tree: dict[str, Any]) -> None:
    write_recipe(tmp_path / "base.yaml", tree)
    child = write_recipe(
        tmp_path / "child.yaml", {"extends": "base.yaml", "stages": {"studnet": {"freeze": []}}}
    )
    assert "stages.studnet has no method; did you mean 'student'?" in refused(child)


def test_extends_adds_and_leaves_out_stages(tmp_path: Path, tree: dict[str, Any]) -> None:
    write_recipe(tmp_path / "base.yaml", tree)
    stages = {"student": None, "tune": {"method": {"name": "direct-hashing"}}}
    child = load_recipe(write_recipe(tmp_path / "child.yaml", {"extends": "base.yaml", "stages": stages}))
    assert list(child.stages) == ["teacher", "tune"]


def test_the_list_of_version_0_1_is_refused_but_read_from_runs(tmp_path: Path, tree: dict[str, Any]) -> None:
    old = tree | {"stages": [{"name": name, **stage} for name, stage in tree["stages"].items()]}
    file = write_recipe(tmp_path / "recipe.yaml", old)
    assert "write 'stages: {NAME: {method: …}}' instead of the list" in refused(file)
    assert recorded_recipe(tmp_path) == tree
    before = settings_hash(tmp_path)
    write_recipe(file, tree)
    assert settings_hash(tmp_path) == before


def test_extends_nothing_or_itself(tmp_path: Path) -> None:
    assert "nowhere" in refused(write_recipe(tmp_path / "a.yaml", {"extends": "nowhere"}))
    assert "extends" in refused(write_recipe(tmp_path / "b.yaml", {"extends": "b.yaml"}))


def test_overrides_reach_stages_by_name(tree: dict[str, Any]) -> None:
    changes = dict(
        parse_override(text)
        for text in (
            "stages.student.optim.lr=2e-3",
            "lift.bits=16",
            "seed=3",
            "data.pairs=x/y",
            "stages.student.freeze=[]",
        )
    )
    recipe = load_recipe(tree, changes)
    assert recipe.stages["student"].optim.lr == 0.002
    assert recipe.stages["teacher"].optim.lr == 0.01
    assert recipe.stages["teacher"].lift.model_dump()["bits"] == 16
    assert (recipe.seed, recipe.data.pairs, recipe.stages["student"].freeze) == (3, "x/y", [])
    assert tree["lift"]["bits"] == 8  # the mapping that was given is left alone


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("1e-3", 0.001),
        ("-2.5E+4", -25e3),
        ("true", True),
        ("null", None),
        ("x=y", "x=y"),
        ("", None),
    ],
)
def test_overrides_are_read_as_yaml(text: str, value: Any) -> None:
    assert parse_override(f"a={text}") == ("a", value)


@pytest.mark.parametrize("text", ["a", "=1", "a=[1", "a={"])
def test_bad_overrides(text: str) -> None:
    with pytest.raises(LimbeckError) as found:
        parse_override(text)
    assert "\n" not in str(found.value)


def test_an_override_wins_over_a_stage_s_own_value(tree: dict[str, Any]) -> None:
    tree["stages"]["student"]["optim"] = {"lr": 0.5}
    assert load_recipe(tree, {"optim.lr": 0.25}).stages["student"].optim.lr == 0.25


def test_an_override_that_would_reach_some_stages_alone_is_refused(tree: dict[str, Any]) -> None:
    tree["stages"]["student"]["towers"] = {"image": {"freeze_backbone": True}}
    with raises_code("E-CONFIG-KEY", "only student set", "teacher would keep False", "stages.teacher.towers"):
        load_recipe(tree, {"towers.image.freeze_backbone": True})
    named = {f"stages.{name}.towers.image.freeze_backbone": True for name in ("teacher", "student")}
    stages = load_recipe(tree, named).stages.values()
    assert all(stage.towers.image.freeze_backbone for stage in stages)
    # It says nothing where the other stages have the value, or have no such key.
    assert (
        not load_recipe(tree, {"towers.image.freeze_backbone": False})
        .stages["student"]
        .towers.image.freeze_backbone
    )


def test_steps_and_epochs_override_each_other(tree: dict[str, Any]) -> None:
    tree["stages"]["student"]["schedule"] = {"epochs": 2}
    teacher, student = load_recipe(tree).stages.values()
    assert (teacher.schedule.steps, teacher.schedule.epochs) == (15, None)
    assert (student.schedule.steps, student.schedule.epochs) == (None, 2)
    student = load_recipe(tree, {"stages.student.schedule.steps": 4}).stages["student"]
    assert (student.schedule.steps, student.schedule.epochs) == (4, None)
    teacher = load_recipe(tree, {"schedule.epochs": 4}).stages["teacher"]
    assert (teacher.schedule.steps, teacher.schedule.epochs) == (None, 4)
    tree["stages"]["student"]["schedule"] = {"epochs": 2, "steps": 3}
    assert "steps or epochs" in refused(tree)
    tree["stages"]["student"]["schedule"] = {"epochs": 2}
    del tree["schedule"]["steps"]
    assert "steps or epochs" in refused(tree)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sead": 1}, "key 'sead' is unknown; did you mean 'seed'?"),
        ({"lft": {"bits": 16}}, "key 'lft' is unknown; did you mean 'lift'?"),
        ({"optim": {"lr": 0.01, "weight_decai": 0.1}}, "did you mean 'weight_decay'?"),
        ({"optim": {"lr": "fast"}}, "stages.teacher.optim.lr"),
        ({"optim": {"lr": -1.0}}, "optim.lr"),
        ({"optim": {"lr_scale": {"images": 1.0}}}, "lr_scale"),
        ({"optim": {"betas": [0.9]}}, "betas"),
        ({"lift": {"kind": "hash", "bits": 12}}, "multiple of 8"),
        ({"lift": {"kind": "hash", "bits": 8, "tetha": 1.0}}, "did you mean 'theta'?"),
        # a key of another kind of lift is no help
        (
            {"lift": {"kind": "sphere", "dim": 8, "radius": 1.0}},
            "sphere.radius' is unknown; choose from dim, kind, ",
        ),
        ({"lift": {"kind": "torus", "bits": 8}}, "torus"),
        ({"lift": {"bits": 8}}, "lift"),
        ({"stages": {}}, "stages"),
        ({"stages": []}, "'stages' must map the name of each stage"),
        ({"stages": {"teacher": {}}}, "stages.teacher has no method"),
        ({"stages": {"teacher": "soda-teacher"}}, "'stages' must map the name of each stage"),
        ({"stages": {"Teacher 1": {"method": {"name": "clip"}}}}, "stages.Teacher 1.name"),
        ({"data": {"pairs": "x"}}, "data.protocol' is missing"),
        ({"seed": -1}, "seed"),
        ({"seed": "1"}, "seed"),
        ({"compute": {"precision": "16"}}, "precision"),
    ],
)
def test_bad_keys_and_values_are_one_line(tree: dict[str, Any], change: dict[str, Any], said: str) -> None:
    assert said in refused(tree | change)


@pytest.mark.parametrize(
    ("dotted", "value", "said"),
    [
        (
            "stages.teacher.method.name",
            "soda-techer",
            "no method 'soda-techer'; did you mean 'soda-teach",
        ),
        ("stages.teacher.method.quantisation", 0.1, "did you mean 'quantization'?"),
        ("stages.student.method.target", "both", "stages.student.method: target"),
        ("stages.student.init.image", "later", "is no earlier stage (teacher)"),
        ("stages.student.init.audio", "teacher", "init"),
        ("stages.nobody.optim.lr", 0.1, "stages.nobody has no method; choose from teacher, student"),
        ("stages.student", {}, "stages.student has no method"),
        ("seed.x", 1, "seed: "),
        ("name.x", 1, "name.x: 'name' holds a value, not further keys"),
        ("towers.image.backbone.kind", "feature", "feature"),
        ("towers.image.dropout", 1.0, "dropout"),
        ("towers.image.hidden", [0], "hidden"),
        ("stages.teacher.method", "soda-teacher", "method"),
        ("stages.teacher.name", "first", "the key 'teacher' names the stage; remove name"),
    ],
)
def test_bad_overrides_are_one_line(tree: dict[str, Any], dotted: str, value: Any, said: str) -> None:
    assert said in refused(tree, {dotted: value})


def test_misspelt_recipe_names_the_nearest(tmp_path: Path) -> None:
    with raises_code("E-RECIPE-UNKNOWN", "'soda/mirflickr'"):
        load_recipe("soda/mirflicker")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert "a recipe is a mapping" in refused(tmp_path / "list.yaml")
    (tmp_path / "broken.yaml").write_text("a: [1\nb: 2\n")
    assert "not valid YAML" in refused(tmp_path / "broken.yaml")


@pytest.mark.parametrize("value", ["32", 32, "bf16", "auto"])
def test_precision_may_be_a_number_of_yaml(tmp_path: Path, value: object) -> None:
    tree = soda_recipe(tmp_path, tmp_path / "p.yaml")
    found = load_recipe(tree | {"compute": {"precision": value}})
    assert found.compute.precision == str(value)
    found = load_recipe(tree, dict([parse_override(f"compute.precision={value}")]))
    assert found.compute.precision == str(value)


@pytest.mark.parametrize("value", [16, True, 32.0, "64"])
def test_other_precisions_are_refused(tmp_path: Path, value: object) -> None:
    tree = soda_recipe(tmp_path, tmp_path / "p.yaml")
    with raises_code("E-CONFIG-VALUE", "compute.precision"):
        load_recipe(tree | {"compute": {"precision": value}})


@pytest.mark.parametrize("size", ["s", "b", "l"])
def test_recipes_of_the_papers_scale_represent_few_pairs_at_once(size: str) -> None:
    """At 521 MB a pair of the ViT-L, a whole batch of 2,048 would take a terabyte (docs/recipes.md)."""
    for stage in load_recipe(f"hmid_net/paper-vit-{size}").stages.values():
        assert stage.schedule.batch_size == 2048
        assert (stage.schedule.chunk or 2048) * 521e6 < 40e9


def test_relative_paths_count_from_here_and_then_from_beside_the_recipe(
    tmp_path: Path, tree: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home / "pairs", home / "model", home / "teacher", here):
        folder.mkdir(parents=True)
    write_protocol(home)
    tree["data"] = {"protocol": "hashing.yaml", "pairs": "pairs"}
    tree["stages"]["student"]["init"] = {"image": "model", "text": "teacher"}
    write_recipe(home / "base.yaml", tree)
    (home / "child.yaml").write_text("extends: base.yaml\nname: child\ndata: {protocol: hashing.yaml@3}\n")
    monkeypatch.chdir(here)
    for name, protocol in (("base", "hashing.yaml"), ("child", "hashing.yaml@3")):
        recipe = load_recipe(home / f"{name}.yaml")
        assert (recipe.data.protocol, recipe.data.pairs) == (str(home / protocol), str(home / "pairs"))
        # "teacher" is an earlier stage, whatever lies beside the file.
        assert recipe.last.init == {"image": str(home / "model"), "text": "teacher"}
    write_protocol(here)
    assert load_recipe("../home/base.yaml").data.protocol == "hashing.yaml"
    monkeypatch.chdir(home)
    assert load_recipe("base.yaml").data.pairs == "pairs"
