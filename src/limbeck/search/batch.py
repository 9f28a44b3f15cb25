"""Answers the queries of a file, for `limbeck search --queries`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.embeddings import check_rerank
from limbeck.index.query import SearchOptions
from limbeck.search.index import Hit, Index
from limbeck.search.queries import Term
from limbeck.typed import Json

KINDS = ("text", "image", "like")
_SHOWN = 200  # characters of an invalid line that are shown
_TOGETHER = 256  # queries that share one pass over the index


@dataclass(frozen=True)
class Query:
    """Holds one line of a query file.

    Attributes:
        line: its number, from 1.
        asked: ``{kind: value}`` with a kind of `KINDS`.
        fault: why the line is not a query; None if it is one.
    """

    line: int
    asked: dict[str, str]
    fault: LimbeckError | None = None


def read_queries(path: Path | str) -> tuple[list[Query], tuple[str, ...]]:
    """Read a query file: JSON lines (``.jsonl``, ``.ndjson``), or one text per line in any other file.

    Image paths are relative to the file's folder. Empty lines are skipped. An invalid line is returned with
    its fault, so that the other queries can be answered.

    Returns:
        The queries, and notes about the reading of the file.

    Raises:
        LimbeckError: there is no such file, it is not text, or it has no queries.
    """
    from limbeck.tables import read_list  # with pyarrow.compute, which is slow to import

    found = read_list(path)
    is_json = Path(path).suffix.lower() in (".jsonl", ".ndjson")
    lines = [(number, text.strip()) for number, text in found.numbered() if text.strip()]
    if not lines:
        raise LimbeckError(f"{path}: is empty; give one query per line", code="E-FILE-EMPTY")
    if not is_json:
        return [Query(number, {"text": text}) for number, text in lines], found.notes
    return [_query(Path(path), number, text) for number, text in lines], found.notes


def _query(path: Path, number: int, text: str) -> Query:
    """Parse a JSON line as a query."""
    from limbeck.tables import load_json

    where = f"{path}: line {number}"
    shown = {"text": text if len(text) <= _SHOWN else text[:_SHOWN] + "…"}
    try:
        query = load_json(text, str(path), line=number)
    except LimbeckError as error:
        return Query(number, shown, error)
    if not isinstance(query, dict) or len(query) != 1 or next(iter(query)) not in KINDS:
        return _not_a_query(number, shown, f'{where} is not a query; write {{"text": "…"}}, image or like')
    kind, value = next(iter(query.items()))
    if not isinstance(value, str):
        return _not_a_query(number, shown, f"{where} holds no string; give a text, a path or an id")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return _not_a_query(number, shown, f"{where} holds half of a surrogate pair; write whole characters")
    return Query(number, {kind: str(path.parent / value) if kind == "image" else value})


def _not_a_query(line: int, shown: dict[str, str], fault: str) -> Query:
    return Query(line, shown, LimbeckError(fault, code="E-QUERY-FORM"))


def answer_file(
    index: Index, path: Path | str, options: SearchOptions | None = None
) -> Iterator[dict[str, Json]]:
    """Answer the queries of a file in its order.

    Args:
        index: the index.
        path: the query file (`read_queries`).
        options: what to return for each query; by default the 10 nearest items.

    Yields:
        ``{"query", "hits": [{"rank", "id", "score", "metadata"}]}`` per query. An invalid line, and a query
        that fails (no known word, an unreadable picture, an unknown id), has ``"line"``, ``"error"`` and
        ``"code"`` instead of hits; the other queries are still answered.

    Raises:
        LimbeckError: the file, the filter or the radius is invalid, there is no such engine, the space has no
            cones, or the index keeps no embeddings.
    """
    options = options or SearchOptions()
    from limbeck.tables import warn_notes

    read, notes = read_queries(path)
    warn_notes(notes)
    queries = iter(read)
    if options.rerank is not None:
        check_rerank(index.store)
    options = index.engines.settled(options)
    index.engines.choose(options)
    if options.where is not None:
        index.store.where(options.where)  # an invalid filter is an error of the call, not of a query
    while block := list(islice(queries, _TOGETHER)):
        encoded: list[tuple[np.ndarray, ...]] = []
        excluded_rows: list[int] = []  # rows to exclude, -1 for none
        errors: dict[int, LimbeckError] = {}
        for number, query in enumerate(block):
            try:
                if query.fault is not None:
                    raise query.fault
                encoded.append(_encoded(index, query.asked, options))
            except LimbeckError as error:
                errors[number] = error
            else:
                excluded_rows.append(index.store.row_of(query.asked["like"]) if "like" in query.asked else -1)
        answers: Iterator[list[Hit] | LimbeckError] = iter([])
        if encoded:
            # An excluded row needs one hit more, so pass None if there is none.
            exclude = np.array(excluded_rows) if max(excluded_rows) >= 0 else None
            asked = [query.asked for number, query in enumerate(block) if number not in errors]
            kinds = ["text" if "text" in query else "image" for query in asked]
            arrays = [np.concatenate(parts) for parts in zip(*encoded, strict=True)]
            floats = arrays[1] if len(arrays) > 1 else None
            answers = iter(_answers(index, arrays[0], floats, replace(options, exclude=exclude), kinds))
        for number, query in enumerate(block):
            answer = errors[number] if number in errors else next(answers)
            if isinstance(answer, LimbeckError):
                failed: dict[str, Json] = {"line": query.line, "error": answer.message, "code": answer.code}
                yield {"query": query.asked, **failed}
            else:
                yield {
                    "query": query.asked,
                    "hits": [hit.to_json(rank) for rank, hit in enumerate(answer, 1)],
                }


def _encoded(index: Index, query: dict[str, str], options: SearchOptions) -> tuple[np.ndarray, ...]:
    """Return the point (1, width) of a query, and its embedding (1, D) if the index keeps embeddings.

    Without re-ranking, the embedding is NaN if it is not available.
    """
    term = Term(query.get("text"), query.get("image"), query.get("like"))
    point, floats = index.encode_terms(
        [term], asymmetric=bool(options.asymmetric), ranked=options.rerank is not None
    )
    return (point,) if floats is None else (point, floats)


def _answers(
    index: Index,
    points: np.ndarray,
    embeddings: np.ndarray | None,
    options: SearchOptions,
    kinds: Sequence[str],
) -> list[list[Hit] | LimbeckError]:
    """Return the hits of each query, or its error if its short list has an item without an embedding."""
    try:
        return [*index.search_many(points, options, embeddings=embeddings, modalities=kinds)]
    except LimbeckError as error:
        if options.rerank is None:
            raise
        if len(points) == 1:
            return [error]
    assert embeddings is not None
    answers: list[list[Hit] | LimbeckError] = []
    for q in range(len(points)):
        exclude = options.exclude
        alone = replace(options, exclude=exclude[q : q + 1] if isinstance(exclude, np.ndarray) else exclude)
        answers += _answers(index, points[q : q + 1], embeddings[q : q + 1], alone, kinds[q : q + 1])
    return answers
