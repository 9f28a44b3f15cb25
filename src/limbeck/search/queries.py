"""Defines the terms of a query, and encodes queries with the encoder of an index or with one that is given.

Torch is imported only when something is encoded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from limbeck.codes import sign_codes
from limbeck.errors import LimbeckError
from limbeck.index.embeddings import embeddings_at, require_kept
from limbeck.index.store import IndexStore
from limbeck.onnx import OnnxEncoder
from limbeck.preprocess import Reads
from limbeck.preprocess.base import Item
from limbeck.search.encoders import encoder_entry, newer, open_for_query
from limbeck.spaces import Kept, Sphere

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.encoders.encoder import Encoder

MAX_TEXT = 20_000  # characters; a model reads a few dozen words, and tokenizers are slow on megabytes
Kind = Literal["text", "image", "id", "features"]
Value: TypeAlias = "str | Path | Image.Image | np.ndarray"


@dataclass(frozen=True, eq=False)
class Term:
    """Holds one term of a query: exactly one of text, image, id and features, and its weight.

    Attributes:
        text: words.
        image: a picture or its file.
        id: the id of an item of the index.
        features: (D,) or (1, D) image features, as the model reads them.
        weight: a finite number other than 0; a negative weight leads away from the term.
    """

    text: str | None = None
    image: Image.Image | Path | str | None = None
    id: str | None = None
    features: np.ndarray | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        kinds: tuple[Kind, ...] = ("text", "image", "id", "features")
        given = [kind for kind in kinds if getattr(self, kind) is not None]
        if len(given) != 1:
            raise LimbeckError(
                f"term: give one of text, image, id and features, not {' and '.join(given) or 'none'}",
                code="E-QUERY-FORM",
            )
        if self.features is not None and len(np.atleast_2d(self.features)) != 1:
            raise LimbeckError(
                f"features: has shape {np.shape(self.features)}; a term is one row (D,)", code="E-QUERY-FORM"
            )
        weight = self.weight
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number):
            raise LimbeckError(
                f"weight: {weight!r} is not a number; give one such as 0.5", code="E-OPTION-RANGE"
            )
        if not math.isfinite(weight) or weight == 0:
            raise LimbeckError(
                f"weight: {weight!r} is 0 or not finite; give another number", code="E-OPTION-RANGE"
            )

    def __eq__(self, other: object) -> bool:
        """Compare texts, ids, files and weights by value, and pictures and features by identity."""
        return isinstance(other, Term) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        named = isinstance(self.image, Path | str)
        return self.text, self.id, self.weight, self.image if named else id(self.image), id(self.features)

    @property
    def kind(self) -> Kind:
        """The kind of the term: text, image, id or features."""
        return next(kind for kind in ("text", "image", "id", "features") if getattr(self, kind) is not None)

    @property
    def value(self) -> Value:
        """The text, picture, id or feature row."""
        value: Value = getattr(self, self.kind)
        return value

    def __str__(self) -> str:
        """Return the term as people read it, without its weight."""
        if self.text is not None or self.id is not None:
            return str(self.text or f"like {self.id}")
        return str(self.image) if isinstance(self.image, Path | str) else self.kind


def is_plain(terms: Sequence[Term]) -> bool:
    """Return whether a query is one term of positive weight, which is searched as it is."""
    return len(terms) == 1 and terms[0].weight > 0


def describe_query(terms: Sequence[Term]) -> str:
    """Return a query as people read it, such as "a beach − people + 2 · sunset"."""
    parts = []
    for number, term in enumerate(terms):
        sign = "−" if term.weight < 0 else "+" if number else ""
        size = abs(term.weight)
        parts += [sign] * bool(sign) + [str(term) if size == 1 else f"{size:g} · {term}"]
    return " ".join(parts)


class QueryEncoder:
    """Encodes queries with the encoder of an index, which is loaded at its first use."""

    def __init__(self, store: IndexStore, encoder: Encoder | None = None) -> None:
        self.store = store
        self._encoders: dict[str, Encoder] = {}
        if encoder is not None:
            self._encoders = dict.fromkeys(("text", "image"), encoder)

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
        values: Sequence[Value]
        if text is not None:
            kind, values = "text", [text] if isinstance(text, str) else list(text)
        elif image is not None:
            kind, values = "image", [image]
        elif features is not None:
            kind, values = "features", [features]
        else:
            raise LimbeckError("encode: give a text, an image or features", code="E-QUERY-FORM")
        encoder, modality, items = self._inputs(kind, values)
        return encoder.encode(modality, items, "points")[0]

    def check(self, terms: Sequence[Term]) -> None:
        """Check a query before it is encoded together with others; pictures and files are not opened.

        Raises:
            LimbeckError: there is no term, an id is unknown, a text has no known word, the index has no
                encoder for a term, or features are not finite numbers.
        """
        if not terms:
            raise LimbeckError("terms: there is none; give at least one", code="E-QUERY-FORM")
        for term in terms:
            if term.id is not None:
                self.store.row_of(term.id)
            elif term.image is not None:
                self.reading("image", "pixels")
            else:
                self._inputs(term.kind, [term.value])

    def encode_queries(
        self, queries: Sequence[Sequence[Term]], *, asymmetric: bool = False, ranked: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Encode queries of one or several terms; all texts together, all pictures together.

        Args:
            queries: Q queries, each with at least one term.
            asymmetric: give the real numbers (Q, bits) whose signs are the codes, or a stored item's signs.
            ranked: refuse queries without the embeddings that a search with ``rerank`` needs.

        Returns:
            Points (Q, width), and embeddings (Q, D) of the kind that the index keeps. A row of NaN means that
            the query has none, and None that the index keeps none.

        Raises:
            LimbeckError: as `check`; a picture cannot be read, terms cancel out, or, with ``ranked``, the
                index keeps no embeddings, an item has none or the encoder gives others.
        """
        store, space = self.store, self.store.space
        kept = require_kept(store) if ranked else store.kept
        if not all(queries):
            raise LimbeckError("terms: there is none; give at least one", code="E-QUERY-FORM")
        plain = [is_plain(query) for query in queries]
        terms = list(itertools.chain.from_iterable(queries))
        summed = np.repeat(~np.array(plain, bool), [len(query) for query in queries])
        codes = space.storage == "codes"
        parts = _Parts(
            np.empty((len(terms), space.width), space.dtype),
            np.empty((len(terms), 8 * space.width), np.float32)
            if codes and (asymmetric or summed.any())
            else None,
            None if kept is None else np.full((len(terms), kept.width), np.nan, np.float32),
        )
        kinds: dict[Kind, list[int]] = {}
        for number, term in enumerate(terms):
            kinds.setdefault(term.kind, []).append(number)
        for kind, at in kinds.items():
            values = [terms[number].value for number in at]
            if kind == "id":
                self._store_parts(list(map(str, values)), parts, at, summed[at], ranked)
            else:
                self._encode_parts(kind, values, parts, at, ranked)
        vectors = parts.points if parts.numbers is None else parts.numbers
        asked = vectors if asymmetric else parts.points
        if all(plain):
            return asked, parts.floats
        points, floats, stop = [], [], 0
        for query, alone in zip(queries, plain, strict=True):
            own = slice(stop, stop := stop + len(query))
            weights = [term.weight for term in query]
            if alone:
                points.append(asked[own])
            else:
                total = space.combine(weights, vectors[own])[None]
                points.append(sign_codes(total) if codes and not asymmetric else total)
            if kept is not None and parts.floats is not None:
                floats.append(parts.floats[own] if alone else _sum(kept, weights, parts.floats[own]))
        return np.concatenate(points), None if kept is None else np.concatenate(floats)

    def _store_parts(
        self, ids: Sequence[str], parts: _Parts, at: Sequence[int], summed: np.ndarray, ranked: bool
    ) -> None:
        """Fill in the terms that are stored items; in a sum, kept numbers take the place of their signs."""
        store = self.store
        rows = np.array([store.row_of(item_id) for item_id in ids])
        parts.points[at] = store.points_at(rows)
        if parts.floats is not None:
            parts.floats[at] = embeddings_at(store, rows, lenient=not ranked)
        if parts.numbers is not None:
            numbers = store.space.coordinates(parts.points[at])
            if parts.floats is not None and require_kept(store).of in ("codes", "unrecorded"):
                known = summed & ~np.isnan(parts.floats[at]).any(axis=1)
                numbers[known] = parts.floats[at][known]
            parts.numbers[at] = numbers

    def _encode_parts(
        self, kind: str, values: Sequence[Value], parts: _Parts, at: Sequence[int], ranked: bool
    ) -> None:
        """Fill in the terms that the encoder reads; equal texts are encoded once."""
        kept = None if parts.floats is None else require_kept(self.store)
        distinct = list(dict.fromkeys(values)) if kind == "text" else values
        encoder, modality, items = self._inputs(kind, distinct)
        gives = kept is not None and (kept.of == "unrecorded" or encoder.kept == kept)
        if ranked and kept is not None and not gives:
            raise LimbeckError(
                f"{self.store.path}: ranks by the {kept.describe()}; its query encoder gives none for "
                "this query; use --like ID, or give --codes FILE with --embeddings FILE",
                code="E-INDEX-OTHER-MODEL",
            )
        outputs: list[Literal["points", "embeddings", "floats"]] = ["points"]
        outputs += ["embeddings"] * (parts.numbers is not None)
        if gives and kept is not None:
            outputs.append("embeddings" if kept.of == "unrecorded" else "floats")
        arrays = encoder.encode(modality, items, *outputs)
        if kind == "text":
            place = {text: number for number, text in enumerate(distinct)}
            arrays = [array[[place[text] for text in values]] for array in arrays]
        parts.points[at] = arrays[0]
        if parts.numbers is not None:
            parts.numbers[at] = arrays[1]
        if gives and parts.floats is not None:
            parts.floats[at] = arrays[-1]

    def _inputs(self, kind: str, values: Sequence[Value]) -> tuple[Encoder, str, Sequence[Item] | np.ndarray]:
        """Return the encoder of texts, pictures or feature rows, its modality, and its input."""
        if kind == "text":
            encoder, texts = self.reading("text"), list(map(str, values))
            for one in texts:
                check_text(one)
                encoder.check_query(one)
            return encoder, "text", texts
        if kind == "image":
            return self.reading("image", "pixels"), "image", [_opened(value) for value in values]
        encoder = self.reading("image", "features")
        array = np.concatenate([np.atleast_2d(np.asarray(value)) for value in values])
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array) or not np.isfinite(array).all():
            raise LimbeckError(
                f"features: holds {array.dtype} {array.shape}; give finite numbers (Q, D), at least one row",
                code="E-ARRAY-SHAPE",
            )
        return encoder, "image", array.astype(np.float32, copy=False)

    def load(self) -> None:
        """Load the encoders of the index, which `encode` otherwise does at its first use.

        Raises:
            LimbeckError: an encoder is damaged, or needs torch, which is not installed.
        """
        for modality in ("text", "image"):
            found = self.store.encoder_for(modality)
            if found is not None:
                encoder = self.reading(modality, Reads.of(found[1].modalities[modality])[0])
                if isinstance(encoder, OnnxEncoder):
                    encoder.load(modality)

    def reading(self, modality: str, wanted: str = "text") -> Encoder:
        """Return the encoder for "text" or "image"; its input is checked before it is loaded.

        Args:
            modality: "text" or "image".
            wanted: the input that it must read: "text", "pixels" or "features".

        Raises:
            LimbeckError: there is no such encoder, or it reads another input.
        """
        if modality in self._encoders:
            _check_reads(self._encoders[modality].inputs, modality, wanted)
            return self._encoders[modality]
        try:
            encoder = _load(self.store, modality, wanted)
        except (LimbeckError, OSError):
            current = newer(self.store)
            if current is None:
                raise
            encoder = _load(current, modality, wanted)
        for one in encoder.inputs:
            self._encoders.setdefault(one, encoder)
        return encoder


