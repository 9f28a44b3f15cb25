"""``limbeck search``: ask an index."""

from __future__ import annotations

from pathlib import Path

import typer

from limbeck.errors import LimbeckError


def search(
    index: Path = typer.Argument(..., help="Index directory, from `limbeck index build`."),
    text: str | None = typer.Argument(None, help='Words, such as "two dogs on a beach".'),
    k: int = typer.Option(10, "-k", help="Number of hits."),
    image: Path | None = typer.Option(None, "--image", help="Search by a picture file."),
    like: str | None = typer.Option(None, "--like", help="Search by the id of an item of the index."),
    features: Path | None = typer.Option(
        None, "--features", help="Search by image features, .npy (Q, D) or (D,)."
    ),
    codes: Path | None = typer.Option(
        None, "--codes", help="Search by points, .npy: packed codes or unit vectors."
    ),
    json_file: Path | None = typer.Option(None, "--json", help="Also write the hits to this JSON file."),
    gallery: Path | None = typer.Option(
        None, "--gallery", help="Also write the hits' pictures to this .png file."
    ),
    media: Path | None = typer.Option(None, "--media", help="Where the pictures are now, if they moved."),
) -> None:
    """Show the items nearest to a text, a picture, an item, features or codes."""
    if sum(query is not None for query in (text, image, like, features, codes)) != 1:
        raise typer.BadParameter('give exactly one query: "words", --image, --like, --features or --codes')
    if media is not None and gallery is None:
        raise typer.BadParameter("--media says where a --gallery finds its pictures; give both")
    if media is not None and not media.exists():
        raise LimbeckError(f"{media}: no such folder or zip file; give --media the place of the pictures")
    from limbeck.cli.hits import hits_json, print_hits, write_gallery
    from limbeck.files import write_json
    from limbeck.index.arrays import open_queries
    from limbeck.search import Index

    opened = Index.open(index)
    file = features or codes
    if file is not None:
        array = open_queries(file)
        points = array if codes is not None else opened.encode(features=array)
        found = opened.hits(*opened.search_points(points, k))
        results = [(f"{file} row {row}", hits) for row, hits in enumerate(found)]
    else:
        name = f"like {like}" if like is not None else str(text if text is not None else image)
        results = [(name, opened.search(text, k, image=image, like=like))]
    print_hits(results, opened.score_name)
    if json_file is not None:
        write_json(json_file, hits_json(opened, results, k))
    if gallery is not None:
        write_gallery(gallery, opened, results, media, like=like, image=image)
        typer.echo(f"gallery: {gallery}")
