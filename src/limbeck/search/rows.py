"""Converts a collection, an encoded set or an array to batches of points and items for an index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from limbeck.codes.arrays import as_codes_or_vectors
from limbeck.errors import LimbeckError
from limbeck.index.add import Added, add_batches
from limbeck.index.embeddings import with_embeddings
from limbeck.index.encoded import Encoded, is_encoded
from limbeck.index.items import Items, as_items
from limbeck.index.segment_writer import Batches
from limbeck.index.store import EMBEDDING, IndexStore
from limbeck.index.writer import StoreMeta
from limbeck.search.encoders import open_model, own_encoder, query_encoder
from limbeck.spaces import Hamming, Kept, Space, Sphere

if TYPE_CHECKING:
    from limbeck.data.pairs import Pairs
    from limbeck.encoders.encoder import Encoder
    from limbeck.encoding import OnSkip, Source

_ROWS = 1 << 16


def open_rows(
    source: Path | str | Pairs | Source | Encoded | np.ndarray,
    encoder: Encoder | None,
    name: str | None,
    *,
    items: Mapping[str, Sequence[object]] | None = None,
    rows: np.ndarray | None = None,
    space: Space | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    on_skip: OnSkip | None = None,
    embeddings: bool | np.ndarray | Kept = False,
    may_be_none: bool = False,
) -> tuple[Batches, StoreMeta]:
    """Return the batches of a source and their description.

    `limbeck.Index.build` explains the arguments that are not listed here.

    Args:
        encoder: encodes pairs and pictures, and is stored as query encoder; None for none.
        name: the path of the model, recorded for people to read.
        embeddings: as for `limbeck.Index.build`, or the kind of embeddings that an index keeps.
        may_be_none: allow that no item of a collection can be read.

    Raises:
        LimbeckError: the source is invalid, it needs an encoder and none is given, or the encoder is of
            another space.
    """
    encoders = [] if encoder is None else [query_encoder(encoder)]
    if isinstance(source, np.ndarray):
        if items is None:
            raise LimbeckError(
                "index: an array needs items with a column 'id'; give one id per row", code="E-TABLE-COLUMN"
            )
        if space is None or space.storage == "codes":
            source = as_codes_or_vectors(source, "points: the array")
        space_id = None if encoder is None else encoder.space_id
        points = space or _space_of(source)
        kept = None
        if isinstance(embeddings, np.ndarray):
            kept = _kept_of(embeddings, encoder)
        elif embeddings:
            raise LimbeckError(
                "embeddings: an array of points has no embeddings; give them as an array (N, D)",
                code="E-OPTION-MISSING",
            )
        meta = StoreMeta(points, space_id, model=name, encoders=encoders, embeddings=kept)
        return _slices(source, items, embeddings if isinstance(embeddings, np.ndarray) else None, kept), meta
    if isinstance(embeddings, np.ndarray):
        raise LimbeckError(
            "embeddings: give an array of embeddings only with an array of points", code="E-OPTION-CONFLICT"
        )
    if isinstance(source, Encoded) or (isinstance(source, Path | str) and is_encoded(Path(source))):
        encoded = source if isinstance(source, Encoded) else Encoded.open(source)
        encoded.check()
        if embeddings and EMBEDDING not in encoded.columns:
            raise LimbeckError(
                f"{encoded.path}: has no embeddings; encode it again with --keep-embeddings",
                code="E-INDEX-EMBEDDINGS",
            )
        if encoder is not None and encoder.space_id != encoded.meta.space_id:
            raise LimbeckError(
                f"{encoded.path}: was encoded by another model or space; give the model that encoded it",
                code="E-INDEX-OTHER-MODEL",
            )
        about = encoded.meta
        return encoded.batches(), StoreMeta(
            about.space,
            about.space_id,
            about.modality,
            about.media_root,
            name or about.model,
            encoders,
            about.embeddings,
        )
    if encoder is None:
        raise LimbeckError(
            f"{source}: must be encoded first; give a model (--model RUN)", code="E-OPTION-MISSING"
        )
    from limbeck.encoding import encode_batches, open_source

    assert not isinstance(source, Encoded)
    opened = open_source(source)
    kept = embeddings if isinstance(embeddings, Kept) else encoder.kept if embeddings else None
    recorded = None if kept is None or kept.of == "unrecorded" else kept
    meta = StoreMeta(
        encoder.space, encoder.space_id, "image", opened.media_root, name, encoders, embeddings=recorded
    )
    batches = encode_batches(
        encoder,
        opened,
        rows=rows,
        batch_size=batch_size,
        on_skip=on_skip,
        progress=progress,
        keep_embeddings=kept or False,
        may_be_none=may_be_none,
    )
    return batches, meta


def add_items(
    path: Path | str,
    source: Path | str | Pairs | Source | Encoded | np.ndarray,
    *,
    model: Path | str | Encoder | None = None,
    items: Mapping[str, Sequence[object]] | None = None,
    rows: np.ndarray | None = None,
    batch_size: int | None = None,
    replace: bool = False,
    progress: bool = False,
    on_skip: OnSkip | None = None,
    embeddings: np.ndarray | None = None,
) -> Added:
    """Add items to an index in one commit; pairs and pictures are encoded with the model in the index.

    Args:
        path: the index directory.
        source: pairs directory, folder of pictures, encoded set, or an array of points.
        model: with an array, the run, model directory or encoder that made it; None for points of other
            programs.
        items: with an array, its N items: ``{"id": [...], further columns}``.
        rows: with pairs or pictures, the row numbers (n,) to encode; all by default.
        batch_size: items per forward pass; 64 pictures or 1,024 feature rows by default.
        replace: replace the items of the index that have the same ids.
        progress: show items per second and the remaining time on standard error.
        on_skip: called with id and reason of each item that cannot be read.
        embeddings: with an array, embeddings (N, D) of the kind that the index keeps.

    Returns:
        The numbers of added and replaced items.

    Raises:
        LimbeckError: there is no index, points are of another space or width, ids are known or repeated, a
            column has another type, pictures are outside the media root, another writer holds the lock, or
            the disk is full. The index does not change then.
    """
    store = IndexStore.open(path)
    encoded = _as_encoded(source)
    known: Sequence[str] | None
    hint = None
    if isinstance(source, np.ndarray):
        encoder, _ = opened_model(model)
        known = None if items is None else as_items(items).column("id").to_pylist()
        batches, meta = open_rows(source, encoder, None, items=items, space=store.space)
        if embeddings is not None:
            if (kept := store.kept) is None:
                raise LimbeckError(
                    f"{path}: keeps no embeddings; leave out the embeddings", code="E-INDEX-EMBEDDINGS"
                )
            if items is None:
                raise LimbeckError(
                    "index: an array needs items with a column 'id'; give one id per row",
                    code="E-TABLE-COLUMN",
                )
            given = (
                as_codes_or_vectors(source, "points: the array") if store.space.storage == "codes" else source
            )
            batches = _slices(given, items, embeddings, kept)
    elif embeddings is not None:
        raise LimbeckError(
            "embeddings: give an array of embeddings only with an array of points", code="E-OPTION-CONFLICT"
        )
    elif model is not None:
        raise LimbeckError(
            f"{path}: encodes with its stored model; leave out the model, which goes with codes only",
            code="E-OPTION-CONFLICT",
        )
    elif encoded is not None:
        known = encoded.items().column("id").to_pylist()
        batches, meta = open_rows(encoded, None, None)
    else:
        from limbeck.encoding import PictureFolder

        opened = open_below(source, store.manifest.media_root)
        known = opened.ids(rows)
        if isinstance(opened, PictureFolder):
            hint = f"limbeck index sync {path} {opened.root} encodes only what is new or changed"
        encoder = own_encoder(store)
        batches, meta = open_rows(
            opened,
            encoder,
            None,
            rows=rows,
            batch_size=batch_size,
            on_skip=on_skip,
            progress=progress,
            embeddings=store.kept or False,
        )
    from limbeck.search.calibrate import calibrate_grown  # which searches, and so needs this module

    added = add_batches(path, batches, meta, ids=known, replace=replace, hint=hint)
    calibrate_grown(path)
    return added


def _as_encoded(source: object) -> Encoded | None:
    if isinstance(source, Path | str) and is_encoded(Path(source)):
        return Encoded.open(source)
    return source if isinstance(source, Encoded) else None


def open_below(source: Path | str | Pairs | Source | Encoded, media_root: str | None) -> Source:
    """Open a source; ids and paths of a picture folder below the media root become relative to that root."""
    from limbeck.encoding import PictureFolder, open_source

    assert not isinstance(source, Encoded)
    opened = open_source(source)
    if isinstance(opened, PictureFolder) and media_root is not None:
        inside = Path(media_root) in opened.root.resolve().parents
        return opened.below(media_root) if inside else opened
    return opened


def opened_model(model: Path | str | Encoder | None) -> tuple[Encoder | None, str | None]:
    """Open a model and return the encoder and its path; an encoder is returned as it is, without a path."""
    return (open_model(model), str(model)) if isinstance(model, Path | str) else (model, None)


def _space_of(points: np.ndarray) -> Space:
    if points.ndim != 2 or points.dtype.kind not in "uf":
        raise LimbeckError(
            f"points: holds {points.dtype} {points.shape}; give uint8 codes (N, bits/8) or floats (N, dim)",
            code="E-ARRAY-SHAPE",
        )
    width = points.shape[1]
    return Hamming(8 * width) if points.dtype == np.uint8 else Sphere(width)


def _kept_of(embeddings: np.ndarray, encoder: Encoder | None) -> Kept:
    """Describe an array of embeddings: those of a model, or else vectors that are compared by cosine."""
    if encoder is not None:
        return encoder.kept
    if embeddings.ndim != 2 or not embeddings.shape[1]:
        raise LimbeckError(
            f"embeddings: has shape {embeddings.shape}; give one float row per item (N, D)",
            code="E-ARRAY-SHAPE",
        )
    return Kept("given", Sphere(embeddings.shape[1]), embeddings.shape[1])


def _slices(
    points: np.ndarray, items: Items, embeddings: np.ndarray | None = None, kept: Kept | None = None
) -> Iterator[tuple[np.ndarray, pa.Table]]:
    table = as_items(items)
    if len(table) != len(points):
        raise LimbeckError(
            f"index: {len(points)} points but {len(table)} ids; give one id per point", code="E-ARRAY-ROWS"
        )
    if kept is not None and embeddings is not None and len(embeddings) != len(points):
        raise LimbeckError(
            f"embeddings: {len(embeddings)} rows for {len(points)} points; give one per point",
            code="E-ARRAY-ROWS",
        )
    for start in range(0, len(points), _ROWS):
        some = table.slice(start, _ROWS)
        _require_finite(points, start, "points")
        if kept is not None and embeddings is not None:
            _require_finite(embeddings, start, "embeddings")
            some = with_embeddings(some, embeddings[start : start + _ROWS], kept, first=start)
        yield points[start : start + _ROWS], some


def _require_finite(array: np.ndarray, first: int, what: str) -> None:
    """Refuse NaN and infinity in the batch from row ``first`` on; the error names a memory map's file."""
    rows = array[first : first + _ROWS]
    if rows.dtype.kind == "f" and not (finite := np.isfinite(rows)).all():
        bad = first + int(np.flatnonzero(~finite.reshape(len(rows), -1).all(axis=1))[0])
        name = getattr(array, "filename", None) or what
        raise LimbeckError(
            f"{name}: row {bad} holds NaN or infinity; check the input of that row", code="E-ARRAY-VALUES"
        )
