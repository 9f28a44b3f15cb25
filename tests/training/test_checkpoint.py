"""Checkpoints that are damaged, foreign or could not be written: one line, and the older one still counts."""

from __future__ import annotations

import errno
import math
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.files import read_json, write_json
from limbeck.methods import Method
from limbeck.training import train
from limbeck.training.checkpoint import CheckpointFolder, Progress
from limbeck.training.data import open_data
from limbeck.training.fit import Interrupted
from limbeck.training.optim import build_optimizer
from limbeck.training.recipe import OptimConfig, load_recipe
from limbeck.training.stages import build_method
from tiny import pixel_recipe

IDENTITY = {"method": "soda-teacher", "recipe": "abc"}


@pytest.fixture
def method(recipe: dict[str, Any]) -> Method:
    resolved = load_recipe(recipe)
    return build_method(resolved.stages[0], open_data(resolved), {}, 0)[0]


@pytest.fixture
def stopped_run(tmp_path: Path, recipe: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run interrupted in its first stage after 5 steps."""
    from limbeck.training import fit

    original, calls = fit.forward_backward, []

    def stop_at_five(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "forward_backward", stop_at_five)
        with pytest.raises(Interrupted):
            train(recipe, out=tmp_path / "run", quiet=True)
    return tmp_path / "run"


def one_step(method: Method, optimizer: torch.optim.Optimizer) -> None:
    for p in method.parameters():
        p.grad = torch.randn_like(p)
    optimizer.step()


def snapshot(method: Method) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in method.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[n], other[n]) for n in one)


def test_restores_weights_optimizer_and_random_state(tmp_path: Path, method: Method) -> None:
    optimizer, names = build_optimizer(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    assert store.restore(method, optimizer, names) == Progress()
    one_step(method, optimizer)
    store.save(method, optimizer, names, Progress(step=1, best_score=0.5, best_step=1, seconds=2.0))
    saved = snapshot(method)
    one_step(method, optimizer)
    expected = snapshot(method)
    for p in method.parameters():
        torch.nn.init.normal_(p)
    fresh, names = build_optimizer(method, OptimConfig())
    progress = store.restore(method, fresh, names)
    assert progress == Progress(step=1, best_score=0.5, best_step=1, seconds=2.0)
    assert same(saved, snapshot(method))
    one_step(method, fresh)
    assert same(expected, snapshot(method))


def test_only_the_newest_is_kept_and_counts(tmp_path: Path, method: Method) -> None:
    optimizer, names = build_optimizer(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    for step in (9, 10, 100):
        store.save(method, optimizer, names, Progress(step=step))
        assert [p.name for p in tmp_path.iterdir()] == [f"state-{step:08d}"]
    shutil.copytree(tmp_path / "state-00000100", tmp_path / "state-00000011")
    assert store.restore(method, optimizer, names).step == 100
    store.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["fsync", "tensors"])
def test_disk_full_keeps_the_older_checkpoint(
    tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    optimizer, names = build_optimizer(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    store.save(method, optimizer, names, Progress(step=1))
    saved = snapshot(method)
    one_step(method, optimizer)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr("limbeck.encoders.tensors.save_file", full)
        with pytest.raises(LimbeckError, match=r"No space left on device.*free space") as failure:
            store.save(method, optimizer, names, Progress(step=2))
    assert "\n" not in str(failure.value)
    assert [p.name for p in tmp_path.iterdir()] == ["state-00000001"]
    assert store.restore(method, optimizer, names).step == 1
    assert same(saved, snapshot(method))


def test_disk_full_in_a_run_can_be_gone_on_with(
    tmp_path: Path, recipe: dict[str, Any], whole_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limbeck.training import checkpoint

    original, calls = checkpoint.save_tensors, []

    def full_at_third(*given: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(*given)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_tensors", full_at_third)
        with pytest.raises(LimbeckError, match="No space left"):
            train(recipe, out=tmp_path / "run", quiet=True)
    assert [p.name for p in (tmp_path / "run/stages/teacher").glob("*state*")] == ["state-00000008"]
    train(recipe, out=tmp_path / "run", resume=True, quiet=True)
    file = "model/model.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (whole_run / file).read_bytes()


def rewrite(state: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    file = state / "state.safetensors"
    save_tensors(file, change(load_tensors(file)))


def damage_truncated(state: Path) -> None:
    file = state / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def damage_pickle(state: Path) -> None:
    (state / "state.safetensors").write_bytes(pickle.dumps({"a": 1}))


def damage_torch(state: Path) -> None:
    torch.save({"a": torch.zeros(2)}, state / "state.safetensors")


def damage_missing(state: Path) -> None:
    (state / "state.safetensors").unlink()


def damage_json(state: Path) -> None:
    (state / "state.json").write_text('{"format": 1, ')


def damage_keys(state: Path) -> None:
    stored = read_json(state / "state.json")
    del stored["step"]
    write_json(state / "state.json", stored)


def damage_format(state: Path) -> None:
    write_json(state / "state.json", read_json(state / "state.json") | {"format": 2})


def damage_method(state: Path) -> None:
    write_json(state / "state.json", read_json(state / "state.json") | {"method": "clip"})


def damage_data(state: Path) -> None:
    write_json(state / "state.json", read_json(state / "state.json") | {"data": "0"})


def damage_tensors(state: Path) -> None:
    rewrite(state, lambda tensors: {n: t for n, t in tensors.items() if not n.endswith("heads.text.bias")})


def damage_shape(state: Path) -> None:
    name = "method/encoder.lift.heads.text.bias"
    rewrite(state, lambda tensors: tensors | {name: tensors[name][:3]})


def damage_random(state: Path) -> None:
    rewrite(state, lambda tensors: {n: t for n, t in tensors.items() if not n.startswith("random")})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_truncated, "state.safetensors: not a readable safetensors file (truncated or damaged)"),
        (damage_pickle, "state.safetensors: not a readable safetensors file (a pickle or zip archive"),
        (damage_torch, "state.safetensors: not a readable safetensors file (a pickle or zip archive"),
        (damage_missing, "state.safetensors: no such file"),
        (damage_json, "state.json: not valid JSON"),
        (damage_keys, "state.json: damaged"),
        (damage_format, "state.json: format 2"),
        (damage_method, "checkpoint of another method ('clip', wanted 'soda-teacher')"),
        (damage_data, "checkpoint of another data"),
        (damage_tensors, "does not hold this method's weights"),
        (damage_shape, "state.safetensors: damaged"),
        (damage_random, "state.safetensors: damaged"),
    ],
)
def test_damaged_and_foreign_states_are_one_line(
    stopped_run: Path, recipe: dict[str, Any], damage: Any, said: str
) -> None:
    damage(stopped_run / "stages/teacher/state-00000005")
    with pytest.raises(LimbeckError) as failure:
        train(recipe, out=stopped_run, resume=True, quiet=True)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)
    assert not (stopped_run / "model").exists()


@pytest.mark.parametrize("curv", [100.0, 1e-3, math.nan])
def test_a_curvature_out_of_its_bounds_is_no_state_to_go_on_from(
    tmp_path: Path, pairs_dir: Path, retrieval: Path, curv: float
) -> None:
    tree = pixel_recipe(pairs_dir, retrieval, {"name": "meru"}, {"kind": "polar", "dim": 8})
    image = {"kind": "features", "name": "cnn"}
    tree["towers"]["image"] = {"backbone": image}
    resolved = load_recipe(tree)
    method, _ = build_method(resolved.stages[0], open_data(resolved), {}, 0)
    optimizer, names = build_optimizer(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    store.save(method, optimizer, names, Progress(step=1))
    assert store.restore(method, optimizer, names).step == 1
    lift: Any = method.encoder.lift
    with torch.no_grad():
        lift.log_curv.fill_(math.log(curv))
    store.save(method, optimizer, names, Progress(step=2))
    said = r"state\.safetensors: curvature .* is outside its bounds 0\.1 to 10"
    with pytest.raises(LimbeckError, match=said):
        store.restore(method, optimizer, names)
