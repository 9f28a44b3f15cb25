"""What goes into an index: a collection, an encoded set or an array as batches of points and items."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.encoded import Encoded, is_encoded
from limbeck.index.items import as_items
from limbeck.index.segment_writer import Batches
from limbeck.index.writer import EncoderSource, StoreMeta
from limbeck.spaces import Hamming, Space, Sphere

if TYPE_CHECKING:
    from limbeck.data.pairs import Pairs
    from limbeck.encoders.dual import DualEncoder
    from limbeck.encoding import OnSkip, Source

_ROWS = 1 << 16


def open_rows(
    source: Path | str | Pairs | Source | Encoded | np.ndarray,
    encoder: DualEncoder | None,
    name: str | None,
    *,
    items: Mapping[str, Sequence[Any]] | None = None,
    rows: np.ndarray | None = None,
    space: Space | None = None,
    batch_size: int | None = None,
    progress: bool = False,
    on_skip: OnSkip | None = None,
) -> tuple[Batches, StoreMeta]:
    """Batches for a store, with what they are; arguments as `limbeck.Index.build`, ``name`` of the model.

    Raises:
        LimbeckError: a bad source, one that must be encoded without an encoder, a model of another space.
    """
    encoders = [] if encoder is None else [query_encoder(encoder)]
    if isinstance(source, np.ndarray):
        if items is None:
            raise LimbeckError("index: an array needs items with a column 'id'; give ids, one a row")
        space_id = None if encoder is None else encoder.space_id
        meta = StoreMeta(space or _space_of(source), space_id, model=name, encoders=encoders)
        return _slices(source, items), meta
    if isinstance(source, Encoded) or (isinstance(source, Path | str) and is_encoded(Path(source))):
        encoded = source if isinstance(source, Encoded) else Encoded.open(source)
        encoded.check()
        if encoder is not None and encoder.space_id != encoded.meta.space_id:
            raise LimbeckError(
                f"{encoded.path}: encoded by another model or space; give the model that encoded it"
            )
        about = encoded.meta
        return encoded.batches(), StoreMeta(
            about.space, about.space_id, about.modality, about.media_root, name or about.model, encoders
        )
    if encoder is None:
        raise LimbeckError(f"{source}: must be encoded first; give a model (--model RUN)")
    from limbeck.encoding import encode_batches, open_source

    opened = open_source(source)
    meta = StoreMeta(encoder.space, encoder.space_id, "image", opened.media_root, name, encoders)
    batches = encode_batches(
        encoder, opened, rows=rows, batch_size=batch_size, on_skip=on_skip, progress=progress
    )
    return batches, meta


def load_model(model: Path | str | DualEncoder | None) -> tuple[DualEncoder | None, str | None]:
    """The encoder, and the path it came from, if any."""
    if not isinstance(model, Path | str):
        return model, None
    from limbeck.encoders.load import load

    return load(model), str(model)


def inputs_of(encoder: DualEncoder) -> dict[str, str]:
    """What an encoder reads as text and as image, as an index records it."""
    return {"text": "text", "image": encoder.image_input}


def query_encoder(encoder: DualEncoder) -> EncoderSource:
    """An encoder as a store takes it."""
    # Bundled: an index must still answer when the hub, or the run that it came from, is gone.
    return EncoderSource(
        lambda folder: encoder.save(folder, bundle=True), encoder.space_id, inputs_of(encoder)
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
