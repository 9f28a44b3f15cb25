"""Defines `limbeck.Index`, which joins a store, its engines and a query encoder.

Torch is imported only to encode: a search by stored item or by points never imports it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import check_apart
from limbeck.index.embeddings import check_rerank, require_kept
from limbeck.index.encoded import Encoded
from limbeck.index.engine_selection import Choice, Engines
from limbeck.index.query import RECALL, SearchOptions, check_k
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.search.alike import Alike, find_folded
from limbeck.search.hit import Found, Hit, picture_of, read_hits
from limbeck.search.queries import QueryEncoder, Term
from limbeck.search.rows import add_items, load_model, open_rows
from limbeck.spaces import Kept, Space
from limbeck.traversal import Traversal

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoding import OnSkip, Source


class Index:
    """Searches a collection by text, picture, features, stored item or encoded points.

    Attributes:
        store: the index on disk.
        space: the space of the points.
        score_name: "similarity" (higher is nearer) or "distance" (lower is nearer).
        engines: selects the engine of a search, and searches with it.
    """

    def __init__(self, store: IndexStore, *, encoder: DualEncoder | None = None) -> None:
        self.store = store
        self.space: Space = store.space
        self.score_name: str = store.space.score_name
        self.engines = Engines(store)
        self._queries = QueryEncoder(store, encoder)

    @classmethod
    def open(cls, path: Path | str) -> Index:
        """Open an index without loading a model; of its files little more than the manifest is read.

        Raises:
            LimbeckError: there is no index, it is damaged, or its format is newer.
        """
        return cls(IndexStore.open(path))

    @classmethod
    def build(
        cls,
        path: Path | str,
        source: Path | str | Pairs | Source | Encoded | np.ndarray,
        *,
        model: Path | str | DualEncoder | None = None,
        items: Mapping[str, Sequence[Any]] | None = None,
        rows: np.ndarray | None = None,
        space: Space | None = None,
        batch_size: int | None = None,
        replace: bool = False,
        progress: bool = False,
        on_skip: OnSkip | None = None,
        embeddings: bool | np.ndarray = False,
    ) -> Index:
        """Build an index; after an error, nothing of it remains.

        Args:
            path: the new index directory.
            source: pairs directory, folder of pictures, encoded set, or an array of points: packed codes
                uint8 (N, bits/8), unit vectors float32 (N, dim), or points of ``space``.
            model: run, model directory or encoder. It encodes pairs and pictures; its copy in the index
                encodes queries. Without it, you can search an encoded set or array by item and points only.
            items: with an array, its N items: ``{"id": [...], further columns}``.
            rows: with pairs or pictures, the row numbers (n,) to encode; all by default.
            space: with an array, its space; by default `Hamming` for uint8 and `Sphere` for floats.
            batch_size: items per forward pass; 64 pictures or 1,024 feature rows by default.
            replace: replace an existing index.
            progress: show items per second and the remaining time on standard error.
            on_skip: called with id and reason of each item that cannot be read.
            embeddings: True keeps the float embeddings of the codes (`DualEncoder.kept`), for ties in
                distance and for ``search(rerank=)``. With an array of points, give their embeddings (N, D):
                those of ``model`` or, without one, vectors to compare by cosine.

        Raises:
            LimbeckError: the source is invalid, ids repeat, the model is of another space, ``path`` exists,
                or the disk is full.
        """
        check_apart(path, getattr(source, "path", source))
        encoder, name = load_model(model)
        batches, meta = open_rows(
            source,
            encoder,
            name,
            items=items,
            rows=rows,
            space=space,
            batch_size=batch_size,
            progress=progress,
            on_skip=on_skip,
            embeddings=embeddings,
        )
        return cls(IndexStore.build(path, batches, meta, replace=replace), encoder=encoder)

    def __len__(self) -> int:
        return len(self.store)

    def load(self) -> None:
        """Load what the first search otherwise loads: the encoders, the points and the items.

        Raises:
            LimbeckError: a file is damaged, or an encoder needs torch, which is not installed.
        """
        self.store.load()
        self._queries.load()

    def add(self, source: Path | str | Pairs | Source | Encoded | np.ndarray, **options: Any) -> Index:
        """Add items (`limbeck.search.add_items`) and return the new state; this object does not change."""
        add_items(self.store.path, source, **options)
        return Index.open(self.store.path)

    def remove(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> Index:
        """Remove items (`remove_items`) and return the new state; this object does not change."""
        remove_items(self.store.path, ids, where=where)
        return Index.open(self.store.path)

    def search(
        self,
        query: str | None = None,
        k: int | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        like: str | None = None,
        features: np.ndarray | None = None,
        points: np.ndarray | None = None,
        terms: Sequence[Term] | None = None,
        where: str | None = None,
        radius: float | None = None,
        hierarchy: str | None = None,
        engine: str = "exact",
        recall: float = RECALL,
        rerank: int | None = None,
        asymmetric: bool = False,
        bits: int | None = None,
        fold: bool = False,
        min_confidence: float | None = None,
    ) -> list[Hit]:
        """Return the items nearest to one query, nearest first.

        Give exactly one of query, image, like, features, points and terms. Items of equal distance are
        ordered by the kept embeddings, if the index keeps some and the query has one, and then by row.

        Args:
            query: a text.
            k: the number of hits, at least 1; by default 10, or all items within a radius.
            image: a picture or its file.
            like: the id of an item of this index; the item itself is excluded from the hits.
            features: (D,) or (1, D) image features, as the model reads them.
            points: (width,) or (1, width), an encoded point of the index's space.
            terms: texts, pictures, items and features that are added with weights (`Space.combine`); items
                among them are excluded from the hits.
            where: a filter on the columns, such as "labels has sky"; only items that match are returned.
            radius: return only items with at most this distance, or at least this similarity.
            hierarchy: "more-general": only items that entail the query; "more-specific": only items that it
                entails.
            engine: "exact", an engine that you built (`limbeck index engine`), "auto", or
                milvus://HOST:PORT/NAME.
            recall: the recall that the engine has to reach; see `choose`.
            rerank: re-rank this many nearest codes by the stored float embeddings (``embeddings`` of `build`)
                and return the best k. `Index.kept` names their score.
            asymmetric: compare the items' codes with the query's real numbers instead of its code; ``points``
                are then these numbers, float (bits,).
            bits: compare only the first bits of codes, a multiple of 8, as nested codes allow.
            fold: count near-duplicates as one hit, whose `Hit.alike` names the others; k such hits return.
            min_confidence: drop hits whose `Hit.confidence` is lower.

        Raises:
            LimbeckError: not exactly one query is given, k is below 1, an id is unknown, a point or feature
                row has another width, a text has no known word, the index has no encoder for the query, the
                terms cancel out, the filter or radius is invalid, the space has no cones, or there is no such
                engine.
        """
        given = {"image": image, "like": like, "features": features, "points": points, "terms": terms}
        _require_one("search", query=query, **given)
        options = SearchOptions(
            k, where, radius, hierarchy, None, engine, recall, rerank, asymmetric, bits, fold, min_confidence
        )
        if points is None:
            asked = [Term(query, image, like, features)] if terms is None else terms
            return self.search_queries([asked], options)[0]
        if rerank is not None:
            raise LimbeckError(
                "rerank: needs a query with an embedding; search by text or like", code="E-INDEX-EMBEDDINGS"
            )
        rows = np.atleast_2d(points)
        if len(rows) != 1:
            raise LimbeckError(
                f"search: {len(rows)} queries at once; use search_points for several", code="E-QUERY-FORM"
            )
        return self.search_many(rows, options)[0]

    def search_queries(
        self, queries: Sequence[Sequence[Term]], options: SearchOptions | None = None
    ) -> list[list[Hit]]:
        """Return the hits for each of several queries of one or more terms, as `search` with ``terms``."""
        options = options or SearchOptions()
        ranked = options.rerank is not None
        if ranked:
            check_rerank(self.store)  # before anything is encoded
        points, floats = self.encode_queries(queries, asymmetric=options.asymmetric, ranked=ranked)
        options = replace(options, exclude=self.excluded(queries))
        return self.search_many(points, options, embeddings=floats)

    def search_many(
        self,
        points: np.ndarray,
        options: SearchOptions | None = None,
        *,
        embeddings: np.ndarray | None = None,
    ) -> list[list[Hit]]:
        """Return the hits for each of several points.

        Args:
            points: (Q, width) points of this index's space; float (Q, bits) with ``options.asymmetric``.
            options: what to return; by default the 10 nearest items.
            embeddings: (Q, D), those of the queries. They order items of equal distance, and the short lists
                of a search with ``rerank``; for a row of NaN, ties go by row.

        Raises:
            LimbeckError: as `search`.
        """
        return read_hits(self.store, self.find(points, options or SearchOptions(), embeddings=embeddings))

    def find(
        self, points: np.ndarray, options: SearchOptions, *, embeddings: np.ndarray | None = None
    ) -> list[Found]:
        """Return the ranking of each of several points; arguments as `search_many`, which reads the items."""
        if options.min_confidence is not None:
            raise LimbeckError(
                f"{self.store.path}: has no calibration of confidence; make one with "
                f"limbeck index calibrate {self.store.path}",
                code="E-INDEX-CONFIDENCE",
            )
        if options.fold:
            folded = find_folded(self._alike, self.engines.find, points, options, embeddings)
            return [Found(one.scores, one.rows, None, one.alike) for one in folded]
        return [Found(*one) for one in self.engines.find(points, options, embeddings)]

    @functools.cached_property
    def _alike(self) -> Alike:
        return Alike(self.store)

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
        """Return scores and rows of the k nearest items of several points; arguments as `search`.

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
        return read_hits(self.store, [Found(*found) for found in zip(scores, rows, strict=True)])

    def traverse(
        self,
        query: str | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        like: str | None = None,
        features: np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        steps: int = 50,
        entailed: bool = True,
    ) -> Traversal:
        """Interpolate from a query to the root and return the nearest texts (MERU, image traversals).

        Args:
            query: a text.
            image: a picture or its file.
            like: the id of an item of this index.
            features: (D,) or (1, D) image features, as the model reads them.
            texts: candidate texts; by default all captions, tags and class names of the items.
            steps: the number of points on the way, including both ends.
            entailed: skip texts that do not entail the point.

        Raises:
            LimbeckError: the space has no cones, there are no texts, none has a known word, or as `search`.
        """
        from limbeck.search.traverse import traverse_from

        _require_one("traverse", query=query, image=image, like=like, features=features)
        start = Term(query, image, like, features)
        return traverse_from(self.store, self._queries, start, texts, steps, entailed)

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
        return read_hits(self.store, [Found(np.zeros(1, np.int64), np.array([row]))])[0][0]

    def picture(self, hit: Hit, *, media: Path | str | None = None) -> Image.Image:
        """Open the picture of a hit, RGB and upright.

        Args:
            hit: a hit of this index.
            media: the folder or zip of the pictures; by default the one recorded in the index.

        Raises:
            LimbeckError: the item has no picture, or it cannot be read.
        """
        return picture_of(self.store, hit, media)


def _require_one(verb: str, **given: object) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        wrong = " and ".join(named) or "none"
        raise LimbeckError(
            f"{verb}: give exactly one query ({', '.join(given)}), not {wrong}", code="E-QUERY-FORM"
        )
