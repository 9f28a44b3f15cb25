"""Check this machine and installation: versions, extras, torch, threads, fork safety, memory and disk."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from limbeck.environment import environment, processor_flags
from limbeck.files import fsync_path
from limbeck.files.durability import TOLD
from limbeck.optional_deps import EXTRAS, installed, require
from limbeck.typed import Json

LEAST_DISK, LEAST_SHARED, LEAST_FILES = 5e9, 1e9, 1024
"""Bytes of free disk and of shared memory, and open files, below which training can stop."""
FORK_SECONDS = 120.0
_FORK = """
import os, time, torch
a = torch.rand(512, 512)
a @ a
child = os.fork()
if not child:
    a @ a
    os._exit(0)
for _ in range(100):
    if os.waitpid(child, os.WNOHANG)[0]:
        print("safe")
        break
    time.sleep(0.1)
else:
    os.kill(child, 9)
    print("hangs")
"""


@dataclass(frozen=True)
class Check:
    """One property: what was found, and what to change unless all is well."""

    name: str
    state: Literal["ok", "note", "fault"]
    seen: str
    change: str = ""


@dataclass(frozen=True)
class Checkup:
    """All checks of a machine."""

    checks: tuple[Check, ...]

    def lines(self) -> list[str]:
        """Return one line per check, and a verdict."""
        width = max(len(check.name) for check in self.checks)
        body = [
            f"{check.state:<5}  {check.name:<{width}}  {check.seen}"
            + f"; {check.change}" * bool(check.change)
            for check in self.checks
        ]
        worst = [check.name for check in self.checks if check.state == "fault"]
        return [*body, f"to correct: {', '.join(worst)}" if worst else "nothing looks wrong"]

    def to_json(self) -> dict[str, Json]:
        """Return the JSON form."""
        return {"format": "limbeck.checkup/1", **asdict(self)}


def check_machine() -> Checkup:
    """Run all checks; none of them changes anything outside a temporary directory."""
    found = [*_versions(), _processor(), *_torch(), *_memory(), *_disk()]
    return Checkup(tuple(found))


def _versions() -> Iterator[Check]:
    versions = environment()[0]
    yield Check("versions", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))
    extras = sorted(set(EXTRAS.values()))
    missing = {
        extra: [p for p, own in EXTRAS.items() if own == extra and not installed(p)] for extra in extras
    }
    yield Check("extras", "ok", "installed: " + (", ".join(e for e in extras if not missing[e]) or "none"))
    lacking = [extra for extra in extras if missing[extra]]
    if lacking:
        yield Check(
            "extras",
            "ok",
            f"not installed: {', '.join(lacking)}",
            f"add one with pip install 'limbeck[{lacking[0]}]'",
        )
    for name, least, have in _too_old(importlib.metadata.requires("limbeck") or []):
        yield Check(
            "versions", "fault", f"{name} {have} is older than {least}", f"type: pip install -U {name}"
        )


def _too_old(requirements: list[str]) -> Iterator[tuple[str, str, str]]:
    """Yield (package, least version, installed version) of installed packages that are too old."""
    for text in requirements:
        found = re.match(r"([\w.-]+)(?:\[[^]]*\])?>=([\d.]+)", text)
        if found is None:
            continue
        try:
            have = importlib.metadata.version(found[1])
        except importlib.metadata.PackageNotFoundError:
            continue
        if _numbers(have) < _numbers(found[2]):
            yield found[1], found[2], have


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]  # type: ignore[index]


def _processor() -> Check:
    machine, flags = environment()[1], processor_flags()
    known = ("avx2", "avx512f", "avx512_vpopcntdq", "avx512_bf16", "amx_bf16", "asimd", "bf16")
    sets = [name for name in known if name in flags]
    seen = f"{machine['processor']}, {machine['cores']} cores, {', '.join(sets) or 'no flags known'}"
    if flags and not flags & {"avx2", "asimd"}:
        return Check("processor", "note", seen, "searches and training are slow without AVX2")
    return Check("processor", "ok", seen)


def _torch() -> Iterator[Check]:
    if not installed("torch"):
        yield Check("torch", "note", "not installed", "training needs it: pip install 'limbeck[train]'")
        return
    torch = require("torch")
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPU"
    seen = f"{torch.__version__}, built for {build}"
    if torch.cuda.is_available():
        for number in range(torch.cuda.device_count()):
            own = torch.cuda.get_device_properties(number)
            yield Check(
                "device",
                "ok",
                f"cuda:{number} {own.name}, {own.total_memory / 1e9:.0f} GB, {own.major}.{own.minor}",
            )
    elif Path("/dev/nvidia0").exists():
        yield Check(
            "torch",
            "fault",
            f"{seen}, but this machine has a GPU of NVIDIA that torch cannot use",
            "install a CUDA build of torch that fits the driver",
        )
        return
    yield Check("torch", "ok", seen)
    cores, threads = int(environment()[1]["cores"] or 1), torch.get_num_threads()
    allowed = _quota() or float(cores)
    seen = f"torch uses {threads} of {cores} cores" + (
        f" (the container allows {allowed:g})" if allowed < cores else ""
    )
    few = "set OMP_NUM_THREADS or compute.threads to the number of cores"
    yield Check("threads", "note" if threads > allowed else "ok", seen, few if threads > allowed else "")
    yield _fork()


def _quota() -> float | None:
    """Return the cores that a container may use; None without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None


