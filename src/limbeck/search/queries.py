"""What turns queries into points: the encoder that an index carries, or one that was handed in.

Torch is imported only when something is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.search.rows import inputs_of
from limbeck.spaces import Kept

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.encoders.dual import DualEncoder


MAX_TEXT = 20_000  # characters; a model reads some dozen words, and tokenizers take long over megabytes


class QueryEncoder:
    """The query encoder of an index, loaded at its first use."""

    def __init__(self, store: IndexStore, encoder: DualEncoder | None = None) -> None:
        self.store = store
        self._encoder = encoder

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
        encoder, modality, items = self._inputs(text, image, features)
        return encoder.encode_text(items) if modality == "text" else encoder.encode_image(items)

    def embed(
        self, kept: Kept, text: str | None, *, image: Any = None, features: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Points (Q, width) of queries as in `encode`, and their embeddings (Q, D) as an index keeps them.

        Raises:
            LimbeckError: as `encode`; embeddings from elsewhere, or an encoder that gives others.
        """
        encoder, modality, items = self._inputs(text, image, features)
        if kept.of != "unrecorded" and encoder.kept != kept:
            raise LimbeckError(
                f"{self.store.path}: ranks by the {kept.describe()}; its query encoder gives none for "
                "this query; ask by --like ID, or give --codes FILE with --embeddings FILE"
            )
        embeddings, floats = encoder.encode_both(modality, items)
        return encoder.points_of(embeddings), embeddings if kept.of == "unrecorded" else floats

    def gives(self, kept: Kept, text: str | None, features: np.ndarray | None) -> bool:
        """Whether the encoder of a query gives the embeddings that an index keeps."""
        reads = "text" if text is not None else "pixels" if features is None else "features"
        encoder = self.reading("text" if text is not None else "image", reads)
        return kept.of == "unrecorded" or encoder.kept == kept

    def _inputs(
        self, text: str | Sequence[str] | None, image: Any, features: np.ndarray | None
    ) -> tuple[DualEncoder, str, Any]:
        """The encoder of a query, "text" or "image", and what it reads of it."""
        if text is not None:
            encoder = self.reading("text")
            texts = [text] if isinstance(text, str) else list(text)
            for one in texts:
                check_text(one)
                encoder.check_query(one)
            return encoder, "text", texts
        if image is not None:
            encoder = self.reading("image", "pixels")
            if isinstance(image, Path | str):
                from limbeck.pictures import open_picture

                image = open_picture(image)
            return encoder, "image", [image]
        if features is None:
            raise LimbeckError("encode: give a text, an image or features")
        encoder = self.reading("image", "features")
        array = np.atleast_2d(np.asarray(features))
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array) or not np.isfinite(array).all():
            raise LimbeckError(
                f"features: {array.dtype} {array.shape}; give finite numbers (Q, D), at least one row"
            )
        return encoder, "image", array.astype(np.float32, copy=False)

    def reading(self, modality: str, wanted: str = "text") -> DualEncoder:
        """The encoder for "text" or "image"; whether it reads ``wanted`` is known before it is loaded.

        Raises:
            LimbeckError: there is none, or it reads something else.
        """
        if self._encoder is not None:
            _check_reads(inputs_of(self._encoder), modality, wanted)
            return self._encoder
        try:
            self._encoder = _load(self.store, modality, wanted)
        except (LimbeckError, OSError):
            newer = self._newer()
            if newer is None:
                raise
            self._encoder = _load(newer, modality, wanted)
        return self._encoder

    def _newer(self) -> IndexStore | None:
        """The index as it is now, where it went on since it was opened; a writer removes old encoders.

        Every encoder of an index encodes into the space of its points, so a newer one answers for these too.

        Raises:
            LimbeckError: the index was built anew with a model of another space.
        """
        newer = IndexStore.open(self.store.path)
        if newer.manifest.generation == self.store.manifest.generation:
            return None
        if newer.manifest.space_id != self.store.manifest.space_id:
            raise LimbeckError(
                f"{self.store.path}: was built anew with another model since it was opened, and the encoder "
                "of its old state is gone; open it again"
            )
        return newer


def _load(store: IndexStore, modality: str, wanted: str) -> DualEncoder:
    """The encoder of an index for "text" or "image", if it reads ``wanted``."""
    found = store.encoder_for(modality)
    if found is None:
        raise LimbeckError(
            f"{store.path}: holds no query encoder for {modality}; "
            "build it with --model RUN, or search by --like ID or --codes FILE"
        )
    folder, entry = found
    _check_reads(entry.modalities, modality, wanted)
    from limbeck.encoders.device import placed
    from limbeck.encoders.dual import DualEncoder

    encoder = placed(DualEncoder.load(folder, bundled=True))
    if encoder.space_id != entry.space_id:
        raise LimbeckError(f"{folder}: a model of another space than the index; rebuild the index")
    return encoder


def _check_reads(inputs: dict[str, str], modality: str, wanted: str) -> None:
    """Refuse an encoder that does not read ``wanted``; it need not be loaded for that."""
    if modality not in inputs:
        raise LimbeckError("this model's text tower reads labels, not texts; use --like ID or an image")
    kind, _, name = inputs[modality].partition(":")
    if kind != wanted:
        reads = f"features {name!r}, not pixels" if kind == "features" else f"{kind}, not features"
        other = "--features FILE" if kind == "features" else "--image FILE"
        raise LimbeckError(f"this model reads {reads}; use {other} or --like ID")


def check_text(text: str) -> None:
    """Refuse what is no query text.

    Raises:
        LimbeckError: longer than `MAX_TEXT` characters, or halves of surrogate pairs, which are no Unicode.
    """
    if len(text) > MAX_TEXT:
        raise LimbeckError(f"query: {len(text)} characters, at most {MAX_TEXT}; ask by a shorter text")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LimbeckError(
            f"query: character {error.start + 1} is half of a surrogate pair; write the text in UTF-8"
        ) from None


def replace_query_encoder(index: Path | str, model: Path | str | DualEncoder) -> None:
    """Give an index another query encoder: a new text tower on its codes, no item encoded again.

    Args:
        index: directory of the index.
        model: run, model directory or encoder whose image side is that of the index, as `freeze: [image]`
            leaves it.

    Raises:
        LimbeckError: no index; a model of another space; a text tower that reads label lists.
    """
    from limbeck.encoders.load import load
    from limbeck.index.encoder import replace_encoder
    from limbeck.index.writer import EncoderSource

    name = None
    if isinstance(model, Path | str):
        name, model = str(model), load(model)
    reads = model.towers["text"].backbone.reads
    if reads != "text":
        raise LimbeckError(f"{name or 'model'}: its text tower reads {reads}, not texts; take another model")
    encoder = model
    source = EncoderSource(
        lambda folder: encoder.save(folder, bundle=True),
        encoder.space_id,
        {"text": "text", "image": encoder.image_input},
    )
    replace_encoder(index, source, model=name)
