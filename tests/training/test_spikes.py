"""Loss spikes: what is skipped, what counts, and that nothing changes where nothing spikes."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.encoders.tensors import load_tensors
from limbeck.training import fit, train
from limbeck.training.spikes import FEWEST, WINDOW, Spikes

WEIGHTS = "stages/teacher/model/model.safetensors"


def fed(spikes: Spikes, values: list[tuple[float, float]]) -> list[bool]:
    return [spikes.skips(loss, norm) for loss, norm in values]


def test_high_losses_and_norms_are_skipped_and_counted() -> None:
    extra: dict[str, Any] = {}
    spikes = Spikes(10, extra)
    calm = [(2.0 + 0.01 * (i % 5), 1.0) for i in range(FEWEST)]
    assert not any(fed(spikes, calm))
    assert fed(spikes, [(2.0, 11.0), (2.0, 9.9), (4.2, 1.0), (3.9, 1.0)]) == [True, False, True, False]
    assert spikes.figures == {"skipped_spikes": 2} and extra["spikes"]["skipped"] == 2


def test_nothing_is_skipped_before_there_is_a_median() -> None:
    assert not any(fed(Spikes(10, {}), [(1.0, 1.0)] * (FEWEST - 1) + [(99.0, 99.0)]))


def test_a_loss_near_zero_or_below_is_judged_by_its_spread() -> None:
    spikes = Spikes(10, {})
    fed(spikes, [(-1.0 + 0.1 * (i % 3), 1.0) for i in range(30)])
    assert fed(spikes, [(0.0, 1.0), (0.3, 1.0)]) == [False, True]


def test_a_new_level_is_accepted_after_half_a_window() -> None:
    spikes = Spikes(10, {})
    fed(spikes, [(1.0, 1.0)] * WINDOW)
    skipped = fed(spikes, [(1.0, 50.0)] * WINDOW)
    assert sum(skipped) == WINDOW // 2 and not skipped[-1]
    assert len(spikes.state["norms"]) == WINDOW


def test_the_first_process_decides() -> None:
    spikes = Spikes(10, {}, lambda own: True)
    assert spikes.skips(1.0, 1.0) and spikes.figures == {"skipped_spikes": 1}


def test_off_keeps_no_state() -> None:
    extra: dict[str, Any] = {}
    assert not Spikes(None, extra).skips(1e9, 1e9) and not extra and Spikes(None, extra).figures == {}


def test_without_a_spike_every_bit_is_that_of_a_run_without_the_guard(
    tmp_path: Path, recipe: dict[str, Any], whole_run: Path
) -> None:
    recipe["optim"]["skip_spikes"] = 10
    run = train(recipe, out=tmp_path / "run", quiet=True)
    guarded, plain = load_tensors(run / WEIGHTS), load_tensors(whole_run / WEIGHTS)
    assert all(torch.equal(guarded[name], plain[name]) for name in plain)
    rows = [json.loads(line) for line in (run / "stages/teacher/metrics.jsonl").read_text().splitlines()]
    before = [
        json.loads(line) for line in (whole_run / "stages/teacher/metrics.jsonl").read_text().splitlines()
    ]
    assert [row | {"skipped_spikes": 0} for row in before] == rows


def test_a_skipped_step_changes_no_weight(
    tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Second(Spikes):
        def skips(self, loss: float, norm: float) -> bool:
            seen.append(self.weights())
            return len(seen) == 2

        def weights(self) -> list[torch.Tensor]:
            return [p.detach().clone() for p in self.parameters]

    def build(*given: Any) -> Spikes:
        made = Second(*given)
        made.parameters = parameters
        return made

    parameters: list[torch.Tensor] = []
    growth = fit.WeightGrowth

    def note(own: list[torch.Tensor], extra: dict[str, Any]) -> Any:
        parameters[:] = own
        return growth(own, extra)

    monkeypatch.setattr(fit, "WeightGrowth", note)
    monkeypatch.setattr(fit, "Spikes", build)
    recipe["stages"] = {"teacher": recipe["stages"]["teacher"]}
    recipe["schedule"]["steps"] = 4
    train(recipe, out=tmp_path / "run", quiet=True)
    same = [all(map(torch.equal, one, two)) for one, two in itertools.pairwise(seen)]
    assert same == [False, True, False]


def test_the_window_survives_a_resume() -> None:
    extra: dict[str, Any] = {}
    one = Spikes(10, extra)
    fed(one, [(1.0, 1.0)] * 30)
    again = Spikes(10, json.loads(json.dumps(extra)))
    assert again.state == one.state and again.skips(1.0, 11.0)
