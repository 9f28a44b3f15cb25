"""``limbeck index add``, ``sync``, ``remove``, ``compact`` and ``export``."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.console import echo

_SHOWN = 10  # names of files that are gone


@encodes
def add(
    index: Path = typer.Argument(..., help="Index directory."),
    source: Path | None = typer.Argument(
        None,
        help="Folder of pictures, pairs directory, encoded set, or table (CSV, TSV, JSON lines, Parquet).",
    ),
    codes: Path | None = typer.Option(
        None, "--codes", help="Instead: .npy of codes, in any of the forms of index build, or vectors."
    ),
    ids: Path | None = typer.Option(None, "--ids", help="Ids of the codes, one a line."),
    embeddings: Path | None = typer.Option(
        None, "--embeddings", help="With --codes: .npy of float embeddings, where the index keeps them."
    ),
    model: Path | None = typer.Option(None, "--model", help="Run that made the codes, if one did."),
    protocol: str | None = typer.Option(None, "--protocol", help="Take only a split of this protocol."),
    split: str | None = typer.Option(None, "--split", help="query, database (default) or train."),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items in one forward pass."),
    replace: bool = typer.Option(False, "--replace", help="Put items in the place of those of the same id."),
    device: str | None = DEVICE,
) -> None:
    """Add items, encoded with the model in the index; all in one commit, or nothing."""
    if (source is None) == (codes is None) or (codes is None) != (ids is None):
        raise typer.BadParameter("give either SOURCE, or --codes FILE and --ids FILE")
    if codes is None and model is not None:
        raise typer.BadParameter("--model says who made --codes; a source is encoded with the index's model")
    if codes is None and embeddings is not None:
        raise typer.BadParameter("--embeddings goes with --codes; of a source the index keeps its own")
    if (protocol is not None and codes is not None) or (split is not None and protocol is None):
        raise typer.BadParameter("--split goes with --protocol, and both with a pairs directory")
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
    took = f", {added.replaced} of them in the place of older ones" if added.replaced else ""
    echo(f"{index}: {added.items} item(s) added{took}")


@encodes
def sync(
    index: Path = typer.Argument(..., help="Index directory."),
    folder: Path = typer.Argument(
        ..., help="Folder of pictures that the index was built of, or a part of it."
    ),
    remove: bool = typer.Option(
        False, "--remove", help="Also take out items whose file is not there any more."
    ),
    batch_size: int | None = typer.Option(None, "--batch-size", help="Items in one forward pass."),
    device: str | None = DEVICE,
) -> None:
    """Encode only what is new or changed in a folder; all in one commit, or nothing."""
    from limbeck.cli.skipped import SkipList
    from limbeck.search.sync import sync_folder

    skipped = SkipList()
    found = sync_folder(index, folder, remove=remove, batch_size=batch_size, progress=True, on_skip=skipped)
    skipped.report()
    for name in found.gone[:_SHOWN]:
        echo(f"gone {name}", err=True)
    kept = "" if found.removed or not found.gone else " (kept in the index; --remove takes them out)"
    noted = f" ({found.unrecorded:,} of unknown earlier state)" if found.unrecorded else ""
    echo(
        f"{index}: {found.new:,} new, {found.changed:,} changed{noted}, {found.unchanged:,} unchanged, "
        f"{len(found.gone):,} gone{kept}"
    )


def compact(
    index: Path = typer.Argument(..., help="Index directory."),
    media_root: Path | None = typer.Option(
        None, "--media-root", help="Make paths relative to this folder, which holds the recorded one."
    ),
) -> None:
    """Merge all segments into one without the removed rows; row order stays."""
    from limbeck.index.compact import compact_index

    done = compact_index(index, media_root=media_root)
    echo(f"{index}: {'one segment now' if done else 'nothing to do'}")


def export(
    index: Path = typer.Argument(..., help="Index directory."),
    out: Path = typer.Argument(..., help="File to write: .parquet, .npy or .faiss."),
) -> None:
    """Write items and points for other programs; removed rows stay behind."""
    from limbeck.index.export import export_index

    files = export_index(index, out)
    echo(f"{index}: written to {' and '.join(map(str, files))}")


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
    echo(f"{index}: {count} item(s) removed")
