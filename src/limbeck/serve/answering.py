"""Answers batches of queries on one generation of an index: encode, search, read the rows, write JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import json_text
from limbeck.index.file_state import COLUMN as FILE_STATE
from limbeck.index.query import SearchOptions
from limbeck.index.store import EMBEDDING
from limbeck.search import Index, Term
from limbeck.serve.query import Query

_HIDDEN = (EMBEDDING, FILE_STATE)


@dataclass
class Spent:
    """Counts queries, batches, and the seconds of the worker thread by kind of work."""

    queries: int = 0
    batches: int = 0
    encode: float = 0.0
    search: float = 0.0
    rows: float = 0.0
    json: float = 0.0


@dataclass(frozen=True)
class Opened:
    """Is an index at one generation, as the service answers from it.

    Attributes:
        name: the name in requests.
        index: the index.
        has_media: whether the folder or zip of its pictures exists.
        spent: the time used so far, shared by the generations.
    """

    name: str
    index: Index
    has_media: bool
    spent: Spent = field(default_factory=Spent)

    @property
    def generation(self) -> int:
        """The generation of the index."""
        return self.index.store.manifest.generation

    def answer(self, queries: Sequence[Query]) -> list[bytes | LimbeckError]:
        """Return for each query its answer, JSON without the last field ``ms``, or its error."""
        started = time.perf_counter()
        answers: list[bytes | LimbeckError] = [LimbeckError("unanswered", code="E-BUG")] * len(queries)
        encoded: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        for number, query in enumerate(queries):
            try:
                encoded[number] = self._encode(query)
            except LimbeckError as error:
                answers[number] = error
        self.spent.encode += (now := time.perf_counter()) - started
        found: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for options, numbers in _grouped(queries, encoded).items():
            try:
                found.update(self._search(queries, options, numbers, encoded))
            except LimbeckError as error:
                answers = [error if n in numbers else answer for n, answer in enumerate(answers)]
        self.spent.search += (after := time.perf_counter()) - now
        rows = np.concatenate([rows for _, rows in found.values()] or [np.empty(0, np.int64)])
        items = iter(self.index.store.metadata(rows, _HIDDEN))
        self.spent.rows += (now := time.perf_counter()) - after
        for number, (scores, _) in found.items():
            hits = [self._hit_json(next(items), score) for score in scores.tolist()]
            answers[number] = self._answer_json(queries[number], hits)
        self.spent.json += time.perf_counter() - now
        self.spent.queries += len(queries)
        self.spent.batches += 1
        return answers

    def _encode(self, query: Query) -> tuple[np.ndarray, np.ndarray | None]:
        terms = [Term(term.text, term.image, term.id, weight=term.weight) for term in query.terms]
        options = query.options
        return self.index.encode_terms(
            terms, asymmetric=options.asymmetric, ranked=options.rerank is not None
        )

    def _search(
        self,
        queries: Sequence[Query],
        options: SearchOptions,
        numbers: list[int],
        encoded: dict[int, tuple[np.ndarray, np.ndarray | None]],
    ) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        points = np.concatenate([encoded[number][0] for number in numbers])
        kept, floats = self.index.store.kept, None
        if kept is not None:
            none = np.full((1, kept.width), np.nan, np.float32)
            given = (encoded[number][1] for number in numbers)
            floats = np.concatenate([none if one is None else one for one in given])
        excluded = [self._row_of(queries[number]) for number in numbers]
        if max(excluded) >= 0:
            options = replace(options, exclude=np.array(excluded))
        answers = self.index.engines.find(points, options, floats)
        return dict(zip(numbers, answers, strict=True))

    def item(self, item_id: str) -> bytes:
        """Return the JSON of an item.

        Raises:
            LimbeckError: there is no such item.
        """
        store = self.index.store
        return self._hit_json(store.metadata([store.row_of(item_id)], _HIDDEN)[0], None).encode()

    def _hit_json(self, item: dict[str, Any], score: float | None) -> str:
        """Return the JSON of a hit, or of an item, which has no score."""
        item_id = item.pop("id")
        place = f"/{quote(item_id, safe='')}?index={quote(self.name, safe='')}"
        pictured = self.has_media and item.get("path") is not None
        return fast_json(
            {
                "id": item_id,
                "score": score,
                "confidence": None,
                "alike": [],
                "metadata": item,
                "thumbnail": f"/thumbnails{place}" if pictured else None,
                "picture": f"/pictures{place}" if pictured else None,
            }
        )

    def _answer_json(self, query: Query, hits: list[str]) -> bytes:
        options = query.options
        reranked = options.rerank is not None
        head = {
            "index": self.name,
            "generation": self.generation,
            "score_name": self.index.kept.score_name if reranked else self.index.score_name,
            "engine": self.index.engines.choose(options).engine,
            "query": query.words,
        }
        return f'{fast_json(head)[:-1]}, "hits": [{", ".join(hits)}]'.encode()

    def _row_of(self, query: Query) -> int:
        """Return the row that a query by one item excludes from its hits; -1 for none."""
        item = query.terms[0].id
        return -1 if item is None else self.index.store.row_of(item)


def fast_json(value: Any) -> str:
    """Return strict JSON; the short way for plain values."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
        return text
    except (TypeError, ValueError):  # times, decimals, NaN, lone surrogates
        return json_text(value)


def _grouped(queries: Sequence[Query], encoded: dict[int, Any]) -> dict[SearchOptions, list[int]]:
    groups: dict[SearchOptions, list[int]] = {}
    for number in encoded:
        groups.setdefault(queries[number].options, []).append(number)
    return groups
