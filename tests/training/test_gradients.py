"""Chunks and processes change nothing: the gradient is that of the whole batch in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from every_method import TRAINED, difference, recipes
from gloo_worker import gradients, method_and_batch, on_two_processes
from lightning_fabric import Fabric

from limbeck.methods import TrainState
from limbeck.training.step import forward_backward
from tiny import soda_recipe


def without_dropout(recipe: dict[str, Any]) -> dict[str, Any]:
    for tower in recipe["towers"].values():
        tower["dropout"] = 0.0
    return recipe


@pytest.fixture
def clip_recipe(pairs_dir: Path, retrieval: Path) -> dict[str, Any]:
    recipe = soda_recipe(pairs_dir, retrieval)
    recipe["lift"] = {"kind": "sphere", "dim": 6, "logit_scale": 2.0}
    recipe["stages"] = {"clip": {"method": {"name": "clip"}}}
    return recipe


def assert_close(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert one
    for name in one:
        largest = max(1.0, float(other[name].abs().max()))
        assert float((one[name] - other[name]).abs().max()) <= 1e-6 * largest, name


@pytest.mark.parametrize("chunk", [1, 3, 8, 15, 100])
@pytest.mark.parametrize("kind", ["soda", "clip"])
def test_chunks_give_the_gradient_of_the_whole_batch(
    recipe: dict[str, Any], clip_recipe: dict[str, Any], chunk: int, kind: str
) -> None:
    chosen = without_dropout(recipe if kind == "soda" else clip_recipe)
    whole, loss = gradients(chosen)
    chunked, again = gradients(chosen, chunk=chunk)
    assert again == pytest.approx(loss, abs=1e-6)
    assert_close(chunked, whole)
    if kind == "clip":
        assert "encoder.lift.log_logit_scale" in whole


def test_chunks_replay_their_dropout(recipe: dict[str, Any]) -> None:
    """Represented twice, a chunk draws the same masks: equal to one graph over the concatenated chunks."""
    method, batch = method_and_batch(recipe)
    method.train()
    fabric, state, chunk = Fabric(accelerator="cpu", devices=1), TrainState(0, 10, 0, 0), 5
    torch.manual_seed(7)
    parts = [method.encode_batch(batch.part(i, i + chunk)) for i in range(0, len(batch.ids), chunk)]
    expected = method.loss(type(parts[0]).concatenate(parts), state)
    expected.total.backward()
    after = torch.get_rng_state()
    wanted = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    method.zero_grad()
    torch.manual_seed(7)
    losses, _ = forward_backward(method, batch, state, fabric, chunk)
    assert losses.value == pytest.approx(expected.value, abs=1e-6)
    assert_close({n: p.grad for n, p in method.named_parameters() if p.grad is not None}, wanted)
    assert torch.equal(torch.get_rng_state(), after)
    masked = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    method.zero_grad()
    forward_backward(method, batch, state, fabric, chunk)
    assert any(not torch.equal(p.grad, masked[n]) for n, p in method.named_parameters() if p.grad is not None)


def assert_one_gradient(found: list[dict[str, Any]], name: str, recipe: dict[str, Any]) -> None:
    whole, loss = gradients(recipe)
    for own in found:
        assert own[name]["loss"] == pytest.approx(loss, rel=1e-5)
        for kind in ("whole", "chunked"):
            missing = {n: torch.zeros_like(g) for n, g in own[name][kind].items() if n not in whole}
            assert difference(own[name][kind], whole | missing) <= 1e-5, kind


def test_two_processes_give_the_gradient_of_one(
    tmp_path: Path, clip_recipe: dict[str, Any], recipe: dict[str, Any]
) -> None:
    """A contrastive term, whose negatives are global, and a pairwise likelihood over all pairs of codes."""
    both = {"clip": without_dropout(clip_recipe), "soda-teacher": without_dropout(recipe)}
    found = on_two_processes(tmp_path, both)
    for name, own in both.items():
        assert_one_gradient(found, name, own)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("every")
    found = recipes(folder)
    return found, on_two_processes(folder, found)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_every_method_has_one_gradient(every: tuple[dict[str, Any], list[dict[str, Any]]], name: str) -> None:
    assert_one_gradient(every[1], name, every[0][name])
