"""``limbeck cache``: show the disk space of cached frozen-tower outputs, and free it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.console import echo


def cache(
    prune: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Remove files that nothing has read for this many days; 0 removes all.",
            metavar="DAYS",
        ),
    ] = None,
) -> None:
    """Show how much disk space the cached outputs of frozen towers take.

    The cache is in $LIMBECK_CACHE, else in ~/.cache/limbeck. Removed outputs are computed again when they are
    needed.
    """
    from limbeck.encoders.cache import BackboneCache

    store = BackboneCache()
    if prune is not None:
        echo(f"removed {_summary(store.prune(prune))}")
    for days, what in ((0, "in total"), (7, "not read for 7 days"), (30, "not read for 30 days")):
        echo(f"{store.folder}: {_summary(store.kept(days))} {what}")


def _summary(files: dict[Path, int]) -> str:
    return f"{len(files):,} files, {sum(files.values()) / 1e9:.2f} GB"
