"""``limbeck index remove``: what changes an index that exists."""

from __future__ import annotations

from pathlib import Path

import typer


def remove(
    index: Path = typer.Argument(..., help="Index directory."),
    ids: list[str] | None = typer.Argument(None, help="Ids of the items to remove."),
    ids_file: Path | None = typer.Option(None, "--ids", help="Instead: a file of ids, one a line."),
    where: str | None = typer.Option(None, "--where", help="Instead: a filter, as in limbeck search."),
) -> None:
    """Remove items by id or filter; all in one commit, or nothing."""
    if sum(given is not None for given in (ids or None, ids_file, where)) != 1:
        raise typer.BadParameter("give ids, or --ids FILE, or --where FILTER")
    from limbeck.index.codes_file import read_ids
    from limbeck.index.remove import remove_items

    names = read_ids(ids_file) if ids_file is not None else ids if where is None else None
    count = remove_items(index, names, where=where)
    typer.echo(f"{index}: {count} item(s) removed")
