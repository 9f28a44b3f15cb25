"""What a launcher started is what the recipe says, or one line says which keys to set."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from limbeck.encoders.identity import identity
from limbeck.errors import LimbeckError
from limbeck.training import launch
from limbeck.training.compute import ComputeConfig
from limbeck.training.launch import Launch, check_launch, launched
from raising import raises_code
from tiny import soda_recipe, write_pairs, write_protocol, write_recipe

TORCHRUN = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}
SRUN = {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, None),
        ({"RANK": "0", "WORLD_SIZE": "1"}, None),
        ({"LOCAL_RANK": "1", "NODE_RANK": "0", "WORLD_SIZE": "2"}, None),  # a process of Fabric's own
        (TORCHRUN, Launch("torchrun", 4)),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}, Launch("torchrun", 4, 2)),
        (SRUN, Launch("srun", 4, 2)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None),  # a batch script, one process
        ({"OMPI_COMM_WORLD_SIZE": "3"}, Launch("mpirun", 3)),
        ({"WORLD_SIZE": "many", "RANK": "0"}, None),
    ],
)
def test_launchers_by_their_environment(env: dict[str, str], wanted: Launch | None) -> None:
    assert launched(env) == wanted


@pytest.mark.parametrize(
    ("env", "compute", "told"),
    [
        (
            TORCHRUN,
            {},
            "torchrun started 4 processes, but .*add compute.devices=4, or start limbeck without a launcher",
        ),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}, {}, "add compute.devices=2 compute.nodes=2, or"),
        (TORCHRUN, {"devices": 4, "nodes": 2}, "add compute.devices=4 compute.nodes=1, or"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}, {"devices": 4}, "add compute.devices=2 compute.nodes=2, or"),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "3"}, {}, "start the same number of processes on each machine"),
        (SRUN, {"devices": 2}, "srun started 4 .*add compute.devices=2 compute.nodes=2"),
        ({"PMI_SIZE": "2"}, {"devices": 2}, "without mpi4py; start them with torchrun or srun"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, {"devices": 2}, "LOCAL_RANK is not; start limbeck with torchrun"),
        ({}, {"nodes": 2, "devices": 3}, "torchrun --nnodes 2 --nproc-per-node 3 --node-rank"),
        ({"MASTER_ADDR": "h"}, {"nodes": 2}, "nothing says which machine this is"),
    ],
)
def test_what_does_not_fit_names_the_keys(env: dict[str, str], compute: dict[str, Any], told: str) -> None:
    with pytest.raises(LimbeckError, match=told) as found:
        check_launch(ComputeConfig(**compute), env)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("env", "compute"),
    [
        ({}, {}),
        ({}, {"devices": 2}),
        (TORCHRUN, {"devices": 4}),
        (TORCHRUN | {"LOCAL_WORLD_SIZE": "2"}, {"devices": 2, "nodes": 2}),
        (SRUN, {"devices": 2, "nodes": 2}),
        ({"MASTER_ADDR": "h", "NODE_RANK": "1"}, {"nodes": 2}),
    ],
)
def test_what_fits_passes(env: dict[str, str], compute: dict[str, Any]) -> None:
    check_launch(ComputeConfig(**compute), env)


def test_one_machine_keeps_the_hash_of_older_recipes() -> None:
    now = ComputeConfig().model_dump()
    later = ("nodes", "recompute", "compile", "shard")
    assert identity(now) == {k: v for k, v in now.items() if k not in later}
    assert identity(ComputeConfig(nodes=2).model_dump())["nodes"] == 2


def test_torchrun_without_devices_writes_nothing(tmp_path: Path, run: Any, monkeypatch: Any) -> None:
    """Before, each process trained a run of its own into one folder, and both said "done"."""
    recipe = write_recipe(
        tmp_path / "r.yaml", soda_recipe(write_pairs(tmp_path), write_protocol(tmp_path), steps=2)
    )
    for name, value in (TORCHRUN | {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}).items():
        monkeypatch.setenv(name, value)
    code, _, err = run("train", recipe, "--out", tmp_path / "run")
    assert (code, "add compute.devices=2" in err) == (1, True)
    assert not (tmp_path / "run").exists()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_a_second_launcher_alone_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before, it was silent for five minutes and died of an error of torch."""

    class Fabric:
        def launch(self) -> None:
            raise AssertionError("nobody answers there")

    monkeypatch.setattr(launch, "JOIN_SECONDS", 0.0)
    for name, value in {
        "NODE_RANK": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }.items():
        monkeypatch.setenv(name, value)
    fabric: Any = Fabric()
    with raises_code("E-LAUNCH", "127", "process 1", "process 0"):
        launch.join(fabric, ComputeConfig(nodes=2))


@pytest.mark.slow
@pytest.mark.parametrize("nodes", [1, 2])
def test_torchrun_trains_one_run(tmp_path: Path, nodes: int) -> None:
    recipe = write_recipe(
        tmp_path / "r.yaml", soda_recipe(write_pairs(tmp_path), write_protocol(tmp_path), steps=4)
    )
    keys = [f"compute.devices={2 // nodes}", f"compute.nodes={nodes}"]
    port, command = free_port(), [sys.executable, "-m", "torch.distributed.run", "--nnodes", str(nodes)]
    command += ["--nproc-per-node", str(2 // nodes), "--master-addr", "127.0.0.1", "--master-port", str(port)]
    command += ["-m", "limbeck", "train", str(recipe), "--out", str(tmp_path / "run"), "--quiet", *keys]
    env = {name: value for name, value in os.environ.items() if "RANK" not in name} | {"OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [*command[:5], "--node-rank", str(rank), *command[5:]],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(nodes)
    ]  # fmt: skip
    told = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * nodes, told
    assert sum(text.count("trained; evaluate it with") for text in told) == 1
    assert (tmp_path / "run/model/model.json").is_file()
