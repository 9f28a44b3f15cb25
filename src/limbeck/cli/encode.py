"""``limbeck encode``: encode a collection with a model."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.console import echo


@encodes
def encode(
    run: Path = typer.Argument(..., help="Run, model directory, pretrained model or hub id."),
    source: Path = typer.Argument(..., help="Folder of pictures, pairs directory, or table."),
    out: Path = typer.Option(..., "--out", help="Directory of the encoded set."),
    protocol: str | None = typer.Option(None, "--protocol", help="Encode only one split of this protocol."),
    split: str | None = typer.Option(
        None, "--split", help="Split to encode: query, database (default) or train."
    ),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items per forward pass."),
    workers: int | None = typer.Option(
        None, "--workers", help="Threads that decode pictures; default: one per core."
    ),
    image_column: str | None = typer.Option(
        None, "--image-column", help="Table column of the picture paths."
    ),
    types: str | None = typer.Option(
        None,
        "--types",
        help="Column types of a table, NAME=TYPE, …: text, int, float, bool, date or time; else guessed.",
    ),
    multiline: bool = typer.Option(False, "--multiline", help="Quoted CSV fields may contain line breaks."),
    keep_embeddings: bool = typer.Option(
        False,
        "--keep-embeddings",
        help="Keep the float embeddings of the codes, for search --rerank and ties.",
    ),
    replace: bool = typer.Option(False, "--replace", help="Replace an existing encoded set."),
    device: str | None = DEVICE,
) -> None:
    """Encode pictures, or their features, into codes or vectors.

    After an interrupt the same command continues where it stopped.
    """
    if split is not None and protocol is None:
        raise typer.BadParameter("--split needs a protocol; give --protocol too")
    from limbeck.cli.skipped import SkipList
    from limbeck.encoding import encode_source, open_source, split_rows
    from limbeck.index.encoded import SKIPPED, read_skipped
    from limbeck.search.encoders import open_model
    from limbeck.tables.guess import parse_types

    opened = open_source(source, image_column=image_column, types=parse_types(types), multiline=multiline)
    rows = None if protocol is None else split_rows(opened, protocol, split or "database")
    encoded = encode_source(
        open_model(run),
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
