"""Encodes queries into points with the encoder stored in an index, or with one that is given.

Torch is imported only when something is encoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from limbeck.encoders.chosen import asked_device
from limbeck.errors import LimbeckError
from limbeck.index.store import IndexStore
from limbeck.notices import say
from limbeck.onnx import OnnxEncoder
from limbeck.optional_deps import require
from limbeck.preprocess import Reads
from limbeck.spaces import Kept

if TYPE_CHECKING:
    from PIL import Image

    from limbeck.encoders.dual import DualEncoder


MAX_TEXT = 20_000  # characters; a model reads a few dozen words, and tokenizers are slow on megabytes


class QueryEncoder:
    """Encodes queries with the encoder of an index, which is loaded at its first use."""

    def __init__(self, store: IndexStore, encoder: DualEncoder | OnnxEncoder | None = None) -> None:
        self.store = store
        self._encoders: dict[str, DualEncoder | OnnxEncoder] = {}
        if encoder is not None:
            self._encoders = dict.fromkeys(("text", "image"), encoder)

    def encode(
        self,
        text: str | Sequence[str] | None = None,
        *,
        image: Image.Image | Path | str | None = None,
        features: np.ndarray | None = None,
        asymmetric: bool = False,
    ) -> np.ndarray:
        """Encode one or several texts, a picture, or image features (D,) or (Q, D) to points (Q, width).

        With ``asymmetric`` it gives the numbers (Q, bits) whose signs are the codes.

        Raises:
            LimbeckError: the index has no encoder for the query, or the encoder cannot read it.
        """
        encoder, modality, items = self._inputs(text, image, features)
        return encoder.encode(modality, items, "embeddings" if asymmetric else "points")[0]

    def embed(
        self,
        kept: Kept,
        text: str | None,
        *,
        image: Any = None,
        features: np.ndarray | None = None,
        asymmetric: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode queries like `encode`, to points (Q, width) and embeddings (Q, D) of the kind ``kept``.

        Raises:
            LimbeckError: as `encode`, or the encoder does not give embeddings of this kind.
        """
        encoder, modality, items = self._inputs(text, image, features)
        if kept.of != "unrecorded" and encoder.kept != kept:
            raise LimbeckError(
                f"{self.store.path}: ranks by the {kept.describe()}; its query encoder gives none for "
                "this query; use --like ID, or give --codes FILE with --embeddings FILE",
                code="E-INDEX-OTHER-MODEL",
            )
        floats: Literal["embeddings", "floats"] = "embeddings" if kept.of == "unrecorded" else "floats"
        points, embeddings = encoder.encode(modality, items, "embeddings" if asymmetric else "points", floats)
        return points, embeddings

    def gives(self, kept: Kept, text: str | None, features: np.ndarray | None) -> bool:
        """Return whether the encoder of a query gives embeddings of the kind ``kept``."""
        reads = "text" if text is not None else "pixels" if features is None else "features"
        encoder = self.reading("text" if text is not None else "image", reads)
        return kept.of == "unrecorded" or encoder.kept == kept

    def _inputs(
        self, text: str | Sequence[str] | None, image: Any, features: np.ndarray | None
    ) -> tuple[DualEncoder | OnnxEncoder, str, Any]:
        """Return the encoder of a query, its modality "text" or "image", and the encoder's input."""
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
            raise LimbeckError("encode: give a text, an image or features", code="E-QUERY-FORM")
        encoder = self.reading("image", "features")
        array = np.atleast_2d(np.asarray(features))
        if array.ndim != 2 or array.dtype.kind not in "fiu" or not len(array) or not np.isfinite(array).all():
            raise LimbeckError(
                f"features: {array.dtype} {array.shape}; give finite numbers (Q, D), at least one row",
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

    def reading(self, modality: str, wanted: str = "text") -> DualEncoder | OnnxEncoder:
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
            newer = self._newer()
            if newer is None:
                raise
            encoder = _load(newer, modality, wanted)
        for one in encoder.inputs:
            self._encoders.setdefault(one, encoder)
        return encoder

    def _newer(self) -> IndexStore | None:
        """Open the current generation of the index, if it is newer; a writer may have removed old encoders.

        Every encoder of an index encodes into the space of its points, so the newer encoder fits the old
        points as well.

        Returns:
            The newer index; None if the opened generation is the current one.

        Raises:
            LimbeckError: the index was rebuilt with a model of another space.
        """
        newer = IndexStore.open(self.store.path)
        if newer.manifest.generation == self.store.manifest.generation:
            return None
        if newer.manifest.space_id != self.store.manifest.space_id:
            raise LimbeckError(
                f"{self.store.path}: was rebuilt with another model since it was opened, and its old encoder "
                "was removed; open it again",
                code="E-INDEX-OTHER-MODEL",
            )
        return newer


def _load(store: IndexStore, modality: str, wanted: str) -> DualEncoder | OnnxEncoder:
    """Load the encoder of an index for "text" or "image" after checking that it reads ``wanted``."""
    found = store.encoder_for(modality)
    if found is None:
        raise LimbeckError(
            f"{store.path}: holds no query encoder for {modality}; "
            "build it with --model RUN, or search by --like ID or --codes FILE",
            code="E-INDEX-MODEL",
        )
    folder, entry = found
    _check_reads(entry.modalities, modality, wanted)
    # Its space is that of the index: the manifest vouches for every byte of the model that was stored.
    return _without_torch(folder, modality) or _with_torch(store, folder)


def _without_torch(folder: Path, modality: str) -> OnnxEncoder | None:
    """Open the ONNX encoder of a model directory, if it has the tower and no other device was asked for."""
    if asked_device() not in (None, "cpu"):
        return None
    encoder = OnnxEncoder.open(folder)
    return encoder if encoder is not None and modality in encoder.towers else None


def _with_torch(store: IndexStore, folder: Path) -> DualEncoder:
    require("torch")
    from limbeck.encoders.device import placed
    from limbeck.encoders.dual import DualEncoder

    if asked_device() in (None, "cpu"):
        say(f"{store.path}: its encoder has no ONNX form, so the query loads torch; build the index again")
    return placed(DualEncoder.load(folder, bundled=True))


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


def inputs_of(encoder: DualEncoder) -> dict[str, str]:
    """Return the inputs of an encoder, {"text": ..., "image": ...}, as an index records them."""
    return ({"text": "text"} if encoder.text_input == "text" else {}) | {"image": encoder.image_input}


def check_text(text: str) -> None:
    """Check the text of a query.

    Raises:
        LimbeckError: it is longer than `MAX_TEXT` characters, or has half of a surrogate pair.
    """
    if len(text) > MAX_TEXT:
        raise LimbeckError(
            f"query: {len(text)} characters, at most {MAX_TEXT}; give a shorter text", code="E-QUERY-FORM"
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise LimbeckError(
            f"query: character {error.start + 1} is half of a surrogate pair; write the text in UTF-8",
            code="E-QUERY-FORM",
        ) from None


def replace_query_encoder(index: Path | str, model: Path | str | DualEncoder) -> None:
    """Replace the query encoder of an index by one with a new text tower; no item is encoded again.

    Args:
        index: the index directory.
        model: a run, model directory or encoder. Its image side must be that of the index, which
            `freeze: [image]` preserves in training.

    Raises:
        LimbeckError: there is no index, the model is of another space, or its text tower reads label lists.
    """
    require("torch")
    from limbeck.encoders.load import load
    from limbeck.index.encoder import replace_encoder
    from limbeck.search.rows import query_encoder

    name = None
    if isinstance(model, Path | str):
        name, model = str(model), load(model)
    reads = model.towers["text"].backbone.reads
    if reads != "text":
        raise LimbeckError(
            f"{name or 'model'}: its text tower reads {reads}, not texts; use another model",
            code="E-MODEL-INPUT",
        )
    replace_encoder(index, query_encoder(model), model=name)
