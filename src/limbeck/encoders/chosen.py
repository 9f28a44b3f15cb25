"""The device that the user asked for, without torch: commands that load no model never import it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limbeck.optional_deps import installed

# Files of the drivers of NVIDIA, AMD, and of both in Windows' Linux.
_DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
_asked: list[str | None] = ["cpu"]


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Run models that are loaded in this context on a device; None is the best one of the machine.

    Outside the context they stay on the CPU, so that a program that imports limbeck decides for itself.
    """
    _asked.append(name)
    try:
        yield
    finally:
        _asked.pop()


def asked_device() -> str | None:
    """Return the name in force: ``cuda``, ``cuda:1``, ``mps``, ``cpu``, or None for the best device."""
    return _asked[-1]


def on_cpu() -> bool:
    """Return whether models run on the CPU: by request, or because torch would find no other device here.

    Where nothing was asked for, drivers are looked for without importing torch.
    """
    asked = asked_device()
    if asked is not None or not installed("torch"):
        return asked in (None, "cpu")
    if sys.platform == "darwin":
        return platform.machine() != "arm64"
    if sys.platform == "win32":
        return not (Path(os.environ.get("SYSTEMROOT", "C:/Windows")) / "System32/nvcuda.dll").exists()
    return not any(Path(driver).exists() for driver in _DRIVERS)
