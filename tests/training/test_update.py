"""From gradients to weights: rates by layer, average of the weights, fp16, recomputed and compiled blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from gloo_worker import gradients, method_and_batch
from lightning_fabric import Fabric
from test_checkpoint import stop_at

from limbeck.encoders.tensors import load_tensors
from limbeck.errors import LimbeckError
from limbeck.methods import Method, TrainState
from limbeck.training import train
from limbeck.training.average import WeightAverage
from limbeck.training.blocks import apply_compute, levels
from limbeck.training.compute import ComputeConfig
from limbeck.training.data import open_data
from limbeck.training.flops import count_flops
from limbeck.training.optim import build_optimizer
from limbeck.training.recipe import OptimConfig, load_recipe
from limbeck.training.run import start_fabric
from limbeck.training.saved_bytes import SavedBytes
from limbeck.training.stages import build_method
from limbeck.training.step import forward_backward
from limbeck.training.update import LEAST_SCALE, Update
from tiny import pixel_recipe, write_pairs

STATE = TrainState(0, 10, 0, 0)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory, retrieval: Path) -> dict[str, Any]:
    """CLIP with towers of three blocks."""
    pairs = write_pairs(tmp_path_factory.mktemp("pixels"), pictures=16)
    tree = pixel_recipe(pairs, retrieval, {"name": "clip"}, {"kind": "sphere", "dim": 8})
    for tower in tree["towers"].values():
        tower["backbone"]["layers"] = 3
    return tree


def built(tree: dict[str, Any]) -> Method:
    resolved = load_recipe(tree)
    return build_method(next(iter(resolved.stages.values())), open_data(resolved), {}, 0)


def silent(line: str) -> None:
    raise AssertionError(line)


def test_rates_fall_by_the_level_of_the_layer(pixels: dict[str, Any]) -> None:
    method = built(pixels)
    optimizer, names = build_optimizer(
        method, OptimConfig(lr=1.0, backbone_lr={"image": 0.1}, layer_decay={"image": 0.5})
    )
    rates = [group["base_lr"] for group in optimizer.param_groups for _ in group["params"]]
    found = dict(zip(names, rates, strict=True))
    assert len(found) == len(list(method.parameters()))
    for name, rate in found.items():
        wanted = 1.0
        if "towers.image.backbone" in name:
            block = next((n for n in range(3) if f"layers.{n}." in name), None)
            above = 4 if "embedding" in name or "pre_" in name else 0 if block is None else 3 - block
            wanted = 0.1 * 0.5**above
        assert rate == pytest.approx(wanted), name
    assert {round(rate, 6) for rate in rates} == {1.0, 0.1, 0.05, 0.025, 0.0125, 0.00625}


def test_a_tower_without_blocks_has_one_level(recipe: dict[str, Any]) -> None:
    backbone = built(recipe).encoder.towers["image"].backbone
    assert set(levels(backbone).values()) <= {0}


def test_the_average_is_that_of_its_formula() -> None:
    p = torch.nn.Parameter(torch.tensor([0.0]))
    average = WeightAverage({"p": p}, 0.5)
    wanted = 0.0
    for step, value in enumerate([1.0, -2.0, 5.0, 7.0, 3.0, 8.0, 1.0, 2.0, 4.0]):
        with torch.no_grad():
            p.fill_(value)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * value
        assert float(average.weights["p"]) == pytest.approx(wanted, rel=1e-6)
    with average.in_place():
        assert float(p.detach()) == pytest.approx(wanted, rel=1e-6)
    assert float(p.detach()) == 4.0


def test_the_saved_model_is_the_average_and_a_resumed_run_has_the_same(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe["optim"]["ema"] = 0.9
    recipe["schedule"] |= {"select": "last", "steps": 6}
    recipe["stages"] = {"teacher": recipe["stages"]["teacher"]}
    apply, wanted = Update.apply, {}

    def noted(self: Update, norm: torch.Tensor, outputs: Any, state: TrainState) -> None:
        start = not wanted
        if start:
            wanted.update({n: p.detach().clone() for n, p in self.method.named_parameters()})
        apply(self, norm, outputs, state)
        decay = min(0.9, (1 + state.step) / (10 + state.step))
        for name, p in self.method.named_parameters():
            wanted[name] = decay * wanted[name] + (1 - decay) * p.detach()

    with monkeypatch.context() as patch:
        patch.setattr(Update, "apply", noted)
        whole = train(recipe, out=tmp_path / "whole", quiet=True)
    saved = load_tensors(whole / "model/model.safetensors")
    for name, weight in wanted.items():
        torch.testing.assert_close(saved[name.removeprefix("encoder.")], weight, rtol=1e-5, atol=1e-6)
    halves = train(recipe, out=stop_at(3, tmp_path / "halves", recipe), resume=True, quiet=True)
    file = "model/model.safetensors"
    assert (halves / file).read_bytes() == (whole / file).read_bytes()


def stepped(
    tree: dict[str, Any], precision: str, scale: float
) -> tuple[Update, dict[str, torch.Tensor], bool]:
    """An update after one step, the step's gradients without the scale, and whether they overflowed."""
    method, batch = method_and_batch(tree)
    fabric = start_fabric(load_recipe(tree, {"compute.precision": precision}))
    update = Update(method, OptimConfig(), scaled=precision == "fp16")
    if update.scaler.is_enabled():
        update.scaler.load_state_dict(update.scaler.state_dict() | {"scale": scale})
    _, outputs = forward_backward(method, batch, STATE, fabric, 5, update.scaler.scale)
    norm = update.gradients()
    grads = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    overflowed = update.overflowed(norm)
    update.apply(norm, outputs, STATE)
    return update, grads, overflowed


