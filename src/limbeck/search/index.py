"""`limbeck.Index`: a store, its engines and a query encoder, joined.

Torch is imported only when something must be encoded: a search by stored item or by ready-made points never
loads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.files import check_apart
from limbeck.index.embeddings import check_rerank, embeddings_at, kept_of, reranked
from limbeck.index.encoded import Encoded
from limbeck.index.engine_selection import RECALL, Choice, Engines
from limbeck.index.query import check_k
from limbeck.index.remove import remove_items
from limbeck.index.store import IndexStore
from limbeck.index.texts import stored_texts
from limbeck.search.hit import Hit, hits_of, picture_of
from limbeck.search.queries import QueryEncoder
from limbeck.search.rows import add_items, load_model, open_rows
from limbeck.spaces import Kept, Space
from limbeck.traversal import Traversal, check_steps, require_cones, split_known

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoding import OnSkip, Source


class Index:
    """A collection that can be searched by words, picture, features, stored item or ready-made points.

    Attributes:
        store: the files on disk.
        space: the space of the points.
        score_name: "similarity" (higher is nearer) or "distance" (lower is nearer).
    """

    def __init__(self, store: IndexStore, *, encoder: DualEncoder | None = None) -> None:
        self.store = store
        self.space: Space = store.space
        self.score_name: str = store.space.score_name
        self._engines = Engines(store)
        self._queries = QueryEncoder(store, encoder)

    @classmethod
    def open(cls, path: Path | str) -> Index:
        """Open an index; nothing but its manifest is read, and no model is loaded.

        Raises:
            LimbeckError: no index there, damaged, or of a newer format.
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
        """Build an index; it appears whole or not at all.

        Args:
            path: directory of the index.
            source: pairs directory, folder of pictures, encoded set, or an array of points: packed codes
                uint8 (N, bits/8), unit vectors float32 (N, dim), or points of ``space``.
            model: run, model directory or encoder. Pairs and pictures are encoded with it; its copy in the
                index encodes the queries. Without one, an encoded set or array can be searched by item and by
                points only.
            items: with an array, its N items: ``{"id": [...], further columns}``.
            rows: with pairs or pictures, the row numbers (n,) to take; all by default.
            space: with an array, its space; by default `Hamming` for uint8 and `Sphere` for floats.
            batch_size: items in one forward pass; 64 pictures or 1,024 feature rows by default.
            replace: put the new index over an existing one.
            progress: show items/s and the time left on standard error.
            on_skip: called with id and reason of each item that cannot be read.
            embeddings: keep the floats behind the codes (`DualEncoder.kept`), which order items of equal
                distance and ``search(rerank=)``; with an array of points an array (N, D) of them, those of
                ``model`` or, without one, vectors to be compared by their cosine.

        Raises:
            LimbeckError: bad source, repeated ids, a model of another space, ``path`` taken, disk full.
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

    def add(self, source: Path | str | Pairs | Source | Encoded | np.ndarray, **options: Any) -> Index:
        """The index with more items, see `limbeck.search.add_items`; this object stays at its own state."""
        add_items(self.store.path, source, **options)
        return Index.open(self.store.path)

    def remove(self, ids: Sequence[str] | None = None, *, where: str | None = None) -> Index:
        """The index without some items, see `remove_items`; this object stays at its own state."""
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
        where: str | None = None,
        radius: float | None = None,
        along: str | None = None,
        engine: str = "exact",
        recall: float = RECALL,
        rerank: int | None = None,
    ) -> list[Hit]:
        """The k nearest items to one query, nearest first.

        Of items at equal distance the nearer kept embedding comes first, where the index keeps embeddings
        and the query has one; then the row decides.

        Exactly one query is given.

        Args:
            query: words.
            k: hits wanted, at least 1; by default 10, or with a radius all within it.
            image: a picture or its file.
            like: id of an item of this index; the item itself is left out of the hits.
            features: (D,) or (1, D) image features, as the model reads them.
            points: (width,) or (1, width) ready-made point of the index's space.
            where: only items for which this filter on their columns holds, such as "labels has sky".
            radius: only items this near: at most this distance, or at least this similarity.
            along: "more-general" or "more-specific": only items that entail the query, or that it entails.
            engine: "exact", one that was built (`limbeck index engine`), "auto", or milvus://HOST:PORT/NAME.
            recall: that an engine shall reach; see `choose`.
            rerank: take so many by their codes, then the k nearest by the floats that the index keeps
                (``embeddings`` of `build`), compared as their model does; `Index.kept` names that score.

        Raises:
            LimbeckError: not exactly one query, k below 1, an unknown id, a point or feature row of another
                width, a text without one known word, no encoder in the index, a model that reads no pixels,
                a filter that cannot be read, a radius that is none, a space without cones, no such engine.
        """
        options: dict[str, Any]
        _require_one("search", query=query, image=image, like=like, features=features, points=points)
        if k is not None:
            check_k(k)
        row = None if like is None else self.store.row_of(like)
        options = {"where": where, "along": along, "without": row, "engine": engine, "recall": recall}
        if rerank is not None:
            if points is not None:
                raise LimbeckError("rerank: needs a query with an embedding; ask by words or like")
            check_rerank(self.store, rerank, k, radius)  # before anything is encoded
            asked, embeddings = self.embed(query, image=image, like=like, features=features)
            return self.search_reranked(asked, embeddings, k, rerank=rerank, **options)[0]
        if points is not None:
            asked, floats = np.atleast_2d(points), None
        else:
            asked, floats = self.asked(query, image=image, like=like, features=features)
        if len(asked) != 1:
            raise LimbeckError(f"search: {len(asked)} queries at once; use search_points for several")
        return self.search_many(asked, k, radius=radius, embeddings=floats, **options)[0]

    def search_many(
        self,
        points: np.ndarray,
        k: int | None = None,
        *,
        where: str | None = None,
        radius: float | None = None,
        along: str | None = None,
        without: int | np.ndarray | None = None,
        engine: str = "exact",
        recall: float = RECALL,
        embeddings: np.ndarray | None = None,
    ) -> list[list[Hit]]:
        """`search` for each of several points (Q, width), ``without`` a row, or one each (Q,), -1 for none.

        ``embeddings`` (Q, D) of the queries order items of equal distance; a row of NaN leaves it to the row.

        Raises:
            LimbeckError: as `search`.
        """
        options: dict[str, Any] = {"where": where, "radius": radius, "along": along, "without": without}
        options["embeddings"] = embeddings
        found = self._engines.find(points, k, engine=engine, recall=recall, **options)
        return [hits_of(self.store, scores, rows) for scores, rows in found]

    def search_reranked(
        self, points: np.ndarray, embeddings: np.ndarray, k: int | None = None, *, rerank: int, **options: Any
    ) -> list[list[Hit]]:
        """`search` with ``rerank`` for each of several points (Q, width) and their embeddings (Q, D).

        Args:
            points: for the short lists.
            embeddings: for the order within them.
            k: hits wanted; 10 by default.
            rerank: length of the short lists, at least k.
            options: as `search_many`, but for a radius.

        Raises:
            LimbeckError: as `search`; points that are no codes, no embeddings kept, ``rerank`` below k.
        """
        wanted = check_rerank(self.store, rerank, k)
        found = self._engines.find(points, rerank, embeddings=embeddings, **options)
        lists = [rows for _, rows in found]
        return [hits_of(self.store, *one) for one in reranked(self.store, embeddings, lists, wanted)]

    def embed(
        self, text: str | None = None, *, image: Any = None, like: str | None = None, features: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points (Q, width) and embeddings (Q, D) of one query of `encode`, or of an item of this index.

        The embeddings are of the kind that the index keeps.

        Raises:
            LimbeckError: as `encode`; an unknown id, an item without an embedding, an encoder without such
                embeddings.
        """
        if like is not None:
            row = self.store.row_of(like)
            return self.store.point(row), embeddings_at(self.store, np.array([row]))
        return self._queries.embed(self.kept, text, image=image, features=features)

    def asked(
        self, text: str | None = None, *, image: Any = None, like: str | None = None, features: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """As `embed`, but None, or a row of NaN, in the place of embeddings that cannot be had."""
        kept = kept_of(self.store)
        if like is not None:
            row = self.store.row_of(like)
            floats = None if kept is None else embeddings_at(self.store, np.array([row]), lenient=True)
            return self.store.point(row), floats
        if kept is not None and self._queries.gives(kept, text, features):
            return self.embed(text, image=image, features=features)
        return self.encode(text, image=image, features=features), None

    @property
    def kept(self) -> Kept:
        """What a search with ``rerank`` ranks by; `LimbeckError` where no embeddings are kept."""
        kept = kept_of(self.store)
        if kept is None:
            raise LimbeckError(f"{self.store.path}: keeps no embeddings; build it with --keep-embeddings")
        return kept

    def choose(self, engine: str = "auto", *, recall: float = RECALL, k: int | None = 10) -> Choice:
        """The engine that `search` takes, its setting, and why.

        Args:
            engine: "exact", the name of an engine that was built, or "auto": the fastest that was measured
                to reach the recall, exact search if none is faster.
            recall: share of the true k nearest, above 0, at most 1.
            k: hits wanted; None for a radius, which only exact search answers.

        Raises:
            LimbeckError: no such engine, one that was never measured, a recall out of bounds.
        """
        return self._engines.choose(engine, recall=recall, k=k)

    def search_points(
        self,
        points: np.ndarray,
        k: int = 10,
        *,
        where: str | None = None,
        engine: str = "exact",
        recall: float = RECALL,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each of several points.

        Args:
            points: (Q, width) of this index's space.
            k: hits wanted, at least 1; an index of fewer items gives all of them.
            where: only items for which this filter holds.
            engine: as in `search`.
            recall: as in `search`.

        Returns:
            scores (Q, k), int32 distances of codes or float64, and rows int64 (Q, k); `hits` turns them into
            `Hit` lists.

        Raises:
            LimbeckError: k below 1, points of another width or type, a filter that cannot be read.
        """
        choice = self.choose(engine, recall=recall, k=check_k(k))
        return choice.search(points, k, choice.allowed(self.store, where))

    def hits(self, scores: np.ndarray, rows: np.ndarray) -> list[list[Hit]]:
        """Scores and rows (Q, k) with their items."""
        return [hits_of(self.store, *found) for found in zip(scores, rows, strict=True)]

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
        """From a picture (or a text) to the root, through the texts that entail it; see `traverse`.

        Args:
            query: words.
            image: a picture or its file.
            like: id of an item of this index.
            features: (D,) or (1, D) image features, as the model reads them.
            texts: candidates; by default all captions, tags and class names of the items.
            steps: points on the way, both ends among them.
            entailed: pass over texts that do not entail the point.

        Raises:
            LimbeckError: a space without cones, no texts, none with a known word, and what `search` refuses.
        """
        require_cones(self.space)
        check_steps(steps)
        _require_one("traverse", query=query, image=image, like=like, features=features)
        names = list(dict.fromkeys(stored_texts(self.store) if texts is None else texts))
        if like is not None:
            point = self.store.point(self.store.row_of(like))
        else:
            point = self.encode(query, image=image, features=features)
        encoder = self._queries.reading("text")
        known, unknown = split_known(names, encoder.check_query)
        places = encoder.encode_text(known)
        return Traversal.of(self.space, point, places, known, steps=steps, entailed=entailed, unknown=unknown)

    def encode(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        features: np.ndarray | None = None,
    ) -> np.ndarray:
        """Points (Q, width) of a text or several, of a picture, or of image features (D,) or (Q, D).

        Raises:
            LimbeckError: the index has no encoder for it, or the encoder cannot read it.
        """
        return self._queries.encode(text, image=image, features=features)

    def item(self, item_id: str) -> Hit:
        """An item of this index as a hit, with a score of 0."""
        row = self.store.row_of(item_id)
        return hits_of(self.store, np.zeros(1, np.int64), np.array([row]))[0]

    def picture(self, hit: Hit, *, media: Path | str | None = None) -> Image.Image:
        """The picture of a hit, RGB and upright, from the folder or zip recorded at build time.

        Args:
            hit: of this index.
            media: where the pictures are now, if they moved.

        Raises:
            LimbeckError: the items have no pictures, or this one cannot be read.
        """
        return picture_of(self.store, hit, media)


def _require_one(verb: str, **given: object) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        wrong = " and ".join(named) or "none"
        raise LimbeckError(f"{verb}: give exactly one query ({', '.join(given)}), not {wrong}")