def _fork() -> Check:
    """Check that a forked process can compute; the OpenMP of some builds hangs there."""
    if not hasattr(os, "fork"):
        return Check("fork", "ok", "this system starts processes without fork")
    command = [sys.executable, "-c", _FORK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FORK_SECONDS, check=False)
        answer = done.stdout.strip()
    except subprocess.TimeoutExpired:
        answer = ""
    if answer == "safe":
        return Check("fork", "ok", "a process that is forked after torch computed can compute")
    if answer == "hangs":
        seen = "a process that is forked after torch computed hangs"
        return Check("fork", "fault", seen, "set OMP_NUM_THREADS=1, or start processes by spawn")
    return Check("fork", "note", f"not known: no answer in {FORK_SECONDS:.0f} s; check again when less runs")


def _memory() -> Iterator[Check]:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return
    sizes = {line.split(":")[0]: 1024 * int(line.split()[1]) for line in lines if line.split()[1:]}
    yield Check("memory", "ok", f"{sizes['MemAvailable'] / 1e9:.1f} of {sizes['MemTotal'] / 1e9:.1f} GB free")
    shared = Path("/dev/shm")
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        low = size < LEAST_SHARED
        more = (
            "start the container with --shm-size=8g; processes of one run exchange tensors there"
            if low
            else ""
        )
        yield Check("shared memory", "note" if low else "ok", f"{size / 1e9:.1f} GB", more)
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    low = files < LEAST_FILES
    yield Check(
        "open files", "note" if low else "ok", f"at most {files:,}", "type: ulimit -n 4096" if low else ""
    )


def _disk() -> Iterator[Check]:
    cache = Path(os.environ.get("LIMBECK_CACHE") or Path.home() / ".cache" / "limbeck")
    places = {"this directory": Path.cwd(), "cache": cache, "temporary files": Path(tempfile.gettempdir())}
    for name, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free, writable = shutil.disk_usage(there).free, os.access(there, os.W_OK)
        seen = f"{name}: {free / 1e9:.1f} GB free in {place}"
        if not writable:
            yield Check("disk", "fault", f"{seen}, not writable", "choose another directory")
        elif free < LEAST_DISK:
            yield Check(
                "disk", "note", seen, "a run keeps two checkpoints of three times its weights; make room"
            )
        else:
            yield Check("disk", "ok", seen)
    with tempfile.TemporaryDirectory() as scratch:
        fsync_path(Path(scratch))
    lacks = "fsync" in TOLD
    yield Check(
        "power failure", "note" if lacks else "ok",
        "this file system cannot sync directories" if lacks else "directories are synced to disk",
        "keep runs and indexes on a local disk" if lacks else "",
    )  # fmt: skip
