"""The dry run: made-up input, figures scaled from a small batch, recipes at the papers' scale."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from limbeck.training import dry_run as rehearsal
from limbeck.training.dry_run import dry_run
from limbeck.training.recipe import load_recipe
from raising import raises_code
from tiny import pixel_recipe, write_pairs

MERU = {"kind": "tangent", "dim": 8}


def small(pairs: Path, protocol: Path, **schedule: Any) -> dict[str, Any]:
    return pixel_recipe(pairs, protocol, {"name": "meru"}, MERU, **schedule)


def figures(line: str) -> tuple[str, str]:
    """Operations, and bytes a pair."""
    flops = re.search(r"([\d.]+ \wFLOP|[\d.]+ \w FLOP) per step", line)
    kept = re.search(r"([\d.]+ \wB) per pair", line)
    assert flops and kept, line
    return flops[1], kept[1]


def test_a_small_batch_tells_the_operations_of_the_whole(tmp_path: Path, retrieval: Path) -> None:
    recipe = load_recipe(small(write_pairs(tmp_path, pictures=16), retrieval, batch_size=32))
    whole, part = dry_run(recipe), dry_run(recipe, 4)
    assert whole[0] == part[0] == f"tiny/student: 40 training pairs, 8 held out, protocol {retrieval}"
    assert figures(whole[1])[0] == figures(part[1])[0]
    assert "batch 32, 1 steps per epoch" in part[1]
    assert "for 4 steps on this machine (from steps of 4 pairs, scaled to 32)" in part[1]
    assert "scaled" not in whole[1]
    assert re.search(
        r"memory about [\d.]+ MB \([\d.]+ \wB model and optimizer, .* per pair, 32 at once\)", part[1]
    )
    chunked = dry_run(load_recipe(small(tmp_path / "pairs", retrieval, batch_size=32, chunk=8)))
    assert "8 at once" in chunked[1]
    assert figures(chunked[1])[0] == figures(whole[1])[0]


def test_input_is_made_up_and_fills_the_vocabularies(
    tmp_path: Path, retrieval: Path, hashing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = small(tmp_path, retrieval, batch_size=512)
    del tree["data"]["pairs"]
    tree["towers"]["text"]["backbone"]["tokenizer"] = {"kind": "bpe", "vocabulary_size": 3000}
    lines = dry_run(load_recipe(tree))
    assert lines[0] == "tiny/student: generated input, no data.pairs"
    assert "batch 512, loss" in lines[1]
    embedding = 3000 * 16
    parameters = int(re.search(r"([\d,]+) parameters", lines[1])[1].replace(",", ""))  # type: ignore[index]
    assert embedding < parameters < embedding + 60_000
    tree["data"]["protocol"] = str(hashing)
    tree["lift"] = {"kind": "hash", "bits": 8}
    tree["stages"] = {"teacher": {"method": {"name": "soda-teacher"}}}
    tree["schedule"].pop("steps")
    tree["schedule"]["epochs"] = 2
    assert "time unknown without data" in dry_run(load_recipe(tree))[1]
    assert not list(tmp_path.iterdir())


def test_features_cannot_be_made_up(recipe: dict[str, Any]) -> None:
    del recipe["data"]["pairs"]
    with raises_code("E-OPTION-MISSING", "--data"):
        dry_run(load_recipe(recipe))


@pytest.mark.parametrize(("size", "width", "layers"), [("s", 384, 12), ("b", 768, 12), ("l", 1024, 24)])
def test_recipes_at_the_papers_scale_resolve(size: str, width: int, layers: int) -> None:
    recipe = load_recipe(f"hmid_net/paper-vit-{size}")
    teacher, student = recipe.stages.values()
    image, text = (getattr(student.towers, m).backbone for m in ("image", "text"))
    assert (image.image_size, image.patch_size, image.width, image.layers) == (224, 16, width, layers)
    assert (text.width, text.layers, text.context) == (512, 12, 77)
    assert (student.schedule.batch_size, student.schedule.steps) == (2048, 120_000)
    assert teacher.towers.image.backbone.width == 1024  # type: ignore[union-attr]
    assert image.augment.keeps_place


@pytest.mark.slow
def test_the_smallest_of_them_runs_two_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "FAKE_ROWS", 16)
    less = {"width": 384, "layers": 2, "heads": 12}
    recipe = load_recipe("hmid_net/paper-vit-s", {"stages.teacher.towers": {"image": {"backbone": less}}})
    lines = dry_run(recipe, 4)
    assert "student: hmid-net" in lines[2]
    assert "for 120,000 steps on this machine (from steps of 4 pairs, scaled to 2048); " in lines[2]
