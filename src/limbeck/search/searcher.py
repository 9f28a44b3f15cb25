"""Searches an opened index by terms and by points; `limbeck.Index` adds building, changing and asking."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from limbeck.codes import sign_codes
from limbeck.errors import LimbeckError
from limbeck.index.confidence import Calibration, Margins, confidences
from limbeck.index.embeddings import check_rerank, require_kept
from limbeck.index.engine_selection import Choice, Engines
from limbeck.index.file_state import COLUMN as FILE_STATE
from limbeck.index.query import RECALL, SearchOptions, check_k
from limbeck.index.store import EMBEDDING, IndexStore
from limbeck.search.alike import Alike, find_folded
from limbeck.search.hit import Found, Hit
from limbeck.search.queries import QueryEncoder, Term, is_plain
from limbeck.spaces import Kept, Space

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.encoders.encoder import Encoder

HIDDEN = (EMBEDDING, FILE_STATE)  # columns for machines, not shown in hits


def modality(terms: Sequence[Term]) -> str | None:
    """Return the kind of a query by which confidence is calibrated, "text" or "image"; None for a sum."""
    if not is_plain(terms):
        return None
    return "text" if terms[0].text is not None else "image"


class Searcher:
    """Searches an opened index.

    Attributes:
        store: the index on disk.
        space: the space of the points.
        score_name: "similarity" (higher is nearer) or "distance" (lower is nearer).
        engines: selects the engine of a search, and searches with it.
    """

    def __init__(self, store: IndexStore, *, encoder: Encoder | None = None) -> None:
        self.store = store
        self.space: Space = store.space
        self.score_name: str = store.space.score_name
        self.engines = Engines(store)
        self._queries = QueryEncoder(store, encoder)

    def __len__(self) -> int:
        return len(self.store)

    def load(self) -> None:
        """Load what the first search otherwise loads: the encoders, the points and the items.

        Raises:
            LimbeckError: a file is damaged, or an encoder needs torch, which is not installed.
        """
        self.store.load()
        self._queries.load()

    def search_queries(
        self, queries: Sequence[Sequence[Term]], options: SearchOptions | None = None
    ) -> list[list[Hit]]:
        """Return the hits for each of several queries of one or more terms, as `search` with ``terms``."""
        options = self.settled(queries, options or SearchOptions())
        ranked = options.rerank is not None
        if ranked:
            check_rerank(self.store)  # before anything is encoded
        points, floats = self.encode_queries(queries, asymmetric=bool(options.asymmetric), ranked=ranked)
        options = replace(options, exclude=self.excluded(queries))
        modalities = [modality(query) for query in queries]
        return self.search_many(points, options, embeddings=floats, modalities=modalities)

    def settled(self, queries: Sequence[Sequence[Term]], options: SearchOptions) -> SearchOptions:
        """Decide ``asymmetric`` (`Engines.settled`); stored items are compared as codes."""
        if options.asymmetric is None and all(term.id is not None for terms in queries for term in terms):
            return replace(options, asymmetric=False)
        return self.engines.settled(options)

    def search_many(
        self,
        points: np.ndarray,
        options: SearchOptions | None = None,
        *,
        embeddings: np.ndarray | None = None,
        modalities: Sequence[str | None] | None = None,
    ) -> list[list[Hit]]:
        """Return the hits for each of several points.

        Args:
            points: (Q, width) points of this index's space; float (Q, bits) with ``options.asymmetric``.
            options: what to return; by default the 10 nearest items.
            embeddings: (Q, D), those of the queries. They order items of equal distance, and the short lists
                of a search with ``rerank``; for a row of NaN, ties go by row.
            modalities: what each query is (`modality`); without it, hits have no confidence.

        Raises:
            LimbeckError: as `search`.
        """
        options = options or SearchOptions()
        return self.read(self.find(points, options, embeddings=embeddings, modalities=modalities))

    def find(
        self,
        points: np.ndarray,
        options: SearchOptions,
        *,
        embeddings: np.ndarray | None = None,
        modalities: Sequence[str | None] | None = None,
    ) -> list[Found]:
        """Return the ranking of each of several points; `search_many` explains the arguments."""
        if options.fold:
            folded = find_folded(self._alike, self.engines.find, points, options, embeddings)
            found = [Found(one.scores, one.rows, None, one.alike) for one in folded]
        else:
            found = [Found(*one) for one in self.engines.find(points, options, embeddings)]
        if (modalities is None and options.min_confidence is None) or self.calibration is None:
            self._require_confidence(options, [None] * len(found))
            return found
        codes = self.space.storage == "codes"
        asked = sign_codes(points) if codes and options.asymmetric else points
        sure = confidences(
            self.calibration,
            self._margins,
            asked,
            [one.rows for one in found],
            modalities or [None] * len(found),
        )
        self._require_confidence(options, sure)
        return [one.confident(p, options.min_confidence) for one, p in zip(found, sure, strict=True)]

    def _require_confidence(self, options: SearchOptions, sure: Sequence[np.ndarray | None]) -> None:
        if options.min_confidence is None or all(one is not None for one in sure):
            return
        if self.calibration is not None:
            raise LimbeckError(
                "min_confidence: the index has a calibration for a text, a picture or an item alone, not for "
                "this query; leave it out",
                code="E-INDEX-CONFIDENCE",
            )
        raise LimbeckError(
            f"{self.store.path}: has no calibration of confidence; make one with "
            f"limbeck index calibrate {self.store.path}",
            code="E-INDEX-CONFIDENCE",
        )

    @functools.cached_property
    def calibration(self) -> Calibration | None:
        """The calibration of the confidence of hits; None if the index has none."""
        return Calibration.load(self.store)

    @functools.cached_property
    def _margins(self) -> Margins:
        return Margins(self.store)

    @functools.cached_property
    def _alike(self) -> Alike:
        return Alike(self.store)

    def read(self, found: Sequence[Found]) -> list[list[Hit]]:
        """Read the columns of the items of several rankings at once."""
        rows = np.concatenate([one.rows for one in found] or [np.empty(0, np.int64)])
        items = iter(self.store.metadata(rows, HIDDEN))
        answers = []
        for one in found:
            sure = [None] * len(one.rows) if one.confidence is None else one.confidence.tolist()
            alike = [()] * len(one.rows) if one.alike is None else [self._ids(rows) for rows in one.alike]
            columns = zip(one.scores.tolist(), one.rows.tolist(), sure, alike, strict=True)
            answers.append(
                [Hit(str((item := next(items)).pop("id")), score, item, *rest) for score, *rest in columns]
            )
        return answers

    def _ids(self, rows: np.ndarray) -> tuple[str, ...]:
        return tuple(self.store.items_at(rows, ["id"]).column("id").to_pylist()) if len(rows) else ()

    def encode_queries(
        self, queries: Sequence[Sequence[Term]], *, asymmetric: bool = False, ranked: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return points (Q, width) and embeddings (Q, D) of queries (`QueryEncoder.encode_queries`).

        All texts are encoded together. A query that `check` refuses makes the call fail, so check each first.
        """
        return self._queries.encode_queries(queries, asymmetric=asymmetric, ranked=ranked)

    def encode_terms(
        self, terms: Sequence[Term], *, asymmetric: bool = False, ranked: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return point (1, width) and embedding (1, D) of one query, as `encode_queries`."""
        return self.encode_queries([terms], asymmetric=asymmetric, ranked=ranked)

    def check(self, terms: Sequence[Term]) -> None:
        """Raise the error that `encode_queries` would raise for these terms, without opening pictures."""
        self._queries.check(terms)

    def excluded(self, queries: Sequence[Sequence[Term]]) -> np.ndarray | None:
        """Return the rows of the queries' own items for ``SearchOptions.exclude``, (Q, E); None if none."""
        rows = [[self.store.row_of(term.id) for term in query if term.id is not None] for query in queries]
        most = max(map(len, rows), default=0)
        return np.array([row + [-1] * (most - len(row)) for row in rows]) if most else None

    @property
    def kept(self) -> Kept:
        """What a search with ``rerank`` ranks by.

        Raises:
            LimbeckError: the index keeps no embeddings.
        """
        return require_kept(self.store)

    def choose(self, engine: str = "auto", *, recall: float = RECALL, k: int | None = 10) -> Choice:
        """Return the engine that `search` uses, its search parameters, and the reason.

        Args:
            engine: "exact", the name of an engine that you built, or "auto": the fastest engine with enough
                measured recall, or exact search if none is faster.
            recall: the wanted recall@k, above 0 and at most 1.
            k: the number of hits; None for a radius, which needs an exact engine.

        Raises:
            LimbeckError: there is no such engine, it was never measured, or the recall is out of range.
        """
        radius = 0.0 if k is None else None
        return self.engines.choose(SearchOptions(k, radius=radius, engine=engine, recall=recall))

    def search_points(
        self,
        points: np.ndarray,
        k: int = 10,
        *,
        where: str | None = None,
        engine: str = "exact",
        recall: float = RECALL,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and rows of the k nearest items of several points; `search` explains the arguments.

        Returns:
            (scores (Q, k), rows int64 (Q, k)): the scores are int32 distances of codes, or float64. `hits`
            converts both to `Hit` lists. An index of fewer items returns all of them.

        Raises:
            LimbeckError: k is below 1, the points have another width or type, or the filter is invalid.
        """
        choice = self.choose(engine, recall=recall, k=check_k(k))
        return choice.search(points, k, choice.allowed(self.store, where))

    def hits(self, scores: np.ndarray, rows: np.ndarray) -> list[list[Hit]]:
        """Convert scores and rows (Q, k) to hits."""
        return self.read([Found(*found) for found in zip(scores, rows, strict=True)])

    def encode(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        """Encode one or several texts, a picture, or image features (D,) or (Q, D) to points (Q, width).

        Raises:
            LimbeckError: the index has no encoder for the query, or the encoder cannot read it.
        """
        return self._queries.encode(text, image=image, features=features)

    def item(self, item_id: str) -> Hit:
        """Return an item of this index as a hit with score 0."""
        row = self.store.row_of(item_id)
        return self.read([Found(np.zeros(1, np.int64), np.array([row]))])[0][0]
