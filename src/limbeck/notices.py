"""Messages to the user apart from results: on standard error, from the first of several processes."""

from __future__ import annotations

import os

from limbeck.console import echo

_RANKS = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")


def say(text: str) -> None:
    """Print one line to standard error, unless another process prints it."""
    if is_first():
        echo(f"limbeck: {text}", err=True)


def is_first() -> bool:
    """Return True except in the later ones of several processes from a launcher."""
    return all(os.environ.get(name, "0") == "0" for name in _RANKS)
