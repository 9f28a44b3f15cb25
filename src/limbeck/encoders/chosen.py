"""The device that the user asked for, without torch: commands that load no model never import it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
