"""Answers batches of queries on one generation of an index: encode, search, read the rows, write JSON."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import json_text
from limbeck.index.query import SearchOptions
from limbeck.search import Index, modality
from limbeck.search.hit import Found
from limbeck.search.searcher import HIDDEN
from limbeck.serve.cache import Cache
from limbeck.serve.metrics import Metrics
from limbeck.serve.query import Query
from limbeck.serve.texts import Texts

_ROW_BYTES = 1 << 25  # of rows that are kept as JSON
K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@dataclass(frozen=True)
class _Encoded:
    point: np.ndarray  # (1, width)
    floats: np.ndarray | None  # (1, D)


class Opened:
    """One generation of an index, from which the service answers.

    Attributes:
        name: the name in requests.
        index: the index.
        media: the folder or zip of its pictures; None if it does not exist.
        texts: texts of the index.
    """

    def __init__(
        self, name: str, index: Index, media: Path | None, metrics: Metrics, prefix: str = ""
    ) -> None:
        """Take an index; ``prefix`` precedes the addresses of pictures."""
        self.name, self.index, self.media = name, index, media
        self._metrics, self._prefix = metrics, prefix
        self.texts = Texts(index)
        self._rows: Cache[str] = Cache(_ROW_BYTES)

    @property
    def generation(self) -> int:
        """The generation of the index."""
        return self.index.store.manifest.generation

    def load(self) -> None:
        """Load what the first query would load: files, encoders, and the compiled scan of a large index.

        Raises:
            LimbeckError: a file is damaged, or an encoder needs torch, which is not installed.
        """
        rows = self.texts.rows(1)
        if len(rows):
            self.index.find(self.index.store.points_at(rows), SearchOptions())
        self.index.load()
        self.index.calibration  # noqa: B018

    def answer(self, queries: Sequence[Query]) -> list[bytes | LimbeckError]:
        """Return for each query its answer, JSON without the last field ``ms``, or its error."""
        begin = time.perf_counter()
        queries = self._settled(queries)
        faults: dict[int, LimbeckError] = {}
        encoded: dict[int, _Encoded] = {}
        reads = _grouped(range(len(queries)), lambda n: queries[n].reads)
        for numbers in reads.values():
            encoded |= _tried(functools.partial(self._encode, queries), numbers, faults)
        searching = time.perf_counter()
        found: dict[int, Found] = {}
        for numbers in _grouped(encoded, lambda n: queries[n].options).values():
            found |= _tried(functools.partial(self._search, queries, encoded), numbers, faults)
        reading = time.perf_counter()
        answers: dict[int, bytes | LimbeckError] = {**faults}
        for number, hits in zip(found, self._hits([*found.values()]), strict=True):
            answers[number] = f'{self._head(queries[number])}, "hits": [{hits}]'.encode()
        self._metrics.batch(len(queries))
        self._metrics.stage("encode", searching - begin)
        self._metrics.stage("search", reading - searching)
        self._metrics.stage("rows", time.perf_counter() - reading)
        return [answers[number] for number in range(len(queries))]

    def _settled(self, queries: Sequence[Query]) -> list[Query]:
        """Decide what the options leave to the index, once for equal options."""
        known: dict[Hashable, SearchOptions] = {}
        settled = []
        for query in queries:
            key = query.options, all(term.id is not None for term in query.terms)
            if key not in known:
                known[key] = self.index.settled([query.terms], query.options)
            settled.append(Query(query.terms, known[key]))
        return settled

    def _encode(self, queries: Sequence[Query], numbers: Sequence[int]) -> dict[int, _Encoded]:
        options = queries[numbers[0]].options
        points, floats = self.index.encode_queries(
            [queries[number].terms for number in numbers],
            asymmetric=bool(options.asymmetric),
            ranked=options.rerank is not None,
        )
        return {
            number: _Encoded(points[at : at + 1], None if floats is None else floats[at : at + 1])
            for at, number in enumerate(numbers)
        }

    def _search(
        self, queries: Sequence[Query], encoded: dict[int, _Encoded], numbers: Sequence[int]
    ) -> dict[int, Found]:
        options = replace(
            queries[numbers[0]].options, exclude=self.index.excluded([queries[n].terms for n in numbers])
        )
        points = np.concatenate([encoded[number].point for number in numbers])
        known = [floats for number in numbers if (floats := encoded[number].floats) is not None]
        floats = np.concatenate(known) if known else None
        kinds = [modality(queries[number].terms) for number in numbers]
        answers = self.index.find(points, options, embeddings=floats, modalities=kinds)
        return dict(zip(numbers, answers, strict=True))

    def _hits(self, found: Sequence[Found]) -> list[str]:
        """Return the JSON of the hits of each query; all rows are read at once."""
        none = np.empty(0, np.int64)
        parts = iter(self._parts(np.concatenate([none, *(one.rows for one in found)])))
        folded = [rows for one in found for rows in one.alike or ()]
        ids = iter(
            self.index.store.items_at(np.concatenate([none, *folded]), ["id"]).column("id").to_pylist()
        )
        answers = []
        for one in found:
            count = len(one.rows)
            sure = ["null"] * count if one.confidence is None else [f"{p:.4f}" for p in one.confidence]
            alike = ["[]"] * count
            if one.alike is not None:
                alike = [fast_json([*islice(ids, len(rows))]) for rows in one.alike]
            columns = zip(one.scores.tolist(), sure, alike, strict=True)
            answers.append(
                ", ".join(
                    f'{{"score": {score!r}, "confidence": {p}, "alike": {a}, {next(parts)}'
                    for score, p, a in columns
                )
            )
        return answers

    def _parts(self, rows: np.ndarray) -> list[str]:
        """Return the JSON of the items of rows (n,) after its first brace; equal rows are read once."""
        wanted = set(rows.tolist())
        known = {row: part for row in wanted if (part := self._rows.get(row)) is not None}
        missing = [*(wanted - known.keys())]
        for row, item in zip(missing, self.index.store.metadata(missing, HIDDEN), strict=True):
            known[row] = fast_json(self._item(item))[1:]
            self._rows.put(row, known[row])
        return [known[row] for row in rows.tolist()]

    def items(self, rows: np.ndarray | Sequence[int]) -> list[dict[str, object]]:
        """Return the items of some rows in the form that answers have, without a score."""
        return [self._item(item) for item in self.index.store.metadata(rows, HIDDEN)]

    def item(self, item_id: str) -> str:
        """Return the JSON of an item.

        Raises:
            LimbeckError: there is no such item.
        """
        part = self._parts(np.array([self.index.store.row_of(item_id)]))[0]
        return f'{{"score": null, "confidence": null, "alike": [], {part}'

    def _item(self, item: dict[str, object]) -> dict[str, object]:
        item_id = str(item.pop("id"))
        place = f"/{quote(item_id, safe='')}?index={quote(self.name, safe='')}"
        pictured = self.media is not None and item.get("path") is not None
        return {
            "id": item_id,
            "metadata": item,
            "thumbnail": f"{self._prefix}/thumbnails{place}" if pictured else None,
            "picture": f"{self._prefix}/pictures{place}" if pictured else None,
        }

    def _head(self, query: Query) -> str:
        """Return the JSON of an answer up to its hits."""
        reranked = query.options.rerank is not None
        return fast_json(
            {
                "index": self.name,
                "generation": self.generation,
                "score_name": self.index.kept.score_name if reranked else self.index.score_name,
                "engine": self.index.engines.choose(query.options).engine,
                "query": query.words,
            }
        )[:-1]


def fast_json(value: object) -> str:
    """Return strict JSON; plain values take a faster way."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
        return text
    except (TypeError, ValueError):  # times, decimals, NaN, lone surrogates
        return json_text(value)


def _grouped(numbers: Iterable[int], key: Callable[[int], K]) -> dict[K, list[int]]:
    groups: dict[K, list[int]] = {}
    for number in numbers:
        groups.setdefault(key(number), []).append(number)
    return groups


def _tried(
    work: Callable[[Sequence[int]], dict[int, R]], numbers: Sequence[int], faults: dict[int, LimbeckError]
) -> dict[int, R]:
    """Return the work's results; if one query makes it fail, each is tried alone and its error is noted."""
    try:
        return work(numbers)
    except LimbeckError as error:
        if len(numbers) == 1:
            faults[numbers[0]] = error
            return {}
    results: dict[int, R] = {}
    for number in numbers:
        results |= _tried(work, [number], faults)
    return results
