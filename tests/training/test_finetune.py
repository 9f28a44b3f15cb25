"""From a pretrained directory and 300 pairs to a run, an index and hits, and what a start keeps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import limbeck as package
from hub_models import write_clip
from limbeck.errors import LimbeckError
from limbeck.training import train
from limbeck.training.dry_run import dry_run
from limbeck.training.recipe import load_recipe
from pretrained_models import TEXTS, write_all
from tiny import write_pairs, write_protocol

Run = Callable[..., tuple[int, str, str]]
HMID = ("hmid_net/from-pretrained", "lift.dim=10")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("finetune")
    write_pairs(folder, rows=300, pictures=16)
    write_protocol(folder, "retrieval")
    write_clip(folder / "clip")
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("models"))


def from_data_to_hits(limbeck: Run, place: Path, source: Path, out: Path, *recipe: str) -> str:
    """Train, evaluate, index and search by the command line; return what training said."""
    run, index = out / "run", out / "index"
    status, _, said = limbeck(
        "train", *recipe, f"source={source}", "compute.threads=1", "--data", place / "pairs", "--out", run,
    )  # fmt: skip
    assert status == 0, said
    status, table, err = limbeck("evaluate", run)
    assert status == 0, err
    assert "t→i" in table
    assert limbeck("index", "build", place / "media", "--model", run, "--out", index)[0] == 0
    status, found, err = limbeck("search", index, "a cat and dog", "-k", "5")
    assert status == 0, err
    assert len(re.findall(r"\d+\.png", found)) == 5
    return said


@pytest.mark.parametrize(
    "recipe",
    [
        ("clip/finetune", "schedule.steps=2", "schedule.batch_size=32"),
        (*HMID, "schedule.steps=2", "schedule.batch_size=32"),
        ("soda/from-pretrained", "schedule.steps=4", "schedule.validate_every=4"),
    ],
    ids=lambda words: words[0],
)
def test_each_recipe_leads_to_hits(
    limbeck: Run, place: Path, tmp_path: Path, recipe: tuple[str, ...]
) -> None:
    said = from_data_to_hits(limbeck, place, place / "clip", tmp_path, *recipe)
    kept = f"towers.text starts from the embeddings of {place / 'clip'}; kept: weights, projection, tokenizer"
    assert f"{kept}, context (12 tokens); new: " in said
    assert "kept: weights, projection, preprocessing (16 x 16 pixels)" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", ["siglip", "open-clip", "meru", "hyper3-clip"])
@pytest.mark.parametrize(
    "recipe",
    [("clip/finetune",), (*HMID, "schedule.epochs=1"), ("soda/from-pretrained", "schedule.steps=40")],
    ids=lambda words: words[0],
)
def test_each_format_leads_to_hits(
    limbeck: Run, place: Path, models: dict[str, Path], tmp_path: Path, name: str, recipe: tuple[str, ...]
) -> None:
    from_data_to_hits(limbeck, place, models[name], tmp_path, *recipe)


def tree(place: Path, source: Path | None = None, *, steps: int = 0, **changes: Any) -> dict[str, Any]:
    recipe: dict[str, Any] = {
        "name": "tiny/source",
        "source": str(source or place / "clip"),
        "data": {"pairs": str(place / "pairs"), "protocol": str(place / "retrieval.yaml")},
        "compute": {"accelerator": "cpu", "precision": "32", "threads": 1},
        "lift": {"kind": "source"},
        "towers": {
            "image": {"backbone": {"kind": "clip_image", "source": "$source"}},
            "text": {"backbone": {"kind": "clip_text", "source": "$source"}},
        },
        "schedule": {"steps": steps, "batch_size": 16, "select": "last"},
        "stages": {"tune": {"method": {"name": "clip"}}},
    }
    return recipe | changes


@pytest.mark.parametrize("name", ["clip", "siglip", "open-clip", "meru", "hyper3-clip"])
def test_the_lift_of_a_source_keeps_the_whole_model(
    place: Path, models: dict[str, Path], tmp_path: Path, name: str
) -> None:
    found = package.load(train(tree(place, models[name]), out=tmp_path / "run", quiet=True))
    own = package.load(models[name])
    np.testing.assert_allclose(found.encode_text(TEXTS), own.encode_text(TEXTS), atol=1e-5, rtol=1e-5)
    assert found.space.to_json() == pytest.approx(own.space.to_json())
    assert float(found.lift.logit_scale) == pytest.approx(float(own.lift.logit_scale))


def test_without_its_projection_clip_keeps_it_in_the_heads(place: Path, tmp_path: Path) -> None:
    recipe = tree(place)
    for tower in recipe["towers"].values():
        tower["backbone"]["projection"] = False
    found = package.load(train(recipe, out=tmp_path / "run", quiet=True))
    own = package.load(place / "clip")
    np.testing.assert_allclose(found.encode_text(TEXTS), own.encode_text(TEXTS), atol=1e-5)


@pytest.mark.parametrize("change", [{"hidden": [8]}, {"backbone": {"kind": "bag"}}])
def test_the_lift_of_a_source_needs_one_source_and_no_layers(place: Path, change: dict[str, Any]) -> None:
    recipe = tree(place)
    recipe["towers"]["text"] |= change
    with pytest.raises(LimbeckError, match="give both towers its source, and no hidden layers") as told:
        dry_run(load_recipe(recipe))
    assert told.value.code == "E-CONFIG-VALUE"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lift": {"kind": "source"}}, "logit scale of 14.28 is kept"),
        ({"lift": {"kind": "sphere", "dim": 10}}, "logit scale of 14.28 is kept"),
        ({"lift": {"kind": "sphere", "dim": 10, "logit_scale": 5.0}}, "logit scale of 5 is new"),
        ({"lift": {"kind": "polar", "dim": 10}}, "logit scale of 14.29 is new"),
    ],
)
def test_it_is_said_whether_the_temperature_is_kept(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], said: str
) -> None:
    train(tree(place, **change), out=tmp_path / "run")
    assert said in capsys.readouterr().err


def test_init_keeps_the_head_and_says_so(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tree(place, lift={"kind": "sphere", "dim": 10})
    recipe["stages"]["tune"]["init"] = {"image": "$source", "text": "$source"}
    train(recipe, out=tmp_path / "run")
    assert (
        f"towers.text starts from {place / 'clip'}; kept: weights, tokenizer, context (12 tokens), "
        "head and scalars of the lift; new: nothing"
    ) in capsys.readouterr().err


def test_a_recipe_without_its_source_is_listed_but_not_run(limbeck: Run, place: Path) -> None:
    assert "clip/finetune" in limbeck("list", "recipes")[1]
    status, _, err = limbeck("train", "clip/finetune", "--data", place / "pairs", "--dry-run")
    assert status == 1
    assert "stages.tune: needs a pretrained model; give source=DIR" in err


def test_a_source_that_nothing_takes_is_refused(place: Path) -> None:
    with pytest.raises(LimbeckError, match="folder/clip: takes no source") as told:
        load_recipe("folder/clip", {"source": str(place / "clip")})
    assert told.value.code == "E-CONFIG-KEY"


def test_the_source_stands_in_the_resolved_recipe(place: Path) -> None:
    resolved = load_recipe("hmid_net/from-pretrained", {"source": "models/clip"})
    assert resolved.last.method["teacher"] == "models/clip"
    assert "$source" not in resolved.to_yaml()
    again = load_recipe("hmid_net/from-pretrained", {"source": "models/other"})
    assert again.to_yaml().replace("models/other", "models/clip") == resolved.to_yaml()
