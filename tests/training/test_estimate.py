"""``--gpu``: costs from configurations, against published sizes; scale recipes on tiny hub models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hub_models import write_clip
from limbeck.cli.app import app
from limbeck.encoders.sources import is_hub_id
from limbeck.training import dry_run as rehearsal
from limbeck.training.dry_run import dry_run
from limbeck.training.estimate import BUSY, GPUS, PUBLISHED, Cost, estimate, model_cost
from limbeck.training.recipe import list_recipes, load_recipe
from limbeck.training.units import short, span
from raising import raises_code

SCALE = [name for name in list_recipes() if "/scale-" in name]


@pytest.mark.parametrize(
    ("source", "parameters", "image_gflop"),
    [  # parameters of the published models without their logit scale; multiply-adds of CLIP's papers, doubled
        ("openai/clip-vit-base-patch32", 151_277_312, 8.8),
        pytest.param("openai/clip-vit-base-patch16", 149_620_736, 35.1, marks=pytest.mark.slow),
        pytest.param("openai/clip-vit-large-patch14", 427_616_512, 162.0, marks=pytest.mark.slow),
    ],
)
def test_costs_are_those_of_the_published_models(source: str, parameters: int, image_gflop: float) -> None:
    image, text = model_cost(source)
    assert image.parameters + text.parameters == parameters
    assert image.forward / 1e9 == pytest.approx(image_gflop, rel=0.01)


def test_masked_patches_cost_less(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, half = (model_cost("openai/clip-vit-base-patch32", shown)[0] for shown in (1.0, 0.5))
    assert half.parameters == whole.parameters
    assert 0.4 < half.forward / whole.forward < 0.55 and half.kept < 0.6 * whole.kept


def test_a_local_model_is_read_by_its_configuration_alone(tmp_path: Path) -> None:
    folder = write_clip(tmp_path / "clip")
    from limbeck.encoders.load import load

    loaded = load(folder)
    for weights in folder.glob("*.safetensors"):
        weights.unlink()
    image, text = model_cost(str(folder))
    parts = [(loaded.towers[m].backbone, loaded.lift.head(m)) for m in ("image", "text")]
    sizes = [sum(p.numel() for part in own for p in part.parameters()) for own in parts]
    assert [image.parameters, text.parameters] == sizes  # the projections are the heads of the lift


def figure(line: str, pattern: str) -> float:
    found = re.search(pattern, line)
    assert found, line
    return float(found[1].replace(",", ""))


def test_operations_memory_and_hours_follow_from_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    image, text = (Cost(86_000_000, 35e9, 90e6), Cost(63_000_000, 6e9, 30e6))
    monkeypatch.setattr("limbeck.training.estimate.model_cost", lambda source, shown=1.0: (image, text))
    recipe = load_recipe("soda/scale-b")
    lines = estimate(recipe, "a100")
    teacher, student = lines[1:6], lines[6:11]
    both = image.forward + text.forward
    assert teacher[0].startswith(
        "  teacher: soda-teacher, 149,000,000 parameters (149,000,000 trained, 0 frozen"
    )
    assert student[0].startswith("  student: soda-student") and "trained, 86,000,000 frozen" in student[0]
    flops = 2048 * 4 * both  # one forward, two for backward, one more for the chunks
    assert f"{short(flops)}FLOP per step of 2,048 pairs" in teacher[1]
    assert f"{short(2048 * (4 * text.forward + image.forward))}FLOP per step" in student[1]
    memory = 16 * 149_000_000 + 128 * (image.kept + text.kept)
    assert f"memory about {short(memory)}B per GPU" in teacher[2] and "fits A100 (80 GB)" in teacher[2]
    seconds = 10_000 * flops / (8 * BUSY * GPUS["a100"].peak)
    assert teacher[3].strip() == f"about {span(seconds)} for 10,000 steps on 8 × A100"
    assert "35% of 312 TFLOP/s" in teacher[4]


def test_what_does_not_fit_says_so_and_epochs_give_hours_per_million(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = (Cost(300_000_000, 160e9, 300e6), Cost(60_000_000, 6e9, 30e6))
    monkeypatch.setattr("limbeck.training.estimate.model_cost", lambda source, shown=1.0: costs)
    changes: dict[str, Any] = {"schedule.chunk": None, "compute.devices": 1, "schedule.epochs": 3}
    lines = estimate(load_recipe("soda/scale-l", changes), "rtx4090")
    assert "does not fit RTX 4090 (24 GB), lower schedule.chunk" in lines[3]
    assert "h per million pairs on 1 × RTX 4090 (3 epochs)" in lines[4]


@pytest.mark.parametrize("name", SCALE)
def test_every_scale_recipe_names_known_hub_models(name: str) -> None:
    text = str(load_recipe(name).model_dump(mode="json"))
    named = set(re.findall(r"(?:openai|laion)/[\w.-]+", text))
    assert named and named <= PUBLISHED.keys() and all(map(is_hub_id, named))


def test_the_command_needs_no_weights_and_no_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limbeck.training.estimate.model_cost", lambda *given: (Cost(10, 1e9, 1e6),) * 2)
    result = CliRunner().invoke(app, ["train", "hmid_net/scale-b", "--gpu", "h100"])
    assert result.exit_code == 0 and result.stdout.startswith("hmid_net/scale-b: from the configurations")


def test_wrong_requests_are_one_line(recipe: dict[str, Any]) -> None:
    with raises_code("E-OPTION-CHOICE", "h100"):
        estimate(load_recipe("hmid_net/scale-b"), "tpu")
    with raises_code("E-CONFIG-VALUE", "towers.image.backbone.kind", "'features'"):
        estimate(load_recipe(recipe), "h100")
    with raises_code("E-MODEL-DOWNLOAD", "hf download some/model config.json"):
        model_cost("some/model")


@pytest.mark.slow
@pytest.mark.parametrize("name", SCALE)
def test_every_scale_recipe_dry_runs_on_tiny_stand_ins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "FAKE_ROWS", 16)
    changes: dict[str, Any] = {"compute.precision": "32", "compute.accelerator": "cpu", "schedule.chunk": 4}
    tree = load_recipe(name).model_dump(mode="json")
    for number, modality in enumerate(("image", "text")):
        backbone = tree["stages"]["student"]["towers"][modality]["backbone"]
        if backbone.get("source"):
            changes[f"towers.{modality}.backbone.source"] = str(write_clip(tmp_path / modality, seed=number))
        else:
            changes[f"towers.{modality}.backbone.layers"] = 1
    if "teacher" in tree["stages"]["student"]["method"]:
        changes["stages.student.method.teacher"] = str(
            write_clip(tmp_path / "teacher", seed=2, image_size=24)
        )
    lines = dry_run(load_recipe(name, changes))
    assert lines[0] == f"{name}: generated input, no data.pairs"
    assert all("loss" in line and "nan" not in line for line in lines[1:])
    assert "4 at once" in lines[-1]
