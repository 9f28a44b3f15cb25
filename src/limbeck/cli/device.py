"""Define the option ``--device`` of the verbs that encode."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

DEVICE: str | None = typer.Option(
    None, "--device", help="Device of the model: cuda, cuda:1, mps or cpu; default: the best available."
)


def encodes(verb: Callable[P, R]) -> Callable[P, R]:
    """Decorate a verb so that every model that it loads runs on its parameter ``device``."""

    @functools.wraps(verb)
    def placed(*args: P.args, **options: P.kwargs) -> R:
        from limbeck.encoders.chosen import on_device

        # OpenMP's threads in torch would spin on the cores that decode pictures; it reads this when torch is
        # imported. On two busy cores a picture takes .4 ms of processor time in a small tower instead of 2.5.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        name = options.get("device")
        with on_device(name if isinstance(name, str) else None):
            return verb(*args, **options)

    return placed
