"""Present search results as a table, as JSON, or as a contact sheet of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.search import Hit, Index

Results = Sequence[tuple[str, "list[Hit]"]]
_WORDS = ("labels", "tags", "captions")


def words_of(hit: Hit) -> str:
    """Return the labels of a hit in one line, else its tags, else its captions."""
    return ", ".join(next((hit.metadata[name] for name in _WORDS if hit.metadata.get(name)), []))


def score_of(hit: Hit) -> str:
    """Format a score: integers as they are, other numbers with four decimals."""
    return str(hit.score) if isinstance(hit.score, int) else f"{hit.score:.4f}"


def print_hits(results: Results, score_name: str) -> None:
    """Print one table per query with rank, score, id, path and words."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from limbeck.console import console as make_console

    console = make_console()
    for query, hits in results:
        if not hits:
            console.print(f"{escape(query)}\n\n  no item passes\n")
            continue
        with_words = any(words_of(hit) for hit in hits)
        table = Table(
            title=escape(query),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            expand=with_words and console.is_terminal,
        )
        table.add_column("rank", justify="right", no_wrap=True)
        table.add_column(score_name, justify="right", no_wrap=True)
        table.add_column("id", overflow="fold")
        with_path = any(hit.metadata.get("path") not in (None, hit.id) for hit in hits)
        if with_path:
            table.add_column("path", no_wrap=True, overflow="ellipsis", max_width=32)
        sure = any(hit.confidence is not None for hit in hits)
        if sure:
            table.add_column("confidence", justify="right", no_wrap=True)
        folded = any(hit.alike for hit in hits)
        if folded:
            table.add_column("alike", justify="right", no_wrap=True)
        if with_words:
            table.add_column("labels, tags or caption", no_wrap=True, overflow="ellipsis", ratio=1)
        for rank, hit in enumerate(hits, start=1):
            cells = [str(rank), score_of(hit), escape(hit.id)]
            cells += [escape(hit.metadata.get("path") or "")] * with_path
            cells += ["" if hit.confidence is None else f"{hit.confidence:.0%}"] * sure
            cells += [str(1 + len(hit.alike)) if hit.alike else ""] * folded
            cells += [escape(words_of(hit))] * with_words
            table.add_row(*cells)
        console.print(table)


def hits_json(
    index: Index, results: Results, k: int | None, options: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """Return the results as a JSON value.

    Args:
        index: the index searched.
        results: hits per query.
        k: the requested number of hits; None for the default.
        options: further options of the search to record, such as the filter or the radius.
    """
    options = dict(options or {})
    return {
        "index": str(index.store.path),
        "space": index.space.to_json(),
        "score": index.score_name,
        "k": 10 if k is None and "radius" not in options else k,
        **options,
        "results": [
            {
                "query": query,
                "hits": [hit.to_json(rank) for rank, hit in enumerate(hits, start=1)],
            }
            for query, hits in results
        ],
    }


def write_gallery(
    path: Path,
    index: Index,
    results: Results,
    media: Path | None,
    *,
    like: str | None = None,
    image: Path | None = None,
) -> None:
    """Write a contact sheet of the hits' pictures with their words; a query picture comes first."""
    from functools import partial

    from limbeck.pictures import open_picture
    from limbeck.reporting.gallery import Cell, contact_sheet

    query_cells = []
    if like is not None:
        query_cells = [Cell(partial(index.picture, index.item(like), media=media), ["query", like])]
    elif image is not None:
        query_cells = [Cell(partial(open_picture, image), ["query", image.name])]
    rows = []
    for query, hits in results:
        cells = [
            Cell(partial(index.picture, hit, media=media), [f"{score_of(hit)}  {hit.id}", words_of(hit)])
            for hit in hits
        ]
        rows.append((query, [*query_cells, *cells]))
    contact_sheet(path, rows)