def test_fp16_scales_the_loss_and_not_the_gradients(pixels: dict[str, Any]) -> None:
    _, wanted, _ = stepped(pixels, "32", 1.0)
    update, found, overflowed = stepped(pixels, "fp16", 2.0**10)
    assert (overflowed, update.scaler.get_scale()) == (False, 2.0**10)
    whole = torch.cat([grad.flatten() for grad in wanted.values()])
    half = torch.cat([found[name].flatten() for name in wanted])
    assert half.dtype == torch.float32
    assert 1e-6 < float((half - whole).norm() / whole.norm()) < 0.02


def test_fp16_skips_a_step_that_overflows(pixels: dict[str, Any]) -> None:
    before = {n: p.detach().clone() for n, p in method_and_batch(pixels)[0].named_parameters()}
    update, _, overflowed = stepped(pixels, "fp16", 2.0**40)
    assert (overflowed, update.scaler.get_scale()) == (True, 2.0**39)
    assert all(torch.equal(p, before[n]) for n, p in update.method.named_parameters())
    update.scaler.load_state_dict(update.scaler.state_dict() | {"scale": LEAST_SCALE})
    assert not update.overflowed(torch.tensor(float("inf")))  # the run stops at once


def test_fp16_goes_on_with_its_scale(tmp_path: Path, pixels: dict[str, Any]) -> None:
    tree = pixels | {"compute": pixels["compute"] | {"precision": "fp16"}}
    tree["schedule"] = pixels["schedule"] | {"select": "last"}
    whole = train(tree, out=tmp_path / "whole", quiet=True)
    halves = train(tree, out=stop_at(3, tmp_path / "halves", tree), resume=True, quiet=True)
    for file in ("model/model.safetensors", "stages/student/metrics.jsonl"):
        assert (halves / file).read_bytes() == (whole / file).read_bytes()
    assert '"loss_scale": ' in (whole / "stages/student/metrics.jsonl").read_text()


def kept_bytes(method: Method, batch: Any, chunk: int | None) -> tuple[int, dict[str, torch.Tensor]]:
    """The bytes that the backward pass keeps, and the gradients."""
    torch.manual_seed(3)
    method.train()
    with SavedBytes(method) as saved:
        forward_backward(method, batch, STATE, Fabric(accelerator="cpu", devices=1), chunk)
    return saved.bytes, {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("chunk", [None, 6])
def test_recomputed_blocks_have_the_same_gradients_in_less_memory(
    pixels: dict[str, Any], chunk: int | None
) -> None:
    method, batch = method_and_batch(pixels)
    for part in method.modules():
        if hasattr(part, "attention_dropout") or hasattr(part, "dropout"):
            part.dropout = 0.3  # attention draws, and draws the same again
    kept, wanted = kept_bytes(method, batch, chunk)
    method.zero_grad()
    apply_compute(method, ComputeConfig(recompute=True), Fabric(accelerator="cpu", devices=1), silent)
    less, found = kept_bytes(method, batch, chunk)
    assert all(torch.equal(found[name], grad) for name, grad in wanted.items())
    assert less < kept / 2


def test_recomputing_counts_operations_once(pixels: dict[str, Any]) -> None:
    method, batch = method_and_batch(pixels)
    fabric: Any = Fabric(accelerator="cpu", devices=1)

    class Batches:
        batch_size = len(batch)

        def at(self, step: int) -> Any:
            return batch

    batches: Any = Batches()
    counted = count_flops(method, batches, fabric, 0)
    apply_compute(method, ComputeConfig(recompute=True), fabric, silent)
    assert count_flops(method, batches, fabric, 0) == counted


def test_compile_takes_the_blocks_of_trained_towers(
    pixels: dict[str, Any], recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda block: compiled.append(block))
    method, fabric = built(pixels), Fabric(accelerator="cpu", devices=1)
    method.encoder.towers["text"].requires_grad_(False)
    apply_compute(method, ComputeConfig(compile=True), fabric, silent)
    parts = method.encoder.towers["image"].modules()
    assert compiled == [part for part in parts if type(part).__name__ == "CLIPEncoderLayer"]
    assert len(compiled) == 3
    said: list[str] = []
    apply_compute(built(recipe), ComputeConfig(compile=True), fabric, said.append)
    assert said == ["compute.compile has no effect here: no trained tower has transformer blocks"]


@pytest.mark.slow
def test_compiled_blocks_have_the_same_gradients(pixels: dict[str, Any]) -> None:
    wanted, _ = gradients(pixels, state=STATE)
    method, batch = method_and_batch(pixels)
    fabric = Fabric(accelerator="cpu", devices=1)
    apply_compute(method, ComputeConfig(compile=True, recompute=True), fabric, silent)
    forward_backward(method, batch, STATE, fabric, 5)
    for name, p in method.named_parameters():
        torch.testing.assert_close(p.grad, wanted[name], rtol=1e-4, atol=1e-5)


def test_one_process_cannot_share_a_teacher(pixels: dict[str, Any]) -> None:
    with pytest.raises(LimbeckError, match=r"compute\.shard .*set compute\.devices to 2 or more") as found:
        apply_compute(built(pixels), ComputeConfig(shard=True), Fabric(accelerator="cpu", devices=1), silent)
    assert found.value.code == "E-CONFIG-VALUE"
