"""HMID-Net's moving average, and the loop around it: no mask in evaluation, chunks, resume."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from hmid_runs import BATCH, built, hmid
from limbeck.methods import TrainState
from limbeck.methods.ema import MovingAverage
from limbeck.training import train
from limbeck.training.data import open_data
from limbeck.training.recipe import load_recipe
from limbeck.training.stages import input_readers
from limbeck.training.step import forward_backward


# ------------------------------------------------------------------------------ moving average
def test_momentum_rises_along_a_cosine() -> None:
    average = MovingAverage(torch.nn.Linear(2, 2), 0.9)
    assert [average.momentum(s) for s in (0.0, 0.5, 1.0)] == pytest.approx([0.9, 0.95, 1.0])
    assert MovingAverage(torch.nn.Linear(2, 2)).momentum(0.25) == pytest.approx(
        1 - 0.004 * (math.cos(math.pi / 4) + 1) / 2
    )


def test_the_average_is_an_average() -> None:
    torch.manual_seed(0)
    module: Any = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5))
    module[0].bias.requires_grad_(False)
    average = MovingAverage(module, 0.9)
    wanted = module[0].weight.detach().double()
    frozen = module[0].bias.detach().clone()
    for step in range(4):
        with torch.no_grad():
            module[0].weight.add_(torch.randn(3, 3))
            module[1].running_mean.fill_(step)
        average.update(module, step / 4)
        momentum = 1 - 0.1 * (math.cos(math.pi * step / 4) + 1) / 2
        wanted = momentum * wanted + (1 - momentum) * module[0].weight.detach().double()
    slow: Any = average.module
    torch.testing.assert_close(slow[0].weight.double(), wanted, rtol=1e-6, atol=1e-6)
    assert torch.equal(slow[0].bias, frozen)
    assert torch.equal(slow[1].running_mean, module[1].running_mean)
    average.train()
    assert not any(m.training for m in average.modules())
    assert not any(p.requires_grad for p in average.parameters())


def test_after_a_step_the_average_follows(place: Path) -> None:
    method, _ = built(hmid(place, ema_momentum=0.5))
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(1.0)
    old = {n: t.clone() for n, t in method.average.module.state_dict().items()}
    method.after_step({}, TrainState(0, 10, 0, 0))
    student = {"lift": method.encoder.lift, **method.encoder.towers}
    new = torch.nn.ModuleDict(student).state_dict()
    for name, tensor in method.average.module.state_dict().items():
        torch.testing.assert_close(tensor, (old[name] + new[name]) / 2, msg=name)


# ------------------------------------------------------------------------------ the loop around it
def test_evaluation_is_never_masked(place: Path, teachers: dict[str, Path], tmp_path: Path) -> None:
    tree = hmid(place, teachers["features"], mask={"ratio": 0.75})
    method, batch = built(tree)
    assert batch.inputs["image"]["keep"].shape == (BATCH, 4)
    data = open_data(load_recipe(tree))
    held_out = input_readers(method, data.held_out, teachers=False)
    assert set(held_out["image"].inputs(np.arange(4))) == {"pixels"}
    pictures = [data.pairs.open_image(i) for i in range(3)]
    whole = method.encoder.towers["image"].backbone.collate(pictures)
    points = method.encoder.embed("image", whole).detach().numpy()
    np.testing.assert_array_equal(method.encoder.encode_image(pictures), points)


@pytest.mark.parametrize("teacher", ["pixels", "ema"])
@pytest.mark.parametrize("chunk", [1, 5])
def test_chunks_give_the_gradient_of_the_whole_batch(
    place: Path, teachers: dict[str, Path], teacher: str, chunk: int
) -> None:
    found = []
    for size in (None, chunk):
        method, batch = built(hmid(place, teachers.get(teacher, teacher)))
        fabric = Fabric(accelerator="cpu", devices=1)
        losses, _ = forward_backward(method, batch, TrainState(5, 10, 0, 0), fabric, size)
        found.append((losses.value, {n: p.grad for n, p in method.named_parameters() if p.grad is not None}))
    (loss, whole), (again, parts) = found
    assert again == pytest.approx(loss, rel=1e-5)
    assert parts.keys() == whole.keys()
    assert {"decoder.mask_token", "encoder.lift.log_curv", "temperature.log_logit_scale"} <= whole.keys()
    for name, wanted in whole.items():
        assert wanted is not None
        torch.testing.assert_close(parts[name], wanted, rtol=1e-3, atol=2e-6, msg=name)


@pytest.mark.parametrize("teacher", ["pixels", "ema"])
def test_resumed_training_is_the_same_to_the_byte(
    place: Path, teachers: dict[str, Path], teacher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, decoder, moving average and optimizer, in the checkpoint before the last step."""
    from limbeck.training import fit

    tree = hmid(place, teachers.get(teacher, teacher))
    original, stops = fit.forward_backward, {"at": 0}

    def stopping(method: Any, batch: Any, state: TrainState, *more: Any) -> Any:
        if state.step + 1 == stops["at"]:
            import signal

            signal.raise_signal(signal.SIGINT)
        return original(method, batch, state, *more)

    monkeypatch.setattr(fit, "forward_backward", stopping)
    states = []
    for run, pauses in (("whole", [3]), ("resumed", [1, 3])):
        for stops["at"] in pauses:
            with pytest.raises(fit.Interrupted):
                train(tree, out=tmp_path / run, resume=True, quiet=True)
        states.append((tmp_path / run / "stages/student/state-00000003/state.safetensors").read_bytes())
    assert states[0] == states[1]
    stops["at"] = 0
    runs = [train(tree, out=tmp_path / run, resume=True, quiet=True) for run in ("whole", "resumed")]
    one, other = ((run / "model/model.safetensors").read_bytes() for run in runs)
    assert one == other
