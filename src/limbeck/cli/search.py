"""``limbeck search``: search an index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    import numpy as np

    from limbeck.search import Index


@writes("json_file", "gallery")
@encodes
def search(
    index: Path = typer.Argument(..., help="Index directory, from `limbeck index build`."),
    text: str | None = typer.Argument(None, help='Query text, such as "two dogs on a beach".'),
    k: int | None = typer.Option(None, "-k", help="Number of hits; default: 10, with --radius all."),
    image: Path | None = typer.Option(None, "--image", help="Search with a picture file."),
    like: str | None = typer.Option(None, "--like", help="Search with an item of the index, by its id."),
    features: Path | None = typer.Option(
        None, "--features", help="Search with image features, .npy (Q, D) or (D,)."
    ),
    codes: Path | None = typer.Option(
        None, "--codes", help="Search with .npy codes (packed, bool, or -1 and +1) or unit vectors."
    ),
    queries: Path | None = typer.Option(
        None,
        "--queries",
        help="Search with many queries: .txt, one text per line, or .jsonl of text, image or like.",
    ),
    where: str | None = typer.Option(
        None, "--where", help='Filter of the items, such as "labels has sky and width > 300".'
    ),
    radius: float | None = typer.Option(
        None, "--radius", help="Largest distance of a hit (or smallest similarity)."
    ),
    more_general: bool = typer.Option(
        False,
        "--more-general",
        help="Only items whose cone contains the query and that are nearer to the root (Lorentz).",
    ),
    more_specific: bool = typer.Option(
        False, "--more-specific", help="Only items inside the query's cone, farther from the root (Lorentz)."
    ),
    engine: str = typer.Option(
        "exact",
        "--engine",
        help="exact, an engine of `limbeck index engine`, auto (fastest with --recall), or milvus://HOST:PORT/NAME.",
    ),
    recall: float = typer.Option(0.95, "--recall", help="Recall that an approximate engine must reach."),
    rerank: int | None = typer.Option(
        None, "--rerank", help="Re-rank the N nearest codes by the stored float embeddings.", metavar="N"
    ),
    embeddings: Path | None = typer.Option(
        None, "--embeddings", help="With --codes: the queries' float embeddings, .npy with one row per code."
    ),
    json_file: Path | None = typer.Option(None, "--json", help="Also write the hits to this JSON file."),
    gallery: Path | None = typer.Option(
        None, "--gallery", help="Also write a contact sheet of the hits to this .png file."
    ),
    media: Path | None = typer.Option(
        None, "--media", help="Current folder or zip of the pictures, if they moved."
    ),
    device: str | None = DEVICE,
) -> None:
    """Show the items that are nearest to a text, a picture, an item, features or codes."""
    if sum(query is not None for query in (text, image, like, features, codes, queries)) != 1:
        raise typer.BadParameter(
            'give exactly one query: "words", --image, --like, --features, --codes or --queries'
        )
    if queries is not None and gallery is not None:
        raise typer.BadParameter("--gallery draws the hits of one query; with --queries use --json")
    if embeddings is not None and codes is None:
        raise typer.BadParameter(
            "--embeddings needs --codes; other queries are embedded by the index's model"
        )
    if rerank is not None and radius is not None:
        raise typer.BadParameter("--rerank and --radius exclude each other; give one")
    if rerank is not None and codes is not None and embeddings is None:
        raise typer.BadParameter(
            "--rerank needs the queries' embeddings; give --embeddings FILE with --codes"
        )
    if more_general and more_specific:
        raise typer.BadParameter("--more-general and --more-specific exclude each other; give one")
    if media is not None and gallery is None:
        raise typer.BadParameter("--media locates the pictures of --gallery; give both")
    if media is not None and not media.exists():
        raise LimbeckError(
            f"{media}: no such folder or zip file; give --media the current folder of the pictures"
        )
    from limbeck.cli.hits import hits_json, print_hits, write_gallery
    from limbeck.files import write_json
    from limbeck.index.arrays import open_points, open_queries
    from limbeck.search import Index

    opened = Index.open(index)
    wanted = None if radius is not None else rerank or k or 10
    choice = opened.choose(engine, recall=recall, k=wanted)
    if engine != "exact":  # print to standard error: standard output may be JSON lines
        echo(f"engine {choice.engine}: {choice.why}", err=True)
    if rerank is not None:
        echo(f"ranked by the {opened.kept.describe()}", err=True)
    options: dict[str, Any] = {"where": where, "radius": radius, "engine": engine, "recall": recall}
    options["along"] = "more-general" if more_general else "more-specific" if more_specific else None
    if queries is not None:
        _answer_file(opened, queries, k, options | {"rerank": rerank}, json_file)
        return
    file = features or codes
    if file is not None:
        if codes is not None:
            points = open_points(codes, opened.space.storage)
            floats = None if embeddings is None else open_queries(embeddings)
        elif rerank is not None:
            points, floats = opened.embed(features=open_queries(file))
        else:
            points, floats = opened.asked(features=open_queries(file))
        if rerank is not None:
            assert floats is not None
            chosen = {name: value for name, value in options.items() if name != "radius"}
            found = opened.search_reranked(points, floats, k, rerank=rerank, **chosen)
        else:
            found = opened.search_many(points, k, embeddings=floats, **options)
        results = [(f"{file} row {row}", hits) for row, hits in enumerate(found)]
    else:
        name = f"like {like}" if like is not None else str(text if text is not None else image)
        results = [(name, opened.search(text, k, image=image, like=like, rerank=rerank, **options))]
    print_hits(results, opened.score_name if rerank is None else opened.kept.score_name)
    if (
        options["along"] is not None
        and where is None
        and rerank is None
        and not any(hits for _, hits in results)
    ):
        if file is None:
            points = (
                opened.store.point(opened.store.row_of(like)) if like else opened.encode(text, image=image)
            )
        echo(_why_none(opened, points, options["along"]), err=True)
    if json_file is not None:
        given = {name: options[name] for name in ("where", "radius", "along") if options[name] is not None}
        if rerank is not None:
            given |= {"rerank": rerank, "score": opened.kept.score_name, "ranked_by": opened.kept.describe()}
        write_json(json_file, hits_json(opened, results, k, given | {"engine": choice.to_json()}))
    if gallery is not None:
        write_gallery(gallery, opened, results, media, like=like, image=image)
        echo(f"gallery: {gallery}")


def _answer_file(
    index: Index, queries: Path, k: int | None, options: dict[str, Any], out: Path | None
) -> None:
    """Write JSON lines to ``out`` or standard output; if a query failed, raise after all the others."""
    from limbeck.files import atomic_file, json_text
    from limbeck.search import answer_file

    failed = 0
    with atomic_file("-" if out is None else out) as stream:
        for answer in answer_file(index, queries, k, **options):
            failed += "error" in answer
            stream.write((json_text(answer) + "\n").encode())
    if failed:
        raise LimbeckError(f"{queries}: {failed} queries failed; read 'error' in their lines")


def _why_none(index: Index, points: np.ndarray, along: str) -> str:
    """Say by how much the nearest cone was missed in a search along the hierarchy without hits."""
    from limbeck.index.hierarchy import nearest_cone

    miss = min(nearest_cone(index.space, index.store.points, point[None], along) for point in points)
    if miss == float("inf"):
        side = "nearer to" if along == "more-general" else "farther from"
        return f"no item is {side} the root than the query"
    whose = (
        "every item's cone misses the query"
        if along == "more-general"
        else "every item misses the query's cone"
    )
    return f"{whose} by at least {miss:.1f}°; models with a small entailment weight hold few items in cones"
