"""``limbeck cache``: what is kept of frozen towers, and how to get the room back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.console import echo


def cache(
    prune: Annotated[
        float | None,
        typer.Option(
            min=0, help="Remove what nothing has read for so many days; 0 removes all.", metavar="DAYS"
        ),
    ] = None,
) -> None:
    """Tell how much room the stored outputs of frozen towers take, in $LIMBECK_CACHE or ~/.cache/limbeck.

    They are computed again where they are missed.
    """
    from limbeck.encoders.cache import BackboneCache

    store = BackboneCache()
    if prune is not None:
        echo(f"removed {_told(store.prune(prune))}")
    for days, what in ((0, "in all"), (7, "not read for 7 days"), (30, "not read for 30 days")):
        echo(f"{store.folder}: {_told(store.kept(days))} {what}")


def _told(files: dict[Path, int]) -> str:
    return f"{len(files):,} files, {sum(files.values()) / 1e9:.2f} GB"
