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
    processes: int = typer.Option(
        1, "--processes", min=1, help="Processes that each encode a share of the items."
    ),
    share: str | None = typer.Option(
        None, "--share", help="Encode only this share, such as 2/8, for example on another machine."
    ),
    replace: bool = typer.Option(False, "--replace", help="Replace an existing encoded set."),
    device: str | None = DEVICE,
) -> None:
    """Encode pictures, or their features, into codes or vectors.

    After an interrupt the same command continues where it stopped.
    """
    if split is not None and protocol is None:
        raise typer.BadParameter("--split needs a protocol; give --protocol too")
    import numpy as np

    from limbeck.cli.skipped import SkipList
    from limbeck.encoding import encode_source, open_source, split_rows
    from limbeck.encoding import processes as shared
    from limbeck.index.encoded import SKIPPED, read_skipped
    from limbeck.search.encoders import open_model
    from limbeck.tables.guess import parse_types

    opened = open_source(source, image_column=image_column, types=parse_types(types), multiline=multiline)
    rows = None if protocol is None else split_rows(opened, protocol, split or "database")
    if share is not None:
        rows = np.arange(len(opened)) if rows is None else rows
        rows = shared.asked_share(rows, share)
    model = open_model(run)
    if processes > 1:
        if share is not None:
            raise typer.BadParameter("--share and --processes exclude each other; give one")
        given = {
            "--protocol": protocol, "--split": split, "--batch-size": batch_size, "--workers": workers,
            "--image-column": image_column, "--types": types, "--device": device,
        }  # fmt: skip
        flags = {"--multiline": multiline, "--keep-embeddings": keep_embeddings}
        arguments = [
            part for name, value in given.items() if value is not None for part in (name, str(value))
        ]
        arguments += [name for name, value in flags.items() if value]
        encoded = shared.encode_shares(
            model,
            opened,
            [str(run), str(source), *arguments],
            out,
            rows=rows,
            processes=processes,
            replace=replace,
        )
    else:
        encoded = encode_source(
            model,
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
