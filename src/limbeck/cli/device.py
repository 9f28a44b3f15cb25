"""The option ``--device`` of the verbs that encode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

P = ParamSpec("P")
R = TypeVar("R")

DEVICE: str | None = typer.Option(
    None, "--device", help="Where the model runs: cuda, cuda:1, mps or cpu; by default the best there is."
)


def encodes(verb: Callable[P, R]) -> Callable[P, R]:
    """A verb with a parameter ``device``, on which every model that it loads runs."""

    @functools.wraps(verb)
    def placed(*args: P.args, **options: P.kwargs) -> R:
        from limbeck.encoders.chosen import on_device

        name = options.get("device")
        with on_device(name if isinstance(name, str) else None):
            return verb(*args, **options)

    return placed
