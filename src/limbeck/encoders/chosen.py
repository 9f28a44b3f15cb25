"""The device that a person asked for, without torch: verbs that load no model never import it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_asked: list[str | None] = ["cpu"]


@contextmanager
def on_device(name: str | None) -> Iterator[None]:
    """Inside, models that are loaded to encode run on a device; None is the best that the machine has.

    Outside they stay on the CPU, so that a program that imports limbeck decides for itself.
    """
    _asked.append(name)
    try:
        yield
    finally:
        _asked.pop()


def asked_device() -> str | None:
    """The name that is in force: ``cuda``, ``cuda:1``, ``mps``, ``cpu``, or None for the best."""
    return _asked[-1]
