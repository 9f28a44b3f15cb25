"""Start several processes: check the launcher against the recipe, and connect all processes in time."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec

import torch
from lightning_fabric import Fabric

from limbeck.errors import LimbeckError
from limbeck.notices import say
from limbeck.training.compute import ComputeConfig

JOIN_SECONDS = 120.0
"""Seconds that the processes of a run wait for each other at the start."""
WORK_SECONDS = 1800.0
"""Seconds that a process may wait for another later; the first one validates and writes alone."""


@dataclass(frozen=True)
class Launch:
    """The launcher of this process, read from the environment.

    Attributes:
        launcher: command of the launcher.
        processes: number of processes of the whole run.
        on_node: number of processes on this machine; None if the launcher does not set it.
    """

    launcher: str
    processes: int
    on_node: int | None = None


def launched(env: Mapping[str, str]) -> Launch | None:
    """Return the launcher that started this process with others; None for a single process.

    Processes that Fabric starts itself do not count: they have no ``RANK``.
    """
    if "RANK" in env and _number(env, "WORLD_SIZE") > 1:
        return Launch("torchrun", _number(env, "WORLD_SIZE"), _number(env, "LOCAL_WORLD_SIZE") or None)
    # SLURM_NTASKS is also set in a batch script, which is one process.
    if "SLURM_PROCID" in env and _number(env, "SLURM_STEP_NUM_TASKS") > 1:
        nodes = _number(env, "SLURM_STEP_NUM_NODES")
        tasks = _number(env, "SLURM_STEP_NUM_TASKS")
        return Launch("srun", tasks, tasks // nodes if nodes and tasks % nodes == 0 else None)
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE"):
        if _number(env, name) > 1:
            return Launch("mpirun", _number(env, name))
    return None


def check_launch(compute: ComputeConfig, env: Mapping[str, str] | None = None) -> None:
    """Refuse a number of processes that the recipe does not name; each would train a separate run.

    Args:
        compute: ``devices`` per machine and ``nodes``, the number of machines.
        env: the environment; default: that of this process.

    Raises:
        LimbeckError: the number of processes differs from the recipe, the launcher cannot be used, or there
            are several machines without a launcher.
    """
    env = os.environ if env is None else env
    found = launched(env)
    if found is None:
        if compute.nodes > 1 and not ("MASTER_ADDR" in env and ("NODE_RANK" in env or "GROUP_RANK" in env)):
            raise LimbeckError(
                f"recipe: compute.nodes={compute.nodes}, but nothing says which machine this is; start it on "
                f"each with: torchrun --nnodes {compute.nodes} --nproc-per-node {compute.devices} "
                "--node-rank RANK --master-addr HOST -m limbeck train …",
                code="E-LAUNCH",
            )
        return
    if found.launcher == "mpirun" and find_spec("mpi4py") is None:
        raise LimbeckError(
            f"mpirun started {found.processes} processes, which cannot find each other without mpi4py; "
            "start them with torchrun or srun",
            code="E-LAUNCH",
        )
    if found.launcher == "torchrun" and "TORCHELASTIC_RUN_ID" not in env and "LOCAL_RANK" not in env:
        raise LimbeckError(
            f"RANK and WORLD_SIZE={found.processes} are set, but LOCAL_RANK is not; start limbeck with "
            "torchrun, or unset them",
            code="E-LAUNCH",
        )
    per_node = found.on_node or compute.devices
    if found.processes == compute.devices * compute.nodes and per_node == compute.devices:
        return
    nodes, left = divmod(found.processes, found.on_node or found.processes)
    wanted = f"compute.devices={found.on_node or found.processes}" + f" compute.nodes={nodes}" * (
        max(nodes, compute.nodes) > 1
    )
    hint = f"add {wanted}" if not left else "start the same number of processes on each machine"
    raise LimbeckError(
        f"{found.launcher} started {found.processes} processes, but the recipe says "
        f"compute.devices={compute.devices}, compute.nodes={compute.nodes}; {hint}, or start limbeck "
        "without a launcher",
        code="E-LAUNCH",
    )


def join(fabric: Fabric, compute: ComputeConfig) -> None:
    """Start Fabric's processes, or connect to those that a launcher started.

    Raises:
        LimbeckError: the other processes do not connect within `JOIN_SECONDS`.
    """
    if compute.devices * compute.nodes == 1:
        fabric.launch()
        return
    place = f"{os.environ.get('MASTER_ADDR', 'this machine')}:{os.environ.get('MASTER_PORT', 'any port')}"
    if compute.nodes > 1:
        say(
            f"waiting at most {JOIN_SECONDS:.0f} s for {compute.devices * compute.nodes} processes at {place}"
        )
    try:
        _await_first(os.environ)
        fabric.launch()
    except (RuntimeError, ValueError, OSError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise LimbeckError(
            f"compute.devices={compute.devices}, compute.nodes={compute.nodes}: the processes did not "
            f"connect at {place} ({reason[:160]}); give all machines one MASTER_ADDR and MASTER_PORT",
            code="E-LAUNCH",
        ) from error
    _wait_longer()


def join_timeout() -> timedelta:
    """Return the timeout for Fabric's strategy, which holds only for the start."""
    return timedelta(seconds=JOIN_SECONDS)


def _await_first(env: Mapping[str, str]) -> None:
    """Wait until the first process's port answers; torch would wait silently for five minutes."""
    rank = _number(env, "RANK") or _number(env, "NODE_RANK") or _number(env, "GROUP_RANK")
    if not rank or "MASTER_ADDR" not in env or env.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        return
    address = (env["MASTER_ADDR"], _number(env, "MASTER_PORT"))
    until = time.monotonic() + JOIN_SECONDS
    while True:
        try:
            socket.create_connection(address, timeout=5).close()
        except OSError as error:
            if time.monotonic() > until:
                raise OSError(f"process {rank} cannot reach process 0: {error}") from error
            time.sleep(0.2)
        else:
            return


def _wait_longer() -> None:
    """Replace the short timeout of the start by `WORK_SECONDS`."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=WORK_SECONDS), None)


def _number(env: Mapping[str, str], name: str) -> int:
    text = env.get(name, "")
    return int(text) if text.isdecimal() else 0
