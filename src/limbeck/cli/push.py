"""``limbeck index push``: load an index into a Milvus collection."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.console import echo


def push(
    index: Path = typer.Argument(..., help="Index directory."),
    address: str = typer.Argument(..., metavar="milvus://HOST:PORT/NAME", help="Server and collection."),
    nlist: int = typer.Option(
        0, "--nlist", help="Number of inverted lists; 0 builds none and compares all items."
    ),
    replace: bool = typer.Option(
        False, "--replace", help="Replace the collection of another index or model."
    ),
) -> None:
    """Load all items into Milvus, or none; then search with `limbeck search --engine milvus://…`."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from limbeck.console import console
    from limbeck.index.milvus.push import push_index
    from limbeck.index.store import IndexStore

    columns = (TextColumn("pushing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True)) as progress:
        task = progress.add_task("pushing", total=len(IndexStore.open(index)))
        pushed = push_index(
            index, address, nlist=nlist, replace=replace, advance=lambda count: progress.advance(task, count)
        )
    if pushed.left_out:
        echo(f"columns left out, since Milvus cannot filter them: {', '.join(pushed.left_out)}", err=True)
    echo(f"{pushed.rows:,} items in {address}; try: limbeck search {index} … --engine {address}")
