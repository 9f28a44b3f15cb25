"""``limbeck search``: ask an index."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    from limbeck.search import Index


def search(
    index: Path = typer.Argument(..., help="Index directory, from `limbeck index build`."),
    text: str | None = typer.Argument(None, help='Words, such as "two dogs on a beach".'),
    k: int | None = typer.Option(None, "-k", help="Number of hits; 10, or with --radius all within it."),
    image: Path | None = typer.Option(None, "--image", help="Search by a picture file."),
    like: str | None = typer.Option(None, "--like", help="Search by the id of an item of the index."),
    features: Path | None = typer.Option(
        None, "--features", help="Search by image features, .npy (Q, D) or (D,)."
    ),
    codes: Path | None = typer.Option(
        None, "--codes", help="Search by points, .npy: packed codes or unit vectors."
    ),
    queries: Path | None = typer.Option(
        None, "--queries", help="Many queries: .txt, a text a line, or .jsonl of text, image or like."
    ),
    where: str | None = typer.Option(
        None, "--where", help='Only items with, such as "labels has sky and width > 300".'
    ),
    radius: float | None = typer.Option(
        None, "--radius", help="Only items at most so distant (or at least so similar)."
    ),
    json_file: Path | None = typer.Option(None, "--json", help="Also write the hits to this JSON file."),
    gallery: Path | None = typer.Option(
        None, "--gallery", help="Also write the hits' pictures to this .png file."
    ),
    media: Path | None = typer.Option(None, "--media", help="Where the pictures are now, if they moved."),
) -> None:
    """Show the items nearest to a text, a picture, an item, features or codes."""
    if sum(query is not None for query in (text, image, like, features, codes, queries)) != 1:
        raise typer.BadParameter(
            'give exactly one query: "words", --image, --like, --features, --codes or --queries'
        )
    if queries is not None and gallery is not None:
        raise typer.BadParameter("--gallery draws the hits of one query; --queries writes JSON lines")
    if media is not None and gallery is None:
        raise typer.BadParameter("--media says where a --gallery finds its pictures; give both")
    if media is not None and not media.exists():
        raise LimbeckError(f"{media}: no such folder or zip file; give --media the place of the pictures")
    from limbeck.cli.hits import hits_json, print_hits, write_gallery
    from limbeck.files import write_json
    from limbeck.index.arrays import open_queries
    from limbeck.search import Index

    opened = Index.open(index)
    if queries is not None:
        _answer_file(opened, queries, k, where, radius, json_file)
        return
    file = features or codes
    if file is not None:
        array = open_queries(file)
        points = array if codes is not None else opened.encode(features=array)
        found = opened.search_many(points, k, where=where, radius=radius)
        results = [(f"{file} row {row}", hits) for row, hits in enumerate(found)]
    else:
        name = f"like {like}" if like is not None else str(text if text is not None else image)
        results = [(name, opened.search(text, k, image=image, like=like, where=where, radius=radius))]
    print_hits(results, opened.score_name)
    if json_file is not None:
        write_json(json_file, hits_json(opened, results, k, where, radius))
    if gallery is not None:
        write_gallery(gallery, opened, results, media, like=like, image=image)
        typer.echo(f"gallery: {gallery}")


def _answer_file(
    index: Index, queries: Path, k: int | None, where: str | None, radius: float | None, out: Path | None
) -> None:
    """JSON lines to ``out`` or standard output; status 1 if a query failed, after all the others."""
    import json
    import sys

    from limbeck.batch_search import answer_file
    from limbeck.files import atomic_file

    failed = 0
    with atomic_file(out) if out is not None else nullcontext(sys.stdout.buffer) as stream:
        for answer in answer_file(index, queries, k, where=where, radius=radius):
            failed += "error" in answer
            stream.write((json.dumps(answer, ensure_ascii=False, default=str) + "\n").encode())
    if failed:
        raise LimbeckError(f"{queries}: {failed} queries failed; see 'error' in their lines")
