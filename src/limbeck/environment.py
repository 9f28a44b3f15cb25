"""Describe the package versions and the machine of a result without importing heavy packages."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

PACKAGES = ("limbeck", "torch", "transformers", "numpy", "numba", "scipy")


def environment() -> tuple[dict[str, str], dict[str, str | int | bool | None]]:
    """Describe the software and the machine of a measurement.

    Returns:
        ``versions`` (package → version, Python included) and ``machine``: system, processor model, the number
        of cores that this process may use, the number of threads, and two processor features that change
        times: ``bf16`` (in hardware) and ``vector_popcount``. Both are None where they cannot be read.
    """
    flags = processor_flags()
    machine: dict[str, str | int | bool | None] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor_model(),
        "cores": _usable_cores(),
        "threads": _threads(),
        "bf16": bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None,
        "vector_popcount": bool(flags & {"avx512_vpopcntdq", "asimd"}) if flags else None,
    }
    return _versions(), machine


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpuinfo_field(*names: str) -> str:
    for line in _cpuinfo().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""


def processor_flags() -> set[str]:
    """Return the instruction sets of the processor as the system names them; empty where it does not."""
    return set(_cpuinfo_field("flags", "Features").split())


def _processor_model() -> str:
    return _cpuinfo_field("model name") or platform.processor() or "unknown"


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _threads() -> int:
    torch = sys.modules.get("torch")  # importing torch takes seconds: use it only where it is loaded
    if torch is not None:
        return int(torch.get_num_threads())
    return int(os.environ.get("OMP_NUM_THREADS") or _usable_cores())
