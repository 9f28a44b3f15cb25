"""Many queries from a file, answered one by one: what `limbeck search --queries` writes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.choice import RECALL
from limbeck.index.query import check_k
from limbeck.search import Hit, Index

KINDS = ("text", "image", "like")
_TOGETHER = 256  # queries that share one walk over the index


def read_queries(path: Path | str) -> list[dict[str, str]]:
    """Queries ``{kind: value}``, kind one of `KINDS`: JSON lines, or in any other file a text a line.

    Images are relative to the file's folder; empty lines are passed over.

    Raises:
        LimbeckError: no such file, not text, no queries, a line that is no query (it is named).
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise LimbeckError(f"{path}: no such file") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise LimbeckError(f"{path}: not a UTF-8 text file; give a query a line") from None
    queries = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        query: Any = {"text": line.strip()}
        if path.suffix == ".jsonl":
            try:
                query = json.loads(line)
            except json.JSONDecodeError:
                query = None
            if not isinstance(query, dict) or len(query) != 1 or next(iter(query)) not in KINDS:
                raise LimbeckError(f'{path}: line {number} is no query; write {{"text": "…"}}, image or like')
            if not isinstance(next(iter(query.values())), str):
                raise LimbeckError(f"{path}: line {number} holds no string; give a text, a path or an id")
            if "image" in query:
                query = {"image": str(path.parent / query["image"])}
        queries.append(query)
    if not queries:
        raise LimbeckError(f"{path}: empty; give a query a line")
    return queries


def answer_file(
    index: Index,
    path: Path | str,
    k: int | None = None,
    *,
    where: str | None = None,
    radius: float | None = None,
    along: str | None = None,
    engine: str = "exact",
    recall: float = RECALL,
) -> Iterator[dict[str, Any]]:
    """``{"query", "hits": [{"rank", "id", "score", "metadata"}]}`` of each query, in the file's order.

    A query that cannot be asked (no known word, an unreadable picture, an unknown id) has ``"error"``
    instead of hits, and the others are still answered.

    Raises:
        LimbeckError: a bad file, filter or radius, no such engine, a space without cones.
    """
    queries = iter(read_queries(path))
    if k is not None:
        check_k(k)
    index.choose(engine, recall=recall, k=None if k is None and radius is not None else k or 10)
    if where is not None:
        index.store.where(where)  # a mistake in it is no query's fault
    while block := list(islice(queries, _TOGETHER)):
        points: list[np.ndarray] = []
        asked: dict[int, int | None] = {}  # number in the block: row left out
        errors: dict[int, str] = {}
        for number, query in enumerate(block):
            try:
                point, row = _point(index, query)
            except LimbeckError as error:
                errors[number] = str(error)
            else:
                points.append(point)
                asked[number] = row
        hits: dict[int, list[Hit]] = {}
        if points:
            # One more, for the items that are left out of their own hits.
            more = None if k is None and radius is not None else (10 if k is None else k) + 1
            options: dict[str, Any] = {"where": where, "radius": radius, "along": along}
            asked_with: dict[str, Any] = {"engine": engine, "recall": recall}
            found = index.search_many(np.concatenate(points), more, **options, **asked_with)
            for (number, row), answer in zip(asked.items(), found, strict=True):
                kept = [hit for hit in answer if hit.row != row]
                hits[number] = kept if more is None else kept[: more - 1]
        for number, query in enumerate(block):
            if number in errors:
                yield {"query": query, "error": errors[number]}
            else:
                yield {"query": query, "hits": [_json(rank, hit) for rank, hit in enumerate(hits[number], 1)]}


def _point(index: Index, query: dict[str, str]) -> tuple[np.ndarray, int | None]:
    """The point (1, width) of a query, and the row of the item that it stands for, if any."""
    if "like" in query:
        row = index.store.row_of(query["like"])
        return index.store.point(row), row
    return index.encode(query.get("text"), image=query.get("image")), None


def _json(rank: int, hit: Hit) -> dict[str, Any]:
    return {"rank": rank, "id": hit.id, "score": hit.score, "metadata": hit.metadata}
