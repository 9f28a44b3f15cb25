"""``limbeck encode``: a collection through a model."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.console import echo


@encodes
def encode(
    run: Path = typer.Argument(..., help="Run or model directory."),
    source: Path = typer.Argument(..., help="Folder of pictures, pairs directory, or table."),
    out: Path = typer.Option(..., "--out", help="Directory of the encoded set."),
    protocol: str | None = typer.Option(None, "--protocol", help="Take only a split of this protocol."),
    split: str | None = typer.Option(None, "--split", help="query, database (default) or train."),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items in one forward pass."),
    workers: int | None = typer.Option(None, "--workers", help="Threads that decode; one a core by default."),
    image_column: str | None = typer.Option(None, "--image-column", help="Of a table: where pictures are."),
    types: str | None = typer.Option(
        None, "--types", help="Of a table: NAME=TYPE, …; text, int, float, bool, date or time. Else guessed."
    ),
    multiline: bool = typer.Option(
        False, "--multiline", help="Of a CSV table: quoted fields may hold line ends."
    ),
    keep_embeddings: bool = typer.Option(
        False, "--keep-embeddings", help="Keep the embeddings behind the codes, for search --rerank and ties."
    ),
    replace: bool = typer.Option(False, "--replace", help="Write over an existing encoded set."),
    device: str | None = DEVICE,
) -> None:
    """Encode pictures (or their features) into points; the same command goes on where it was interrupted."""
    if split is not None and protocol is None:
        raise typer.BadParameter("--split names a part of a protocol; give --protocol as well")
    from limbeck.cli.skipped import SkipList
    from limbeck.encoders.load import load
    from limbeck.encoding import encode_source, open_source, split_rows
    from limbeck.index.encoded import SKIPPED, read_skipped
    from limbeck.tables.guess import parse_types

    opened = open_source(source, image_column=image_column, types=parse_types(types), multiline=multiline)
    rows = None if protocol is None else split_rows(opened, protocol, split or "database")
    encoded = encode_source(
        load(run),
        opened,
        out,
        rows=rows,
        model=str(run),
        batch_size=batch_size,
        workers=workers,
        progress=True,
        keep_embeddings=keep_embeddings,
        replace=replace,
    )
    skipped = SkipList()
    for entry in read_skipped(out):
        skipped.take(entry["id"], entry["reason"], entry.get("kind", "unreadable"))
    skipped.report(opened, str(out / SKIPPED))
    echo(f"{len(encoded)} items in {out}; next: limbeck index build {out} --model {run} --out INDEX")
