"""The cost of a stage: operations against a count by hand, a clock that survives a stop, memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from limbeck.data.batches import Batches
from limbeck.methods import TrainState
from limbeck.training import train
from limbeck.training.cost import StageClock, peak_memory
from limbeck.training.data import open_data
from limbeck.training.fit import Interrupted
from limbeck.training.flops import count_flops, extrapolate
from limbeck.training.recipe import load_recipe
from limbeck.training.run import start_fabric
from limbeck.training.stages import build_method, input_readers
from limbeck.training.step import forward_backward
from tiny import pixel_recipe


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.parametrize("method", ["clip", "soda"])
def test_flops_of_a_step_equal_a_count_of_the_whole_batch(
    method: str, pairs_dir: Path, hashing: Path, retrieval: Path, tmp_path: Path, recipe: dict[str, Any]
) -> None:
    from tiny import write_pairs

    if method == "clip":
        pairs = write_pairs(tmp_path, pictures=16)
        recipe = pixel_recipe(pairs, retrieval, {"name": "clip"}, {"kind": "sphere", "dim": 8}, batch_size=36)
    else:
        recipe["schedule"]["batch_size"] = 36
    resolved = load_recipe(recipe)
    data, fabric, stage = open_data(resolved), start_fabric(resolved), next(iter(resolved.stages.values()))
    built = build_method(stage, data, {}, 0)
    batches = Batches(data.train, input_readers(built, data.train), batch_size=36, seed=0)
    before = torch.get_rng_state()
    counted = count_flops(built, batches, fabric, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in built.parameters())
    with (
        FlopCounterMode(display=False) as counter,
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        state = TrainState(step=0, total_steps=1, epoch=0, seed=0)
        forward_backward(built, batches.at(0), state, fabric, None)
    assert counted == counter.get_total_flops() > 0


def test_operations_of_texts_of_many_lengths_are_those_of_the_batch_or_nearly(
    retrieval: Path, tmp_path: Path
) -> None:
    """Few pairs have another mix of lengths than the batch; the count was below 0 for some orders."""
    from tiny import write_pairs

    pairs = write_pairs(tmp_path, pictures=48)
    for seed in range(4):
        recipe = pixel_recipe(pairs, retrieval, {"name": "clip"}, {"kind": "sphere", "dim": 8}, batch_size=32)
        resolved = load_recipe(recipe)
        data, fabric, stage = (
            open_data(resolved),
            start_fabric(resolved),
            next(iter(resolved.stages.values())),
        )
        built = build_method(stage, data, {}, 0)
        batches = Batches(data.train, input_readers(built, data.train), batch_size=32, seed=seed)
        whole = count_flops(built, batches, fabric, 0)
        few = count_flops(built, batches, fabric, 0, counted=8)
        assert abs(few - whole) < 0.25 * whole


def test_labels_take_no_gradient_where_their_weights_count(recipe: dict[str, Any], pairs_dir: Path) -> None:
    """``rarity`` weighs the likelihood by the labels, and torch refuses weights that take a gradient."""
    recipe["stages"]["teacher"]["method"]["rarity"] = 0.5
    recipe["schedule"]["batch_size"] = 36
    resolved = load_recipe(recipe)
    data, fabric = open_data(resolved), start_fabric(resolved)
    built = build_method(resolved.stages["teacher"], data, {}, 0)
    batches = Batches(data.train, input_readers(built, data.train), batch_size=36, seed=0)
    few, whole = (count_flops(built, batches, fabric, 0, counted=n) for n in (12, 36))
    assert few == pytest.approx(whole, rel=0.05)  # bags of words differ in length


def test_extrapolation_is_exact_for_parabolas() -> None:
    def cost(n: int) -> int:
        return 7 + 11 * n + 3 * n * n

    assert extrapolate({n: cost(n) for n in (8, 12, 16)}, 2048) == cost(2048)


def test_record_and_clock(whole_run: Path) -> None:
    record = json.loads((whole_run / "stages/student/efficiency.json").read_text())
    assert record["pairs"] == 15 * 16
    assert record["pairs_per_second"] == pytest.approx(record["pairs"] / record["seconds"], rel=0.05)
    assert record["flops_per_step"] > 0
    assert 50e6 < record["peak_memory"] < 20e9
    clock = lines(whole_run / "stages/student/clock.jsonl")
    assert [row["step"] for row in clock] == list(range(1, 16))
    seconds = [row["seconds"] for row in clock]
    assert seconds == sorted(seconds)


def test_the_clock_leaves_validation_out_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("limbeck.training.cost.time.monotonic", lambda: now[0])
    clock = StageClock(tmp_path, 4, step=0, seconds=0.0)
    now[0] += 2
    clock.note(1)
    with clock.pause():
        now[0] += 50
    now[0] += 1
    clock.note(2)
    again = StageClock(tmp_path, 4, step=1, seconds=2.0)  # killed; the state of step 1 counts
    now[0] += 3
    again.note(2)
    again.finish(2, None)
    assert [row["seconds"] for row in lines(tmp_path / "clock.jsonl")] == [2.0, 5.0]
    record = json.loads((tmp_path / "efficiency.json").read_text())
    assert (record["pairs"], record["seconds"], record["pairs_per_second"]) == (8, 5.0, 1.6)


def test_peak_memory_is_of_this_run() -> None:
    from limbeck.training.cost import reset_peak

    block = torch.ones(64 * 1024 * 1024)
    high = peak_memory()
    del block
    reset_peak()
    if peak_memory() == high:
        pytest.skip("this system cannot start a new peak")
    assert peak_memory() < high - 100e6


def test_a_stopped_run_keeps_its_time(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from limbeck.training import fit

    original, calls = fit.forward_backward, 0

    def counted(*given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 7:
            signal.raise_signal(signal.SIGTERM)
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "forward_backward", counted)
        with pytest.raises(Interrupted):
            train(recipe, out=tmp_path / "run", quiet=True)
    train(recipe, out=tmp_path / "run", resume=True, quiet=True)
    clock = lines(tmp_path / "run/stages/teacher/clock.jsonl")
    assert [row["step"] for row in clock] == list(range(1, 16))
    seconds = [row["seconds"] for row in clock]
    assert seconds == sorted(seconds)
