"""``limbeck index``: build, describe and check an index."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.engine import engine
from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.errors import LimbeckError

app = typer.Typer(
    help="Build, describe and check a search index.", no_args_is_help=True, rich_markup_mode=None
)


app.command()(engine)


@app.command()
@encodes
def build(
    source: Path | None = typer.Argument(
        None,
        help="Folder of pictures, pairs directory, encoded set, or table (CSV, TSV, JSON lines, Parquet).",
    ),
    out: Path = typer.Option(..., "--out", help="Directory of the new index."),
    model: Path | None = typer.Option(
        None,
        "--model",
        help="Run, model directory, pretrained model or hub id: it encodes items and queries.",
    ),
    codes: Path | None = typer.Option(
        None, "--codes", help="Instead of SOURCE: .npy of codes (packed, bool, or -1 and +1) or unit vectors."
    ),
    ids: Path | None = typer.Option(None, "--ids", help="File of the codes' ids, one per line."),
    protocol: str | None = typer.Option(None, "--protocol", help="Index only one split of this protocol."),
    split: str | None = typer.Option(
        None, "--split", help="Split to index: query, database (default) or train."
    ),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items per forward pass."),
    replace: bool = typer.Option(False, "--replace", help="Replace an existing index."),
    keep_embeddings: bool = typer.Option(
        False,
        "--keep-embeddings",
        help="Keep the float embeddings of the codes, for search --rerank and ties.",
    ),
    embeddings: Path | None = typer.Option(
        None, "--embeddings", help="With --codes: keep these float embeddings, .npy with one row per code."
    ),
    device: str | None = DEVICE,
) -> None:
    """Build an index from a collection and a model, or from existing codes or vectors."""
    if (source is None) == (codes is None) or (codes is None) != (ids is None):
        raise typer.BadParameter("give either SOURCE (with --model), or --codes FILE and --ids FILE")
    if codes is not None and (model is not None or protocol is not None):
        raise typer.BadParameter("--codes cannot be combined with --model or --protocol")
    if codes is not None and keep_embeddings:
        raise typer.BadParameter("--keep-embeddings needs SOURCE; with --codes give --embeddings FILE")
    if codes is None and embeddings is not None:
        raise typer.BadParameter("--embeddings needs --codes; with SOURCE give --keep-embeddings")
    if split is not None and protocol is None:
        raise typer.BadParameter("--split needs a protocol; give --protocol too")
    from limbeck.cli.collection import open_collection
    from limbeck.cli.skipped import SkipList
    from limbeck.search import Index

    if codes is not None and ids is not None:
        from limbeck.index.arrays import open_npy
        from limbeck.index.codes_file import read_codes_and_ids

        points, items = read_codes_and_ids(codes, ids)
        floats = False if embeddings is None else open_npy(embeddings)
        built = Index.build(out, points, items=items, replace=replace, embeddings=floats)
    else:
        assert source is not None
        opened, rows = open_collection(source, protocol, split)
        skipped = SkipList()
        built = Index.build(
            out,
            opened,
            model=model,
            rows=rows,
            batch_size=batch_size,
            replace=replace,
            progress=True,
            on_skip=skipped,
            embeddings=keep_embeddings,
        )
        skipped.report(opened)
    first = built.store.metadata([0])[0]["id"]
    echo(f"{len(built)} items in {out}; try: limbeck search {out} --like '{first}'")


@app.command()
def encoder(
    index: Path = typer.Argument(..., help="Index directory."),
    model: Path = typer.Option(
        ..., "--model", help="Run that was trained with init and freeze of the image tower."
    ),
) -> None:
    """Encode queries with another text encoder; the items keep their codes."""
    from limbeck.search import replace_query_encoder

    replace_query_encoder(index, model)
    echo(f'{index}: queries are now encoded by {model}; try: limbeck search {index} "..."')


@app.command()
@encodes
def calibrate(
    index: Path = typer.Argument(..., help="Index directory."),
    source: Path | None = typer.Argument(
        None, help="Items that are not in the index, with its columns; default: items of the index."
    ),
    protocol: str | None = typer.Option(None, "--protocol", help="Use only one split of this protocol."),
    split: str | None = typer.Option(
        None, "--split", help="Split to use: query (default), database or train."
    ),
    device: str | None = DEVICE,
) -> None:
    """Fit the confidence of hits to an index, as its build does; it replaces an earlier calibration."""
    if protocol is not None and source is None:
        raise typer.BadParameter("--protocol needs SOURCE, a pairs directory")
    if split is not None and protocol is None:
        raise typer.BadParameter("--split needs a protocol; give --protocol too")
    from limbeck.cli.collection import open_collection
    from limbeck.search import Index
    from limbeck.search.calibrate import Asked
    from limbeck.search.calibrate import calibrate as fit

    opened = Index.open(index)
    held_out = None
    if source is not None:
        held_out = Asked.of_source(opened.store, *open_collection(source, protocol, split or "query"))
    curves = fit(opened, held_out).curves
    if not curves:
        raise LimbeckError(
            f"{index}: its items have no captions, labels or tags that judge hits, and even the nearest hits "
            "hardly stand out; add such columns",
            code="E-INDEX-CONFIDENCE",
        )
    for modality, curve in curves.items():
        echo(f"{modality}: {curve.describe()}")


@app.command()
@writes("json_file")
def info(
    index: Path = typer.Argument(..., help="Index directory."),
    json_file: Path | None = typer.Option(
        None, "--json", help="Also write the description to this JSON file."
    ),
) -> None:
    """Describe an index: items, space, encoders, engines and columns."""
    from limbeck.cli.info import print_info
    from limbeck.files import write_json
    from limbeck.index.ann_index import engines_info
    from limbeck.index.confidence import Calibration
    from limbeck.index.store import IndexStore

    store = IndexStore.open(index)
    kept = store.kept
    ranked_by = None if kept is None else kept.describe()
    calibration = Calibration.load(store)
    value = {
        **store.info(),
        "ranked_by": ranked_by,
        "confidence": None if calibration is None else asdict(calibration)["curves"],
        "engines": engines_info(store),
    }
    print_info(value)
    if json_file is not None:
        write_json(json_file, value)


@app.command()
def verify(index: Path = typer.Argument(..., help="Index directory.")) -> None:
    """Read every file of an index and compare checksums, ids and vectors with the record."""
    from limbeck.index.ann_index import derived_names, open_derived
    from limbeck.index.store import verify_index

    files = verify_index(index) + sum(open_derived(index, name).verify() for name in derived_names(index))
    echo(f"{index}: {files} files verified")
