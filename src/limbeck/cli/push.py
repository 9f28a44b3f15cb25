"""``limbeck index push``: load an index into a collection of Milvus."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.console import echo


def push(
    index: Path = typer.Argument(..., help="Index directory."),
    address: str = typer.Argument(..., metavar="milvus://HOST:PORT/NAME", help="Server and collection."),
    lists: int = typer.Option(
        0, "--lists", help="Put items into so many lists, of which a search looks at some; 0 compares all."
    ),
    replace: bool = typer.Option(False, "--replace", help="Take the name over from another index or model."),
) -> None:
    """Load all items into Milvus; `limbeck search --engine milvus://…` asks there. All or nothing."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from limbeck.console import console
    from limbeck.index.milvus.push import push_index
    from limbeck.index.store import IndexStore

    columns = (TextColumn("pushing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True)) as progress:
        task = progress.add_task("pushing", total=len(IndexStore.open(index)))
        pushed = push_index(
            index, address, lists=lists, replace=replace, advance=lambda count: progress.advance(task, count)
        )
    if pushed.left_out:
        echo(f"left out, since Milvus cannot filter them: {', '.join(pushed.left_out)}", err=True)
    echo(f"{pushed.rows:,} items in {address}; try: limbeck search {index} … --engine {address}")
