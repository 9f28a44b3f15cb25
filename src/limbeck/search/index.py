"""Defines `limbeck.Index`, which joins a store, its engines and a query encoder.

Torch is imported only to encode where the model has no ONNX graphs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import check_apart
from limbeck.index.encoded import Encoded
from limbeck.index.query import RECALL, SearchOptions
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.search.calibrate import calibrate_new
from limbeck.search.hit import Hit, picture_of
from limbeck.search.queries import Term
from limbeck.search.rows import add_items, open_rows, opened_model
from limbeck.search.searcher import Searcher
from limbeck.spaces import Space
from limbeck.traversal import STEPS, Traversal

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.encoder import Encoder
    from limbeck.encoding import OnSkip, Source


class Index(Searcher):
    """Searches a collection by text, picture, features, stored item or encoded points.

    Attributes:
        store: the index on disk.
        space: the space of the points.
        score_name: "similarity" (higher is nearer) or "distance" (lower is nearer).
        engines: selects the engine of a search, and searches with it.
    """

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
        model: Path | str | Encoder | None = None,
        items: Mapping[str, Sequence[object]] | None = None,
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
            model: run, model directory, directory of `limbeck export`, pretrained model, hub id, or encoder.
                It encodes pairs and pictures; its copy in the index encodes queries. Without it, you can
                search an encoded set or array by item and points only.
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
        encoder, name = opened_model(model)
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
        index = cls(IndexStore.build(path, batches, meta, replace=replace), encoder=encoder)
        calibrate_new(index)
        return index

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
        asymmetric: bool | None = None,
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
                are then these numbers, float (bits,). By default the index decides for what its model encodes
                (``asymmetric`` of the manifest).
            bits: compare only the first bits of codes, a multiple of 8, as nested codes allow.
            fold: count near-duplicates as one hit, whose `Hit.alike` names the others; k counts such hits.
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
                f"search: got {len(rows)} queries at once; use search_points for several", code="E-QUERY-FORM"
            )
        return self.search_many(rows, options)[0]

    def traverse(
        self,
        query: str | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        like: str | None = None,
        features: np.ndarray | None = None,
        texts: Sequence[str] | None = None,
        steps: int = STEPS,
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
