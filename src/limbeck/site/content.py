"""Gathers what a site publishes of an index: its thumbnails and its data scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from limbeck import __version__
from limbeck.encoding.progress import EncodingBar
from limbeck.errors import LimbeckError
from limbeck.index.confidence import DEPTH, Calibration, Curve, Margins
from limbeck.index.embeddings import require_kept
from limbeck.index.store import IndexStore
from limbeck.onnx import OnnxEncoder
from limbeck.search.alike import Alike
from limbeck.site.collection import SHARD, Collection
from limbeck.site.facets import Facets
from limbeck.site.scripts import base64_text, data_script
from limbeck.site.text_tower import browser_tower
from limbeck.site.thumbnails import Thumbnails
from limbeck.spaces import Kept
from limbeck.typed import Json


@dataclass(frozen=True)
class SiteOptions:
    """What a site publishes.

    Attributes:
        columns: the columns of the metadata; all but the paths of files by default.
        paths: publish the paths of files too.
        text: publish the text tower, so that visitors can search by words.
        embeddings: publish the float embeddings that the index keeps; items of equal distance are then in the
            order of `limbeck.Index`, else in that of their rows.
        media: the folder or zip file of the pictures; by default the one that the index records.
        pictures: publish thumbnails.
        side: the longest side of a thumbnail in pixels.
        quality: that of WebP, 1 to 100.
        title: the title of the page; by default the name of the index directory.
        single: write one page instead of a folder.
    """

    columns: tuple[str, ...] | None = None
    paths: bool = False
    text: bool = True
    embeddings: bool = False
    media: Path | None = None
    pictures: bool = True
    side: int = 128
    quality: int = 60
    title: str | None = None
    single: bool = False


class Content:
    """The content of a site; thumbnails are made first, because the items tell which have one.

    Attributes:
        items: the number of items.
        missing: the number of items with a path whose picture could not be read.
    """

    def __init__(self, store: IndexStore, options: SiteOptions, progress: bool) -> None:
        self._options, self._progress = options, progress
        self._collection = Collection.of(store, options.columns, paths=options.paths)
        self._encoder = _text_encoder(store) if options.text else None
        tower = None if self._encoder is None else self._encoder.towers["text"]
        self._tower = None if tower is None else browser_tower(tower, store.path)
        self._kept = _kept(store) if options.embeddings else None
        self._there = np.zeros(len(self._collection.rows), bool)
        self.items, self.missing = len(self._collection.rows), 0

    @property
    def _gives_floats(self) -> bool:
        return self._encoder is not None and self._encoder.kept == self._kept

    def _curves(self) -> dict[str, Curve]:
        """Return the curves of confidence of the queries that the site answers."""
        calibration = Calibration.load(self._collection.store)
        curves = {} if calibration is None else calibration.curves
        return {kind: curve for kind, curve in curves.items() if kind != "text" or self._tower is not None}

    def _confidence(self, curves: Mapping[str, Curve]) -> dict[str, Json] | None:
        """Return what `Confidence` of static/confidence.js reads; None without a curve."""
        rows = np.searchsorted(self._collection.rows, Margins(self._collection.store).rows)
        told: dict[str, Json] = {
            kind: {"weights": one.weights, "knots": one.knots} for kind, one in curves.items()
        }
        return {"rows": rows.tolist(), "depth": DEPTH, "curves": told} if told else None

    def _prefixes(self) -> list[int]:
        """Return the shorter code lengths that the page offers."""
        space = self._collection.store.space
        bits = 8 * space.width if space.storage == "codes" else 0
        return [1 << n for n in range(3, bits.bit_length()) if 1 << n < bits]

    def thumbnails(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and WebP bytes of each item that has a picture.

        Raises:
            LimbeckError: the folder of the pictures is unknown or missing, or no picture can be read.
        """
        if not self._options.pictures:
            return
        store, options = self._collection.store, self._options
        media = options.media or (store.manifest.media_root and Path(store.manifest.media_root))
        if "path" not in store.schema.names or not media or not media.exists():
            raise LimbeckError(
                f"{store.path}: its pictures are not at {media or 'a recorded place'}; give --media DIR, or "
                "--no-pictures",
                code="E-INDEX-MEDIA",
            )
        paths = store.items_at(self._collection.rows, ["path"]).column("path").to_pylist()
        with EncodingBar(self._progress, len(paths), label="thumbnails") as advance:
            for row, small in enumerate(Thumbnails(media, options.side, options.quality).make(paths)):
                advance(1)
                if small is not None:
                    self._there[row] = True
                    yield row, small
        self.missing = sum(path is not None for path in paths) - int(self._there.sum())
        if not self._there.any():
            raise LimbeckError(
                f"{media}: holds none of the pictures; give --media DIR, or --no-pictures",
                code="E-INDEX-MEDIA",
            )

    def scripts(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of each data script."""
        collection = self._collection
        if self._options.single:
            yield from self._inline_thumbnails()
        facets = Facets.of(collection)
        yield "site", data_script("site", self._told(facets))
        yield "points", data_script("points", base64_text(collection.points()))
        yield "ids", data_script("ids", collection.ids)
        if self._tower is not None:
            told = {"settings": self._tower.told, "weights": base64_text(self._tower.blob)}
            yield "tower", data_script("tower", told)
        if self._kept is not None:
            yield "kept", data_script("kept", base64_text(collection.embeddings()))
        for number, shard in enumerate(collection.shards(self._there.tolist())):
            yield f"items-{number}", data_script(f"items-{number}", shard)
        for number, bitmaps in enumerate(facets.bitmaps()):
            yield f"facet-{number}", data_script(f"facet-{number}", bitmaps)

    def _inline_thumbnails(self) -> Iterator[tuple[str, str]]:
        shards: dict[int, list[str | None]] = {}
        for row, small in self.thumbnails():
            shard = shards.setdefault(row // SHARD, [None] * SHARD)
            shard[row % SHARD] = base64_text(small)
        for number, shard in shards.items():
            yield f"thumbnails-{number}", data_script(f"thumbnails-{number}", shard)

    def _told(self, facets: Facets) -> dict[str, Json]:
        store, space = self._collection.store, self._collection.store.space
        curves = self._curves()
        check = None if self._encoder is None else self._encoder.check_query
        texts, rows = self._collection.examples(check)
        info: dict[str, Json] = {
            "name": self._options.title or store.path.resolve().name,
            "items": len(self._collection.rows),
            "space": space.name,
            "bits": 8 * space.width if space.storage == "codes" else None,
            "score_name": space.score_name,
            "generation": store.manifest.generation,
            "text": self._tower is not None,
            "pictures": False,
            "cones": False,
            "prefixes": self._prefixes(),
            "confidence": {kind: curve.describe() for kind, curve in curves.items()},
            "has_media": bool(self._there.any()),
        }
        return {
            "version": __version__,
            "space": space.to_json(),
            "score_name": space.score_name,
            "text": self._tower is not None,
            "kept": None if self._kept is None else self._kept.to_json() | {"text": self._gives_floats},
            "within": Alike(store, kept=self._kept is not None).within,
            "confidence": self._confidence(curves),
            "shard": SHARD,
            "info": info,
            "facets": facets.told(),
            "examples": {"texts": texts, "rows": rows},
        }


def _text_encoder(store: IndexStore) -> OnnxEncoder:
    """Return the encoder of an index that reads texts.

    Raises:
        LimbeckError: the index has none with an ONNX graph.
    """
    found = store.encoder_for("text")
    encoder = None if found is None else OnnxEncoder.open(found[0])
    if encoder is None or "text" not in encoder.towers:
        raise LimbeckError(
            f"{store.path}: holds no text tower as an ONNX graph; build it again with --model, or give "
            "--no-text",
            code="E-INDEX-MODEL",
        )
    return encoder


def _kept(store: IndexStore) -> Kept:
    """Return what the kept embeddings of an index are.

    Raises:
        LimbeckError: it keeps none, or those of version 0.1, which do not order hits.
    """
    kept = require_kept(store)
    if kept.of == "unrecorded":
        raise LimbeckError(
            f"{store.path}: keeps embeddings of version 0.1, which do not order hits; leave --embeddings out",
            code="E-INDEX-EMBEDDINGS",
        )
    return kept
