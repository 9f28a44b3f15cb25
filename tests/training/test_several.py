"""Runs on two processes: stopped, killed or left by one of them, they go on as if nothing had happened."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from gloo_worker import method_and_batch
from lightning_fabric import Fabric
from test_resume import CHECKPOINT, DRIVER, STEP

from limbeck.methods import Method
from limbeck.training import processes
from limbeck.training.blocks import apply_compute, block_lists
from limbeck.training.compute import ComputeConfig
from raising import raises_code
from tiny import pixel_recipe, write_pairs, write_recipe


def two_processes(signal: str, target: str, call: int, only: int, *arguments: str) -> tuple[int, str]:
    """Exit status and messages of a run on two processes, of which one gets a signal at a call."""
    command = [sys.executable, str(DRIVER), signal, target, str(call), "train", *arguments]
    env = os.environ | {"OMP_NUM_THREADS": "1", "ONLY": str(only)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=600)
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, pairs_dir: Path, hashing: Path) -> tuple[Path, Path]:
    """A recipe with dropout, and its run on two processes."""
    from tiny import soda_recipe

    folder = tmp_path_factory.mktemp("two")
    recipe = soda_recipe(pairs_dir, hashing, steps=8)
    recipe["compute"]["devices"] = 2
    recipe["stages"] = {"teacher": recipe["stages"]["teacher"]}
    file = write_recipe(folder / "r.yaml", recipe)
    code, said = two_processes("SIGTERM", STEP, 0, 0, str(file), "--out", str(folder / "whole"), "--quiet")
    assert code == 0, said
    return file, folder / "whole"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signal", "target", "call", "only", "status"),
    [
        ("SIGTERM", STEP, 3, 1, 75),  # the second process alone is told, and both stop
        ("SIGKILL", STEP, 6, 1, 1),
        ("SIGKILL", CHECKPOINT, 2, 0, -9),
    ],
)
def test_a_run_on_two_processes_goes_on(
    two: tuple[Path, Path], tmp_path: Path, signal: str, target: str, call: int, only: int, status: int
) -> None:
    file, whole = two
    run = tmp_path / "run"
    code, said = two_processes(signal, target, call, only, str(file), "--out", str(run), "--quiet")
    assert code == status, said
    if status == 1:  # one line of the process that was left
        assert said.count("E-PROCESS-LOST") == 1
    code, said = two_processes("SIGTERM", STEP, 0, 0, "--resume", "--out", str(run), "--quiet")
    assert code == 0, said
    for name in ("model/model.safetensors", "stages/teacher/metrics.jsonl"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def test_a_lost_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 4)
    text = "[/x/gloo/pair.cc:553] Connection closed by peer [127.0.0.1]:5"
    facts = ("process 1 of 4", "Connection closed by peer", "--resume")
    with raises_code("E-PROCESS-LOST", *facts) as found, processes.together():
        raise RuntimeError(text)
    assert "\n" not in str(found.value)


def sharded(rank: int, folder: str, recipe: dict[str, Any]) -> None:
    """Entry of `torch.multiprocessing.spawn`: the teacher's outputs before and after it is shared."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    method, batch = method_and_batch(recipe)

    class Two:
        world_size, device = 2, torch.device("cpu")

    fabric: Any = Two()
    before = {name: method.teacher_output(name, batch) for name in method.teachers}
    apply_compute(method, ComputeConfig(shard=True), fabric, lambda line: None)
    after = {name: method.teacher_output(name, batch) for name in method.teachers}
    torch.save([before, after, numbers_here(method)], Path(folder) / f"rank{rank}.pt")
    dist.destroy_process_group()


def numbers_here(method: Method) -> list[tuple[int, int]]:
    """All numbers of the weights of a teacher's blocks, and those that this process holds."""
    found = []
    for teacher in method.teachers.values():
        weights: list[Any] = [p for blocks in block_lists(teacher).values() for p in blocks.parameters()]
        found.append((sum(w.numel() for w in weights), sum(w.to_local().numel() for w in weights)))
    return found


@pytest.mark.slow
def test_a_teacher_shared_by_two_processes_says_the_same(tmp_path: Path, retrieval: Path) -> None:
    from limbeck.training import train

    pairs, lift = write_pairs(tmp_path, pictures=16), {"kind": "polar", "dim": 8}
    teacher = train(pixel_recipe(pairs, retrieval, {"name": "meru"}, lift), out=tmp_path / "run", quiet=True)
    recipe = pixel_recipe(
        pairs, retrieval, {"name": "hmid-net", "teacher": str(teacher)}, lift, augment={"crop": [1.0, 1.0]}
    )
    torch.multiprocessing.spawn(sharded, args=(str(tmp_path), recipe), nprocs=2)
    for rank in range(2):
        before, after, numbers = torch.load(tmp_path / f"rank{rank}.pt")
        assert before.keys() == after.keys() and before
        assert all(torch.equal(after[name], rows) for name, rows in before.items())
        assert numbers and all(0.45 < own / whole < 0.55 for whole, own in numbers)


def test_one_process_needs_no_communication() -> None:
    rows = torch.arange(3.0)
    assert processes.all_gather(rows)[0] is rows
    assert processes.any_process(True, rows.device)
    assert not processes.any_process(False, rows.device)
    parameter = torch.nn.Parameter(rows)
    processes.average_gradients([parameter])
    assert parameter.grad is None
    processes.barrier(Fabric(accelerator="cpu", devices=1))
