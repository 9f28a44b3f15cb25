"""Nested codes: the objective again by hand, prefixes as models of their own, what they are worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limbeck
from limbeck.cli.app import app
from limbeck.data.batches import Batches
from limbeck.errors import LimbeckError
from limbeck.evaluation import Result, evaluate
from limbeck.methods import Method, TrainState
from limbeck.methods.hashing.nested import first_bits
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import build_method, input_readers
from raising import raises_code
from tiny import DIM, soda_recipe, write_pairs, write_protocol


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nested")
    write_pairs(folder, rows=120)
    write_protocol(folder)
    return folder


def tree(place: Path, stages: dict[str, Any] | None = None, bits: int = 32) -> dict[str, Any]:
    recipe = soda_recipe(place / "pairs", place / "hashing.yaml", steps=40, validate_every=40)
    return recipe | {"lift": {"kind": "hash", "bits": bits}} | ({"stages": stages} if stages else {})


def made(place: Path, bits: int, name: str, **options: Any) -> tuple[Method, Batches]:
    resolved = load_recipe(tree(place, {"one": {"method": {"name": name, **options}}}, bits))
    data = open_data(resolved)
    method = build_method(resolved.last, data, {}, 0)
    return method.eval(), Batches(data.train, input_readers(method, data.train), batch_size=16, seed=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("soda-teacher", {}),
        ("soda-teacher", {"buffer": True}),
        ("soda-student", {"target": "codes"}),
        ("soda-student", {"target": "relaxed", "buffer": True}),
        ("direct-hashing", {}),
        ("image-teacher", {}),
    ],
)
@pytest.mark.parametrize("epoch", [0, 3])
def test_objective_is_the_mean_over_models_of_these_lengths(
    place: Path, name: str, options: dict[str, Any], epoch: int
) -> None:
    weights = [0.5, 2.0]
    nested, batches = made(place, 32, name, prefixes=[8, 16], prefix_weights=weights, **options)
    reps = nested.encode_batch(batches.at(0))
    n, rng = len(batches.view), np.random.default_rng(0)
    kept = {side: torch.from_numpy(np.tanh(rng.standard_normal((n, 32)))) for side in ("image", "text")}
    labels = batches.view.labels
    assert labels is not None
    state, expected = TrainState(0, 10, epoch, 0), 0.0
    for bits, weight in zip([32, 8, 16], [1.0, *weights], strict=True):
        alone, _ = made(place, bits, name, **options)  # a model of that length, given these bits as its codes
        for method, width in ((alone, bits), (nested, 32)):
            if options.get("buffer"):
                cut = {side: codes[:, :width] for side, codes in kept.items()}
                method.buffer.write(torch.arange(n), labels, **cut)  # type: ignore[union-attr, operator]
        own = first_bits(reps, bits)
        expected += weight * alone.loss(own, state).value / 3.5
    losses = nested.loss(reps, state)
    assert losses.value == pytest.approx(expected, abs=1e-6)
    assert {"likelihood", "first_8", "first_16"} <= set(losses.parts)
    losses.total.backward()


@pytest.fixture(scope="module")
def runs(place: Path) -> dict[str, Path]:
    found = {}
    for name, options in (("plain", {}), ("nested", {"prefixes": [8]})):
        recipe = tree(place)
        for stage in recipe["stages"].values():
            stage["method"] |= options
        found[name] = train(recipe, out=place / name, quiet=True)
    return found


def test_prefix_of_a_model_gives_the_first_bits(runs: dict[str, Path], tmp_path: Path) -> None:
    model = limbeck.load(runs["nested"])
    rows = np.random.default_rng(0).random((50, DIM)).astype(np.float32)
    texts = ["cat sky", "dog", "tree extra1"]
    model.prefix(8).save(tmp_path / "cut")
    for cut in (model.prefix(8), limbeck.load(tmp_path / "cut")):
        assert cut.space == model.space.prefix(8)  # type: ignore[attr-defined]
        np.testing.assert_array_equal(cut.encode_image(rows), model.encode_image(rows)[:, :1])
        np.testing.assert_array_equal(cut.encode_text(texts), model.encode_text(texts)[:, :1])
        assert cut.space_id != model.space_id
    signs = torch.tensor([[1.0, -1, 1, 1, 1, 1, 1, 1]]), torch.ones(1, 8)
    assert float(model.prefix(8).lift.distance(*signs)) == 1


def test_a_row_of_its_own(runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    app(["evaluate", str(runs["nested"]), "--bits", "8", "--no-ceiling"], standalone_mode=False)
    found = Result.load(runs["nested"] / "result-8bits.json")
    assert (found.label, found.bits) == ("tiny/soda, 32 bits, first 8", 8)
    assert evaluate(runs["nested"], ceiling=False, bits=32).label == "tiny/soda"
    whole = Result.load(runs["nested"] / "result.json")
    assert whole.bits == 32
    plain = evaluate(runs["plain"], ceiling=False, bits=8)
    gap = {name: r.mean("map") for name, r in {"nested": found, "plain": plain, "whole": whole}.items()}
    assert gap["nested"] > gap["plain"]  # type: ignore[operator]
    assert gap["nested"] > gap["whole"] - 0.1  # type: ignore[operator]


def test_wrong_lengths(runs: dict[str, Path], place: Path) -> None:
    with raises_code("E-CODES-LENGTH", "32-bit", "40 bits"):
        evaluate(runs["nested"], bits=40)
    with raises_code("E-CODES-LENGTH", "bits:", "12", "of 8"):
        evaluate(runs["nested"], bits=12)
    with raises_code("E-CODES-LENGTH", "prefixes:", "32 bits", "32"):
        made(place, 32, "soda-teacher", prefixes=[8, 32])
    for options, said in (
        ({"prefixes": [16, 8]}, "ascending"),
        ({"prefixes": [12]}, "multiple of 8"),
        ({"prefixes": [8], "prefix_weights": [1.0, 1.0]}, "as many prefix_weights"),
    ):
        with pytest.raises(LimbeckError, match=said):
            made(place, 32, "soda-student", **options)


def test_vectors_have_no_prefix(place: Path) -> None:
    recipe = tree(place, {"clip": {"method": {"name": "clip"}}}) | {"lift": {"kind": "sphere", "dim": 8}}
    run = train(recipe, out=place / "clip", quiet=True, overrides={"schedule.steps": 2})
    with raises_code("E-OPTION-UNUSED", "bits:"):
        evaluate(run, bits=8)


def test_the_recipe_nests_every_stage() -> None:
    nested, base = load_recipe("soda/mirflickr-nested"), load_recipe("soda/mirflickr")
    assert all(stage.method["prefixes"] == [16, 32] for stage in nested.stages.values())
    assert all(nested.stages[name].schedule == stage.schedule for name, stage in base.stages.items())
