"""``limbeck cache``: what is kept of frozen towers, and how to get the room back."""

from __future__ import annotations

from typing import Annotated

import typer


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
        count, size = store.prune(prune)
        typer.echo(f"removed {count:,} files, {size / 1e9:.2f} GB")
    for days, what in ((0, "in all"), (7, "not read for 7 days"), (30, "not read for 30 days")):
        files = store.kept(days)
        size = sum(file.stat().st_size for file in files)
        typer.echo(f"{store.folder}: {len(files):,} files, {size / 1e9:.2f} GB {what}")
