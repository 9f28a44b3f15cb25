"""``limbeck index add``, ``sync``, ``remove``, ``compact`` and ``export`` change or copy an index."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.console import echo

_SHOWN = 10  # names of missing files to print


@encodes
def add(
    index: Path = typer.Argument(..., help="Index directory."),
    source: Path | None = typer.Argument(
        None,
        help="Folder of pictures, pairs directory, encoded set, or table (CSV, TSV, JSON lines, Parquet).",
    ),
    codes: Path | None = typer.Option(
        None,
        "--codes",
        help="Instead of SOURCE: .npy of codes or vectors, in any form that index build reads.",
    ),
    ids: Path | None = typer.Option(None, "--ids", help="File of the codes' ids, one per line."),
    embeddings: Path | None = typer.Option(
        None,
        "--embeddings",
        help="With --codes: their float embeddings, .npy, if the index keeps embeddings.",
    ),
    model: Path | None = typer.Option(
        None, "--model", help="With --codes: run that made the codes, if a run did."
    ),
    protocol: str | None = typer.Option(None, "--protocol", help="Add only one split of this protocol."),
    split: str | None = typer.Option(
        None, "--split", help="Split to add: query, database (default) or train."
    ),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items per forward pass."),
    replace: bool = typer.Option(False, "--replace", help="Replace items that have the same id."),
    device: str | None = DEVICE,
) -> None:
    """Add items, encoded with the model of the index, in one atomic commit."""
    if (source is None) == (codes is None) or (codes is None) != (ids is None):
        raise typer.BadParameter("give either SOURCE, or --codes FILE and --ids FILE")
    if codes is None and model is not None:
        raise typer.BadParameter(
            "--model names the run that made --codes; SOURCE is encoded with the index's model"
        )
    if codes is None and embeddings is not None:
        raise typer.BadParameter("--embeddings needs --codes; for SOURCE the model computes them")
    if (protocol is not None and codes is not None) or (split is not None and protocol is None):
        raise typer.BadParameter("--split needs --protocol, and both need SOURCE, a pairs directory")
    from limbeck.cli.collection import open_collection
    from limbeck.cli.skipped import SkipList
    from limbeck.search import add_items

    if codes is not None and ids is not None:
        from limbeck.index.arrays import open_npy
        from limbeck.index.codes_file import read_codes_and_ids

        points, items = read_codes_and_ids(codes, ids)
        floats = None if embeddings is None else open_npy(embeddings)
        added = add_items(index, points, items=items, model=model, replace=replace, embeddings=floats)
    else:
        assert source is not None
        opened, rows = open_collection(source, protocol, split)
        skipped = SkipList()
        added = add_items(
            index,
            opened,
            rows=rows,
            batch_size=batch_size,
            replace=replace,
            progress=True,
            on_skip=skipped,
        )
        skipped.report(opened)
    note = f", {added.replaced} of them replaced older ones" if added.replaced else ""
    echo(f"{index}: {added.items} item(s) added{note}")


@encodes
def sync(
    index: Path = typer.Argument(..., help="Index directory."),
    folder: Path = typer.Argument(
        ..., help="Folder of pictures that the index was built from, or a part of it."
    ),
    remove: bool = typer.Option(False, "--remove", help="Also remove items whose file is missing."),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items per forward pass."),
    device: str | None = DEVICE,
) -> None:
    """Encode only new or changed pictures of a folder, in one atomic commit."""
    from limbeck.cli.skipped import SkipList
    from limbeck.search.sync import sync_folder

    skipped = SkipList()
    report = sync_folder(index, folder, remove=remove, batch_size=batch_size, progress=True, on_skip=skipped)
    skipped.report()
    for name in report.gone[:_SHOWN]:
        echo(f"missing {name}", err=True)
    kept = "removed" if report.removed else "kept in the index; --remove removes them"
    kept = f" ({kept})" if report.gone else ""
    noted = f" ({report.unrecorded:,} of unknown earlier state)" if report.unrecorded else ""
    echo(
        f"{index}: {report.new:,} new, {report.changed:,} changed{noted}, {report.unchanged:,} unchanged, "
        f"{len(report.gone):,} missing{kept}"
    )


def compact(
    index: Path = typer.Argument(..., help="Index directory."),
    media_root: Path | None = typer.Option(
        None,
        "--media-root",
        help="Store picture paths relative to this folder, which contains the current media root.",
    ),
) -> None:
    """Merge all segments into one and drop the removed rows; the order stays."""
    from limbeck.index.compact import compact_index

    done = compact_index(index, media_root=media_root)
    echo(f"{index}: {'merged into one segment' if done else 'nothing to do'}")


def export(
    index: Path = typer.Argument(..., help="Index directory."),
    out: Path = typer.Argument(..., help="File to write: .parquet, .npy or .faiss."),
) -> None:
    """Export items with their codes or vectors for other programs, without removed rows."""
    from limbeck.index.export import export_index

    files = export_index(index, out)
    echo(f"{index}: written to {' and '.join(map(str, files))}")


def remove(
    index: Path = typer.Argument(..., help="Index directory."),
    ids: list[str] | None = typer.Argument(None, help="Ids of the items to remove."),
    ids_file: Path | None = typer.Option(None, "--ids", help="Instead of IDS: a file of ids, one per line."),
    where: str | None = typer.Option(None, "--where", help="Instead of IDS: a filter, as in limbeck search."),
) -> None:
    """Remove items by id or by filter, in one atomic commit."""
    if sum(given is not None for given in (ids or None, ids_file, where)) != 1:
        raise typer.BadParameter("give ids, or --ids FILE, or --where FILTER")
    from limbeck.index.codes_file import read_ids
    from limbeck.index.remove import remove_items

    names = read_ids(ids_file) if ids_file is not None else ids if where is None else None
    count = remove_items(index, names, where=where)
    echo(f"{index}: {count} item(s) removed")
