"""A number that is none stops training: tensor and step are named, the batch is kept, the rest is whole."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.data.batches import Batch
from limbeck.encoders.tensors import load_tensors
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.methods import Losses, Method, Outputs
from limbeck.methods.base import Embeddings
from limbeck.training import fit, train
from limbeck.training.nonfinite import check_gradients, check_losses
from raising import raises_code
from tiny import pixel_recipe, write_pairs

STEP = 3  # counted from 1, as messages count


@pytest.fixture(scope="session")
def pictures(place: Path) -> Path:
    (place / "guarded").mkdir()
    return write_pairs(place / "guarded", rows=60, pictures=16)


@pytest.fixture
def recipe(pictures: Path, retrieval: Path) -> dict[str, Any]:
    return pixel_recipe(pictures, retrieval, {"name": "meru"}, {"kind": "polar", "dim": 8}, log_every=1)


Spoil = Callable[[Method, dict[str, Any]], None]


def spoiled(monkeypatch: pytest.MonkeyPatch, before: Spoil | None = None, after: Spoil | None = None) -> None:
    """Something happens around the forward and backward pass of one step."""
    original = fit.forward_backward

    def wrapped(method: Method, batch: Batch, state: Any, *more: Any) -> Any:
        now = state.step + 1 == STEP
        if now and before is not None:
            before(method, batch)
        found = original(method, batch, state, *more)
        if now and after is not None:
            after(method, batch)
        return found

    monkeypatch.setattr(fit, "forward_backward", wrapped)


EMPTY = Batch({"image": {"pixels": torch.ones(1)}}, ["a"], torch.zeros(1, dtype=torch.int64))


def input_is_nan(method: Method, batch: Batch) -> None:
    batch.inputs["image"]["pixels"][5, 0, 0, 0] = math.nan


def input_is_infinite(method: Method, batch: Batch) -> None:
    batch.inputs["image"]["pixels"][5, 0, 0, 0] = math.inf


def weight_is_nan(method: Any, batch: Batch) -> None:
    with torch.no_grad():
        method.encoder.lift.heads["text"].direction.weight[0, 0] = math.nan


def gradient_is(value: float) -> Spoil:
    def spoil(method: Any, batch: Batch) -> None:
        method.encoder.lift.heads["text"].direction.weight.grad[0, 0] = value

    return spoil


NAMED = "gradient of encoder.lift.heads.text.direction.weight"


@pytest.mark.parametrize("chunk", [None, 5])
@pytest.mark.parametrize(
    ("before", "after", "what", "named"),
    [
        (input_is_nan, None, "loss", "input image.pixels"),
        (input_is_infinite, None, "loss", "input image.pixels"),
        (weight_is_nan, None, "loss", "rows text"),
        (None, gradient_is(math.nan), "gradient", NAMED),
        (None, gradient_is(math.inf), "gradient", NAMED),
        (None, gradient_is(3e38), "gradient", "norm of the gradients"),
    ],
)
def test_the_guard_names_tensor_and_step_and_keeps_the_batch(
    tmp_path: Path,
    recipe: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    before: Spoil | None,
    after: Spoil | None,
    what: str,
    named: str,
    chunk: int | None,
) -> None:
    spoiled(monkeypatch, before, after)
    recipe["schedule"]["chunk"] = chunk
    with pytest.raises(LimbeckError) as found:
        train(recipe, out=tmp_path / "run", quiet=True)
    stage = tmp_path / "run/stages/student"
    kept = stage / f"not-finite-{STEP:08d}"
    assert str(found.value) == (
        f"stage student: {what} is not finite at step {STEP} (first in: {named}); "
        f"the batch is saved in {kept}; lower optim.lr or check the features"
    )
    stored = read_json(kept / "batch.json")
    assert {k: stored[k] for k in ("step", "stage", "bad")} == {
        "step": STEP,
        "stage": "student",
        "bad": named,
    }
    tensors = load_tensors(kept / "batch.safetensors")
    assert set(tensors) == {"image.pixels", "text.input_ids", "text.attention_mask", "rows"}
    assert len(stored["ids"]) == len(tensors["image.pixels"]) == 16
    assert bool(torch.isfinite(tensors["image.pixels"]).all()) == (not named.startswith("input"))
    # The run can be looked at and gone on with: its record, the state before, no half-written file.
    names = {f.name for f in stage.iterdir()}
    assert names == {"metrics.jsonl", "clock.jsonl", "best-00000002", "state-00000002", kept.name}
    assert not [f for f in (tmp_path / "run").rglob("*") if f.name.endswith((".tmp", ".old"))]
    assert not (tmp_path / "run/model").exists()
    monkeypatch.undo()
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    assert train(recipe, out=tmp_path / "run", resume=True, quiet=True).is_dir()


def test_a_part_is_named(tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limbeck.methods.meru.entailment", lambda excess: excess.sum() * math.nan)
    with raises_code("E-TRAIN-NONFINITE", "step 1") as found:
        train(recipe, out=tmp_path / "run", quiet=True)
    assert "\n" not in str(found.value)
    # It failed before the first logged step: all that is left is what the message speaks of.
    kept = tmp_path / "run/stages/student/not-finite-00000001"
    assert load_tensors(kept / "batch.safetensors")["image.pixels"].shape == (16, 3, 16, 16)
    assert read_json(kept / "batch.json")["bad"] == "part entailment"


def test_what_a_teacher_is_shown_is_in_the_batch(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = train(recipe | {"schedule": recipe["schedule"] | {"steps": 1}}, out=tmp_path / "t", quiet=True)
    method = {"name": "hmid-net", "teacher": str(teacher), "decoder_width": 32}

    def spoil(method: Method, batch: Batch) -> None:
        batch.inputs["teacher_patches"].backbone_output[0, 0, 0] = math.nan

    spoiled(monkeypatch, before=spoil)
    recipe["stages"] = {"student": {"method": method}}
    with raises_code("E-TRAIN-NONFINITE", "teacher_patches.backbone_output"):
        train(recipe, out=tmp_path / "run", quiet=True)
    kept = tmp_path / f"run/stages/student/not-finite-{STEP:08d}"
    assert {"image.keep", "teacher_patches.backbone_output"} <= set(load_tensors(kept / "batch.safetensors"))


def test_finite_numbers_pass(tmp_path: Path) -> None:
    losses = Losses.weighted(a=(1.0, torch.tensor(2.0)), b=(0.0, torch.tensor(math.inf)))
    place = {"step": 0, "stage": "s", "folder": tmp_path}
    outputs = Embeddings(torch.ones(2), torch.ones(2))
    check_losses(losses, outputs, EMPTY, **place)  # type: ignore[arg-type]
    nothing: Any = torch.nn.Linear(1, 1)
    check_gradients(torch.tensor(1e30), nothing, EMPTY, **place)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_sum_that_overflows_is_called_so(tmp_path: Path) -> None:
    losses = Losses.weighted(a=(10.0, torch.tensor(3e38)))
    with raises_code("E-TRAIN-NONFINITE", "step 8"):
        check_losses(losses, Outputs(), EMPTY, step=7, stage="s", folder=tmp_path / "new")
    assert [f.name for f in (tmp_path / "new").iterdir()] == ["not-finite-00000008"]
