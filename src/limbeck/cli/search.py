"""``limbeck search``: search an index."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from limbeck.cli.device import DEVICE, encodes
from limbeck.cli.outputs import writes
from limbeck.console import echo
from limbeck.errors import LimbeckError

if TYPE_CHECKING:
    import numpy as np

    from limbeck.search import Index, SearchOptions


@writes("json_file", "gallery")
@encodes
def search(
    index: Path = typer.Argument(..., help="Index directory, from `limbeck index build`."),
    text: str | None = typer.Argument(None, help='Query text, such as "two dogs on a beach".'),
    k: int | None = typer.Option(
        None, "-k", help="Number of hits; default: 10, or all hits within --radius."
    ),
    image: Path | None = typer.Option(None, "--image", help="Search with a picture file."),
    like: str | None = typer.Option(None, "--like", help="Search with an item of the index, by its id."),
    plus: list[str] = typer.Option([], "--plus", help="Add a text to the query; may be repeated."),
    minus: list[str] = typer.Option([], "--minus", help="Subtract a text from the query; may be repeated."),
    features: Path | None = typer.Option(
        None, "--features", help="Search with image features, .npy (Q, D) or (D,)."
    ),
    codes: Path | None = typer.Option(
        None, "--codes", help="Search with .npy codes (packed, bool, or -1 and +1) or unit vectors."
    ),
    queries: Path | None = typer.Option(
        None,
        "--queries",
        help="Search with many queries: .txt with one text per line, or .jsonl with text, image or like.",
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
        help="Return only items whose cone contains the query and that are nearer to the root (Lorentz).",
    ),
    more_specific: bool = typer.Option(
        False,
        "--more-specific",
        help="Return only items inside the query's cone, farther from the root (Lorentz).",
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
    asymmetric: bool | None = typer.Option(
        None,
        "--asymmetric/--symmetric",
        help="Compare codes with the query's real numbers, or with its code; default: the index's choice.",
    ),
    bits: int | None = typer.Option(
        None, "--bits", help="Compare only the first N bits of the codes (nested codes).", metavar="N"
    ),
    fold: bool = typer.Option(False, "--fold", help="Return near-duplicates as one hit."),
    min_confidence: float | None = typer.Option(
        None, "--min-confidence", help="Drop hits whose confidence, a probability, is lower.", metavar="P"
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
    """Show the items that are nearest to a text, a picture, an item, a sum of these, features or codes."""
    words = any(value is not None for value in (text, image, like)) or bool(plus or minus)
    if words + sum(file is not None for file in (features, codes, queries)) != 1:
        raise typer.BadParameter(
            'give one query: "words", --image, --like, --plus and --minus (which are added up), or else '
            "--features, --codes or --queries"
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
    if asymmetric and codes is not None:
        raise typer.BadParameter("--asymmetric needs a query that the index's model encodes, not --codes")
    if more_general and more_specific:
        raise typer.BadParameter("--more-general and --more-specific exclude each other; give one")
    if media is not None and gallery is None:
        raise typer.BadParameter("--media locates the pictures of --gallery; give both")
    if media is not None and not media.exists():
        raise LimbeckError(
            f"{media}: there is no such folder or zip file; give --media the current folder of the pictures",
            code="E-PATH-MISSING",
        )
    import numpy as np

    from limbeck.cli.hits import hits_json, print_hits, write_gallery
    from limbeck.files import write_json
    from limbeck.index.arrays import open_points, open_queries
    from limbeck.search import Index, SearchOptions, Term, describe_query, modality

    opened = Index.open(index)
    hierarchy = "more-general" if more_general else "more-specific" if more_specific else None
    options = SearchOptions(
        k, where, radius, hierarchy, None, engine, recall, rerank, asymmetric, bits, fold, min_confidence
    )
    choice = opened.engines.choose(options)
    if engine != "exact":  # print to standard error: standard output may be JSON lines
        echo(f"engine {choice.engine}: {choice.why}", err=True)
    if rerank is not None:
        echo(f"ranked by the {opened.kept.describe()}", err=True)
    if queries is not None:
        _answer_file(opened, queries, options, json_file)
        return
    floats: np.ndarray | None
    modalities: list[str | None] | None = None
    if codes is not None:
        points = open_points(codes, opened.space.storage)
        floats = None if embeddings is None else open_queries(embeddings)
        names = [f"{codes} row {row}" for row in range(len(points))]
    else:
        if features is not None:
            rows = np.atleast_2d(open_queries(features))
            asked, names = (
                [[Term(features=row)] for row in rows],
                [f"{features} row {n}" for n in range(len(rows))],
            )
        else:
            terms = [Term(word) for word in ([] if text is None else [text]) + plus]
            terms += [] if image is None else [Term(image=image)]
            terms += [] if like is None else [Term(id=like)]
            asked = [terms + [Term(text, weight=-1) for text in minus]]
            names = [describe_query(asked[0])]
        options = replace(opened.settled(asked, options), exclude=opened.excluded(asked))
        choice, numbers = opened.engines.choose(options), bool(options.asymmetric)
        points, floats = opened.encode_queries(asked, asymmetric=numbers, ranked=rerank is not None)
        modalities = [modality(terms) for terms in asked]
    found = opened.search_many(points, options, embeddings=floats, modalities=modalities)
    results = list(zip(names, found, strict=True))
    print_hits(results, opened.score_name if rerank is None else opened.kept.score_name)
    if hierarchy is not None and where is None and rerank is None and not any(found):
        echo(_why_none(opened, points, hierarchy), err=True)
    if json_file is not None:
        given = {"where": where, "radius": radius, "hierarchy": hierarchy, "bits": bits}
        given |= {"min_confidence": min_confidence, "fold": fold or None}
        given = {name: value for name, value in given.items() if value is not None}
        if options.asymmetric:
            given["asymmetric"] = True
        if rerank is not None:
            given |= {"rerank": rerank, "score": opened.kept.score_name, "ranked_by": opened.kept.describe()}
        write_json(json_file, hits_json(opened, results, k, given | {"engine": choice.to_json()}))
    if gallery is not None:
        write_gallery(gallery, opened, results, media, like=like, image=image)
        echo(f"gallery: {gallery}")


def _answer_file(index: Index, queries: Path, options: SearchOptions, out: Path | None) -> None:
    """Write JSON lines to ``out`` or standard output; if a query failed, raise after all the others."""
    from limbeck.files import atomic_file, json_text
    from limbeck.search import answer_file

    failed = 0
    with atomic_file("-" if out is None else out) as stream:
        for answer in answer_file(index, queries, options):
            failed += "error" in answer
            stream.write((json_text(answer) + "\n").encode())
    if failed:
        raise LimbeckError(
            f"{queries}: {failed} queries failed; read 'error' in their lines", code="E-QUERY-FAILED"
        )


def _why_none(index: Index, points: np.ndarray, hierarchy: str) -> str:
    """Say by how much the nearest cone was missed in a search along the hierarchy without hits."""
    from limbeck.index.hierarchy import nearest_cone

    miss = min(nearest_cone(index.space, index.store.points, point[None], hierarchy) for point in points)
    if miss == float("inf"):
        side = "nearer to" if hierarchy == "more-general" else "farther from"
        return f"no item is {side} the root than the query"
    whose = (
        "every item's cone misses the query"
        if hierarchy == "more-general"
        else "every item misses the query's cone"
    )
    return f"{whose} by at least {miss:.1f}°; models with a small entailment weight hold few items in cones"