@dataclass
class _Parts:
    """Encoded terms: points (T, width), real numbers (T, bits), and embeddings (T, D) of the kept kind."""

    points: np.ndarray
    numbers: np.ndarray | None
    floats: np.ndarray | None


def _sum(kept: Kept, weights: Sequence[float], floats: np.ndarray) -> np.ndarray:
    """Return the embedding (1, D) of a sum; NaN if one of its terms has none."""
    if np.isnan(floats).any():
        return np.full((1, kept.width), np.nan, np.float32)
    space = kept.space or Sphere(kept.width)  # an inner product ranks by direction
    return space.combine(weights, space.restored(kept.points(floats)))[None]


def _opened(image: Value) -> Item:
    if not isinstance(image, Path | str):
        return image
    from limbeck.pictures import open_picture

    return open_picture(image)


def _load(store: IndexStore, modality: str, wanted: str) -> Encoder:
    folder, entry = encoder_entry(store, modality)
    _check_reads(entry.modalities, modality, wanted)
    return open_for_query(store, folder, modality)


def check_text(text: str) -> None:
    """Check the text of a query.

    Raises:
        LimbeckError: it is longer than `MAX_TEXT` characters, or has half of a surrogate pair.
    """
    if len(text) > MAX_TEXT:
        raise LimbeckError(
            f"query: {len(text)} characters exceed the limit of {MAX_TEXT}; give a shorter text",
            code="E-QUERY-FORM",
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LimbeckError(
            f"query: character {error.start + 1} is half of a surrogate pair; write the text in UTF-8",
            code="E-QUERY-FORM",
        ) from None


def _check_reads(inputs: dict[str, str], modality: str, wanted: str) -> None:
    """Check that an encoder with these inputs reads ``wanted``.

    Raises:
        LimbeckError: it does not.
    """
    if modality not in inputs:
        raise LimbeckError(
            "this model's text tower reads labels, not texts; use --like ID or an image", code="E-MODEL-INPUT"
        )
    kind, name = Reads.of(inputs[modality])
    if kind != wanted:
        reads = f"features {name!r}, not pixels" if kind == "features" else f"{kind}, not features"
        other = "--features FILE" if kind == "features" else "--image FILE"
        raise LimbeckError(f"this model reads {reads}; use {other} or --like ID", code="E-MODEL-INPUT")
