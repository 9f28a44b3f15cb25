"""``limbeck encode``: a collection through a model."""

from __future__ import annotations

from pathlib import Path

import typer


def encode(
    run: Path = typer.Argument(..., help="Run or model directory."),
    source: Path = typer.Argument(..., help="Folder of pictures or pairs directory."),
    out: Path = typer.Option(..., "--out", help="Directory of the encoded set."),
    protocol: str | None = typer.Option(None, "--protocol", help="Take only a split of this protocol."),
    split: str | None = typer.Option(None, "--split", help="query, database (default) or train."),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items in one forward pass."),
    replace: bool = typer.Option(False, "--replace", help="Write over an existing encoded set."),
) -> None:
    """Encode pictures (or their features) into points, with ids and metadata beside them."""
    if split is not None and protocol is None:
        raise typer.BadParameter("--split names a part of a protocol; give --protocol as well")
    from limbeck.cli.skipped import SkipList
    from limbeck.encoders.load import load
    from limbeck.encoding import encode_source, open_source, split_rows
    from limbeck.index.encoded import SKIPPED, read_skipped

    opened = open_source(source)
    rows = None if protocol is None else split_rows(opened, protocol, split or "database")
    encoded = encode_source(
        load(run),
        opened,
        out,
        rows=rows,
        model=str(run),
        batch_size=batch_size,
        progress=True,
        replace=replace,
    )
    skipped = SkipList()
    for entry in read_skipped(out):
        skipped(entry["id"], entry["reason"])
    skipped.report(f", listed in {out / SKIPPED}")
    typer.echo(f"{len(encoded)} items in {out}; next: limbeck index build {out} --model {run} --out INDEX")
