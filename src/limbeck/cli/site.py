"""``limbeck site``: an index as static files that search in the browser."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.console import echo


def site(
    index: Path = typer.Argument(..., help="Index directory."),
    out: Path = typer.Argument(..., help="New folder of the site; with --single, the HTML file."),
    single: bool = typer.Option(False, "--single", help="Write one HTML file that holds everything."),
    columns: str | None = typer.Option(
        None,
        "--columns",
        metavar="NAME,…",
        help='Columns of the metadata to publish, "" for none; default: all but the paths of the files.',
    ),
    paths: bool = typer.Option(False, "--paths", help="Publish the paths of the picture files too."),
    text: bool = typer.Option(True, "--text/--no-text", help="Publish the text tower, for search by words."),
    embeddings: bool = typer.Option(
        False, "--embeddings", help="Publish the embeddings that the index keeps, for the order of ties."
    ),
    pictures: bool = typer.Option(True, "--pictures/--no-pictures", help="Publish thumbnails."),
    media: Path | None = typer.Option(
        None, "--media", help="Folder or zip of the pictures; default: the one that the index records."
    ),
    side: int = typer.Option(128, "--side", min=16, max=2048, help="Longest side of a thumbnail in pixels."),
    quality: int = typer.Option(60, "--quality", min=1, max=100, help="WebP quality of the thumbnails."),
    title: str | None = typer.Option(None, "--title", help="Title of the page; default: the index's name."),
) -> None:
    """Write an index as a web page that searches in the browser, without a server.

    The folder works on any static host, and from the disk: open index.html. It publishes the ids, the chosen
    metadata, thumbnails without EXIF data, the points of the items and the text tower of the index.
    """
    from limbeck.site import SiteOptions, write_site

    chosen = None if columns is None else tuple(name.strip() for name in columns.split(",") if name.strip())
    options = SiteOptions(chosen, paths, text, embeddings, media, pictures, side, quality, title, single)
    report = write_site(index, out, options, progress=True)
    if report.missing:
        echo(f"note: {report.missing:,} picture(s) could not be read, and no thumbnail was made", err=True)
    first = "" if single else f", {report.first / 1e6:.2f} MB before the first answer"
    echo(f"{out}: {report.items:,} items, {report.bytes / 1e6:.2f} MB{first}")
