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

from limbeck.encoders.bags import store_by_input
from limbeck.encoders.tensors import load_tensors, save_tensors
from limbeck.errors import LimbeckError
from limbeck.files import read_json, sha256_file, sha256_json, write_json
from limbeck.methods import Method
from limbeck.training import train
from limbeck.training.checkpoint import CheckpointFolder, Progress
from limbeck.training.data import open_data
from limbeck.training.fit import Interrupted
from limbeck.training.recipe import OptimConfig, load_recipe
from limbeck.training.stages import build_method
from limbeck.training.update import Update
from raising import raises_code
from tiny import pixel_recipe

IDENTITY = {"method": "soda-teacher", "recipe": "abc"}


@pytest.fixture
def method(recipe: dict[str, Any]) -> Method:
    resolved = load_recipe(recipe)
    return build_method(next(iter(resolved.stages.values())), open_data(resolved), {}, 0)


def stop_at(step: int, run: Path, recipe: dict[str, Any]) -> Path:
    """A run interrupted after so many steps of all stages together."""
    from limbeck.training import fit

    original, calls = fit.forward_backward, []

    def stopping(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == step:
            signal.raise_signal(signal.SIGINT)
        return original(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "forward_backward", stopping)
        with pytest.raises(Interrupted):
            train(recipe, out=run, quiet=True)
    return run


@pytest.fixture
def stopped_run(tmp_path: Path, recipe: dict[str, Any]) -> Path:
    """A run interrupted in its first stage after 5 steps, with states of 4 and 5."""
    return stop_at(5, tmp_path / "run", recipe)


def one_step(method: Method, update: Update) -> None:
    for p in method.parameters():
        p.grad = torch.randn_like(p)
    update.gradients()
    update.optimizer.step()


def snapshot(method: Method) -> dict[str, torch.Tensor]:
    return {n: t.clone() for n, t in method.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("by_input", [False, True])
def test_restores_weights_optimizer_and_random_state(tmp_path: Path, method: Method, by_input: bool) -> None:
    linear = [module for module in method.modules() if isinstance(module, torch.nn.Linear)]
    for module in linear if by_input else []:  # as a tower with a bag of words is trained
        store_by_input(module)
    update = Update(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    assert store.restore(method, update) == Progress()
    one_step(method, update)
    store.save(method, update, Progress(step=1, best_score=0.5, best_step=1, seconds=2.0))
    moments = load_tensors(tmp_path / "state-00000001" / "state.safetensors")
    for name, weight in method.named_parameters():  # on disk all have the weight's shape
        assert moments[f"optimizer/{name}/exp_avg"].shape == weight.shape
    saved = snapshot(method)
    one_step(method, update)
    expected = snapshot(method)
    for p in method.parameters():
        torch.nn.init.normal_(p)
    fresh = Update(method, OptimConfig())
    progress = store.restore(method, fresh)
    assert progress == Progress(step=1, best_score=0.5, best_step=1, seconds=2.0)
    assert same(saved, snapshot(method))
    one_step(method, fresh)
    assert same(expected, snapshot(method))


def test_the_newest_are_kept_as_many_as_wanted(tmp_path: Path, method: Method) -> None:
    store = CheckpointFolder(tmp_path, identity=IDENTITY, keep=3)
    for step in range(1, 6):
        store.save(method, Update(method, OptimConfig()), Progress(step=step))
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"state-{n:08d}" for n in (3, 4, 5)]


def test_the_newest_two_are_kept_and_the_newest_counts(tmp_path: Path, method: Method) -> None:
    update = Update(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    for step, kept in ((9, [9]), (10, [9, 10]), (100, [10, 100])):
        store.save(method, update, Progress(step=step))
        assert sorted(p.name for p in tmp_path.iterdir()) == [f"state-{n:08d}" for n in kept]
    shutil.copytree(tmp_path / "state-00000100", tmp_path / "state-00000011")
    assert store.restore(method, update).step == 100
    store.clear()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["fsync", "tensors"])
def test_disk_full_keeps_the_older_checkpoint(
    tmp_path: Path, method: Method, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    update = Update(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    store.save(method, update, Progress(step=1))
    saved = snapshot(method)
    one_step(method, update)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        if where == "fsync":
            patch.setattr(os, "fsync", full)
        else:
            patch.setattr("limbeck.encoders.tensors.save_file", full)
        with pytest.raises(LimbeckError, match=r"No space left on device.*free space") as failure:
            store.save(method, update, Progress(step=2))
    assert "\n" not in str(failure.value)
    assert [p.name for p in tmp_path.iterdir()] == ["state-00000001"]
    assert store.restore(method, update).step == 1
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
        with raises_code("E-PATH-WRITE", "state-00000012:"):
            train(recipe, out=tmp_path / "run", quiet=True)
    assert sorted(p.name for p in (tmp_path / "run/stages/teacher").glob("*state*")) == [
        "state-00000004",
        "state-00000008",
    ]
    train(recipe, out=tmp_path / "run", resume=True, quiet=True)
    file = "model/model.safetensors"
    assert (tmp_path / "run" / file).read_bytes() == (whole_run / file).read_bytes()


def seal(state: Path, **changes: Any) -> None:
    """State facts with right checksums, some of them changed."""
    stored = read_json(state / "state.json") | changes
    stored.pop("check", None)
    stored["sha256"] = sha256_file(state / "state.safetensors")
    write_json(state / "state.json", stored | {"check": sha256_json(stored)})


def flip(file: Path, at: float) -> None:
    content = bytearray(file.read_bytes())
    for place in (int(len(content) * at), int(len(content) * at) + 1):
        content[place] ^= 0x40
    file.write_bytes(content)


def damage_flipped(state: Path) -> None:
    flip(state / "state.safetensors", 0.9)


def damage_truncated(state: Path) -> None:
    file = state / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def damage_pickle(state: Path) -> None:
    (state / "state.safetensors").write_bytes(pickle.dumps({"a": 1}))


def damage_missing(state: Path) -> None:
    (state / "state.safetensors").unlink()


def damage_json(state: Path) -> None:
    (state / "state.json").write_text('{"format": 1, ')


def damage_keys(state: Path) -> None:
    stored = read_json(state / "state.json")
    del stored["step"]
    write_json(state / "state.json", stored)


def damage_facts(state: Path) -> None:
    write_json(state / "state.json", read_json(state / "state.json") | {"best_score": 9.0})


def damage_best(state: Path) -> None:
    name = read_json(state / "state.json")["extra"]["best"]["folder"]
    flip(state.parent / name / "model.safetensors", 0.9)


DAMAGES = {
    damage_flipped: "state.safetensors: is missing or damaged (its checksum differs)",
    damage_truncated: "state.safetensors: is missing or damaged (its checksum differs)",
    damage_pickle: "state.safetensors: is missing or damaged (its checksum differs)",
    damage_missing: "state.safetensors: is missing or damaged (its checksum differs)",
    damage_json: "state.json: is not valid JSON",
    damage_keys: "state.json: is damaged",
    damage_facts: "state.json: is damaged (its checksum differs)",
}


@pytest.mark.parametrize(
    ("damage", "said"), DAMAGES.items(), ids=lambda value: getattr(value, "__name__", "")
)
def test_of_a_damaged_state_the_older_one_counts_and_it_is_said(
    stopped_run: Path, whole_run: Path, recipe: dict[str, Any], damage: Any, said: str, capsys: Any
) -> None:
    damage(stopped_run / "stages/teacher/state-00000005")
    train(recipe, out=stopped_run, resume=True, quiet=True)
    heard = capsys.readouterr().err
    assert said in heard
    assert "resuming from the older state-00000004" in heard
    file = "model/model.safetensors"
    assert (stopped_run / file).read_bytes() == (whole_run / file).read_bytes()


def test_without_a_sound_state_one_line_and_nothing_changes(
    stopped_run: Path, recipe: dict[str, Any]
) -> None:
    for state in (stopped_run / "stages/teacher").glob("state-*"):
        damage_flipped(state)
    before = tree_of(stopped_run)
    with raises_code("E-RUN-DAMAGED", "state.safetensors:") as failure:
        train(recipe, out=stopped_run, resume=True, quiet=True)
    assert "\n" not in str(failure.value)
    assert tree_of(stopped_run) == before


def tree_of(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "state.json: format 2"),
        ({"method": "clip"}, "checkpoint of another method ('clip', expected 'soda-teacher')"),
        ({"data": "0"}, "checkpoint of another data"),
        ({"recipe": "0"}, "checkpoint of another recipe"),
    ],
)
def test_a_foreign_state_is_refused(
    stopped_run: Path, recipe: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    seal(stopped_run / "stages/teacher/state-00000005", **changes)
    before = tree_of(stopped_run)
    with pytest.raises(LimbeckError) as failure:
        train(recipe, out=stopped_run, resume=True, quiet=True)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)
    assert tree_of(stopped_run) == before


def without(tensors: dict[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if part not in name}


HEAD = "method/encoder.lift.heads.text.bias"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tensors: without(tensors, HEAD), "does not hold this method's weights"),
        (lambda tensors: tensors | {HEAD: tensors[HEAD][:3]}, "state.safetensors: is damaged"),
        (lambda tensors: without(tensors, "random"), "state.safetensors: is damaged"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    stopped_run: Path, recipe: dict[str, Any], change: Callable[..., Any], said: str
) -> None:
    state = stopped_run / "stages/teacher/state-00000005"
    save_tensors(state / "state.safetensors", change(load_tensors(state / "state.safetensors")))
    seal(state)
    with pytest.raises(LimbeckError) as failure:
        train(recipe, out=stopped_run, resume=True, quiet=True)
    assert said in str(failure.value)
    assert "\n" not in str(failure.value)


def test_a_damaged_best_model_is_never_taken(
    tmp_path: Path, recipe: dict[str, Any], whole_run: Path, capsys: Any
) -> None:
    run = stop_at(13, tmp_path / "run", recipe)  # validated at 6 and 12; states of 12 and 13
    stage = run / "stages/teacher"
    named = [read_json(s / "state.json")["extra"]["best"]["folder"] for s in stage.glob("state-*")]
    assert [p.name for p in stage.glob("best-*")] == named[:1] and named[0] == named[1]
    damage_best(stage / "state-00000013")
    with raises_code("E-RUN-DAMAGED", "best-00000012:"):
        train(recipe, out=run, resume=True, quiet=True)


def test_a_damaged_model_of_a_finished_stage_is_refused(tmp_path: Path, recipe: dict[str, Any]) -> None:
    run = stop_at(18, tmp_path / "run", recipe)  # in the second stage
    flip(run / "stages/teacher/model/model.safetensors", 0.9)
    with raises_code("E-RUN-DAMAGED", "model:"):
        train(recipe, out=run, resume=True, quiet=True)


def test_states_without_checksums_still_count_and_it_is_said(
    stopped_run: Path, whole_run: Path, recipe: dict[str, Any], capsys: Any
) -> None:
    """As version 0.1 wrote them: one state, no checksum, the best model in ``best/``."""
    shutil.rmtree(stopped_run / "stages/teacher/state-00000004")
    file = stopped_run / "stages/teacher/state-00000005/state.json"
    stored = read_json(file)
    del stored["sha256"], stored["check"]
    write_json(file, stored)
    (stopped_run / "data.json").unlink()
    train(recipe, out=stopped_run, resume=True, quiet=True)
    heard = capsys.readouterr().err
    assert "state-00000005: has no checksums" in heard
    assert "holds no record of its data" in heard
    file = stopped_run / "model/model.safetensors"
    assert file.read_bytes() == (whole_run / "model/model.safetensors").read_bytes()


@pytest.mark.parametrize("curv", [100.0, 1e-3, math.nan])
def test_a_curvature_out_of_its_bounds_is_no_state_to_go_on_from(
    tmp_path: Path, pairs_dir: Path, retrieval: Path, curv: float
) -> None:
    tree = pixel_recipe(pairs_dir, retrieval, {"name": "meru"}, {"kind": "polar", "dim": 8})
    image = {"kind": "features", "name": "cnn"}
    tree["towers"]["image"] = {"backbone": image}
    resolved = load_recipe(tree)
    method = build_method(next(iter(resolved.stages.values())), open_data(resolved), {}, 0)
    update = Update(method, OptimConfig())
    store = CheckpointFolder(tmp_path, identity=IDENTITY)
    store.save(method, update, Progress(step=1))
    assert store.restore(method, update).step == 1
    lift: Any = method.encoder.lift
    with torch.no_grad():
        lift.log_curv.fill_(math.log(curv))
    store.save(method, update, Progress(step=2))
    said = r"state\.safetensors: curvature .* is outside its bounds 0\.1 to 10"
    with pytest.raises(LimbeckError, match=said):
        store.restore(method, update)
