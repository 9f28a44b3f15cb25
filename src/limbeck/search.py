"""`limbeck.Index`: a store, the exact engine and a query encoder, joined.

Torch is imported only when something must be encoded: a search by stored item or by ready-made points never
loads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.encoded import Encoded, is_encoded
from limbeck.index.items import as_items
from limbeck.index.query import ExactSearch, check_k
from limbeck.index.store import IndexStore
from limbeck.index.texts import stored_texts
from limbeck.index.writer import EncoderSource, StoreMeta
from limbeck.spaces import Hamming, Space, Sphere
from limbeck.traversal import Traversal, check_steps, require_cones, split_known

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoding import OnSkip, Source

_ROWS = 1 << 16


@dataclass(frozen=True)
class Hit:
    """One answer of a search.

    Attributes:
        id: of the item.
        score: similarity (cosine), or Hamming or geodesic distance; ``Index.score_name`` says which.
        metadata: the item's other columns, such as ``path``, ``labels``, ``tags``, ``captions``.
        row: the item's row in the index.
    """

    id: str
    score: float
    metadata: dict[str, Any]
    row: int


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
        self._exact = ExactSearch(store)
        self._encoder = encoder

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

        Raises:
            LimbeckError: bad source, repeated ids, a model of another space, ``path`` taken, disk full.
        """
        encoder, name = _load_model(model)
        encoders = [] if encoder is None else [_query_encoder(encoder)]
        if isinstance(source, np.ndarray):
            if items is None:
                raise LimbeckError("index: an array needs items with a column 'id'; give ids, one a row")
            found = space or _space_of(source)
            space_id = None if encoder is None else encoder.space_id
            meta = StoreMeta(found, space_id, model=name, encoders=encoders)
            return cls(IndexStore.build(path, _slices(source, items), meta, replace=replace), encoder=encoder)
        if isinstance(source, Encoded) or (isinstance(source, Path | str) and is_encoded(Path(source))):
            encoded = source if isinstance(source, Encoded) else Encoded.open(source)
            encoded.check()
            if encoder is not None and encoder.space_id != encoded.meta.space_id:
                raise LimbeckError(
                    f"{encoded.path}: encoded by another model or space; give the model that encoded it"
                )
            about = encoded.meta
            meta = StoreMeta(
                about.space, about.space_id, about.modality, about.media_root, name or about.model, encoders
            )
            return cls(IndexStore.build(path, encoded.batches(), meta, replace=replace), encoder=encoder)
        if encoder is None:
            raise LimbeckError(f"{source}: must be encoded first; give a model (--model RUN)")
        from limbeck.encoding import encode_batches, open_source

        opened = open_source(source)
        meta = StoreMeta(encoder.space, encoder.space_id, "image", opened.media_root, name, encoders)
        batches = encode_batches(
            encoder, opened, rows=rows, batch_size=batch_size, on_skip=on_skip, progress=progress
        )
        return cls(IndexStore.build(path, batches, meta, replace=replace), encoder=encoder)

    def __len__(self) -> int:
        return len(self.store)

    def search(
        self,
        query: str | None = None,
        k: int = 10,
        *,
        image: Image.Image | Path | str | None = None,
        like: str | None = None,
        features: np.ndarray | None = None,
        points: np.ndarray | None = None,
    ) -> list[Hit]:
        """The k nearest items to one query, nearest first, ties by row.

        Exactly one query is given.

        Args:
            query: words.
            k: hits wanted, at least 1.
            image: a picture or its file.
            like: id of an item of this index; the item itself is left out of the hits.
            features: (D,) or (1, D) image features, as the model reads them.
            points: (width,) or (1, width) ready-made point of the index's space.

        Raises:
            LimbeckError: not exactly one query, k below 1, an unknown id, a point or feature row of another
                width, a text without one known word, no encoder in the index, a model that reads no pixels.
        """
        _require_one("search", query=query, image=image, like=like, features=features, points=points)
        check_k(k)
        if like is not None:
            return self._search_like(like, k)
        asked = (
            np.atleast_2d(points)
            if points is not None
            else self.encode(query, image=image, features=features)
        )
        if len(asked) != 1:
            raise LimbeckError(f"search: {len(asked)} queries at once; use search_points for several")
        return self.hits(*self.search_points(asked, k))[0]

    def search_points(self, points: np.ndarray, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items of each of several points.

        Args:
            points: (Q, width) of this index's space.
            k: hits wanted, at least 1; an index of fewer items gives all of them.

        Returns:
            scores (Q, k), int32 distances of codes or float64, and rows int64 (Q, k); `hits` turns them into
            `Hit` lists.

        Raises:
            LimbeckError: k below 1, points of another width or type.
        """
        return self._exact(points, k)

    def hits(self, scores: np.ndarray, rows: np.ndarray) -> list[list[Hit]]:
        """Scores and rows (Q, k) with their items."""
        return [self._hits(found, numbers) for found, numbers in zip(scores, rows, strict=True)]

    def _hits(self, scores: np.ndarray, rows: np.ndarray) -> list[Hit]:
        found = []
        for score, row, item in zip(scores.tolist(), rows.tolist(), self.store.metadata(rows), strict=True):
            found.append(Hit(item.pop("id"), score, item, row))
        return found

    def _search_like(self, item_id: str, k: int) -> list[Hit]:
        row = self.store.row_of(item_id)
        # One more, since the item itself is among them, unless k + 1 equal ones stand before it.
        scores, rows = self.search_points(self.store.point(row), check_k(k) + 1)
        others = rows[0] != row
        return self._hits(scores[0][others][:k], rows[0][others][:k])

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
        encoder = self._encoder_for("text")
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
        if text is not None:
            encoder = self._encoder_for("text")
            texts = [text] if isinstance(text, str) else list(text)
            for one in texts:
                encoder.check_query(one)
            return encoder.encode_text(texts)
        if image is not None:
            encoder = self._encoder_for("image", "pixels")
            if isinstance(image, Path | str):
                from limbeck.pictures import open_picture

                image = open_picture(image)
            return encoder.encode_image([image])
        if features is None:
            raise LimbeckError("encode: give a text, an image or features")
        encoder = self._encoder_for("image", "features")
        array = np.atleast_2d(np.asarray(features))
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array) or not np.isfinite(array).all():
            raise LimbeckError(
                f"features: {array.dtype} {array.shape}; give finite numbers (Q, D), at least one row"
            )
        return encoder.encode_image(array.astype(np.float32, copy=False))

    def _encoder_for(self, modality: str, wanted: str = "text") -> DualEncoder:
        """The query encoder, loaded at its first use; whether it reads ``wanted`` is known before that."""
        if self._encoder is not None:
            inputs, entry = _inputs_of(self._encoder), None
        else:
            found = self.store.encoder_for(modality)
            if found is None:
                raise LimbeckError(
                    f"{self.store.path}: holds no query encoder for {modality}; "
                    "build it with --model RUN, or search by --like ID or --codes FILE"
                )
            folder, entry = found
            inputs = entry.modalities
        kind, _, name = inputs[modality].partition(":")
        if kind != wanted:
            reads = f"features {name!r}, not pixels" if kind == "features" else f"{kind}, not features"
            other = "--features FILE" if kind == "features" else "--image FILE"
            raise LimbeckError(f"this model reads {reads}; use {other} or --like ID")
        if self._encoder is None:
            from limbeck.encoders.dual import DualEncoder

            encoder = DualEncoder.load(folder)
            if entry is not None and encoder.space_id != entry.space_id:
                raise LimbeckError(f"{folder}: a model of another space than the index; rebuild the index")
            self._encoder = encoder
        return self._encoder

    def item(self, item_id: str) -> Hit:
        """An item of this index as a hit, with a score of 0."""
        row = self.store.row_of(item_id)
        metadata = self.store.metadata([row])[0]
        return Hit(metadata.pop("id"), 0, metadata, row)

    def picture(self, hit: Hit, *, media: Path | str | None = None) -> Image.Image:
        """The picture of a hit, RGB and upright, from the folder or zip recorded at build time.

        Args:
            hit: of this index.
            media: where the pictures are now, if they moved.

        Raises:
            LimbeckError: the items have no pictures, or this one cannot be read.
        """
        from limbeck.pictures import open_picture

        root, path = media or self.store.manifest.media_root, hit.metadata.get("path")
        if root is None or path is None:
            raise LimbeckError(
                f"{self.store.path}: item {hit.id!r} has no picture recorded; give --media DIR"
            )
        return (
            open_picture(path, archive=Path(root))
            if Path(root).is_file()
            else open_picture(Path(root) / path)
        )


def _require_one(verb: str, **given: object) -> None:
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        wrong = " and ".join(named) or "none"
        raise LimbeckError(f"{verb}: give exactly one query ({', '.join(given)}), not {wrong}")


def _load_model(model: Path | str | DualEncoder | None) -> tuple[DualEncoder | None, str | None]:
    """The encoder, and the path it came from, if any."""
    if not isinstance(model, Path | str):
        return model, None
    from limbeck.encoders.load import load

    return load(model), str(model)


def _inputs_of(encoder: DualEncoder) -> dict[str, str]:
    return {"text": "text", "image": encoder.image_input}


def _query_encoder(encoder: DualEncoder) -> EncoderSource:
    # Bundled: an index must still answer when the hub, or the run that it came from, is gone.
    return EncoderSource(
        lambda folder: encoder.save(folder, bundle=True), encoder.space_id, _inputs_of(encoder)
    )


def _space_of(points: np.ndarray) -> Space:
    if points.ndim != 2 or points.dtype.kind not in "uf":
        raise LimbeckError(
            f"points: {points.dtype} {points.shape}; give uint8 codes (N, bits/8) or float vectors (N, dim)"
        )
    width = points.shape[1]
    return Hamming(8 * width) if points.dtype == np.uint8 else Sphere(width)


def _slices(points: np.ndarray, items: Mapping[str, Sequence[Any]]) -> Iterator[tuple[np.ndarray, Any]]:
    table = as_items(items)
    if len(table) != len(points):
        raise LimbeckError(f"index: {len(points)} points but {len(table)} ids; give one id a point")
    for start in range(0, len(points), _ROWS):
        yield points[start : start + _ROWS], table.slice(start, _ROWS)
