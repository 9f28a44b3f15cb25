"""Loads the query encoder of an index, without torch where it has an ONNX form, and replaces it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.encoders.chosen import asked_device
from limbeck.errors import LimbeckError
from limbeck.index.manifest import EncoderEntry
from limbeck.index.store import IndexStore
from limbeck.notices import say
from limbeck.onnx import OnnxEncoder
from limbeck.optional_deps import require

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder


def encoder_entry(store: IndexStore, modality: str) -> tuple[Path, EncoderEntry]:
    """Return directory and entry of the encoder of an index for "text" or "image".

    Raises:
        LimbeckError: there is none.
    """
    found = store.encoder_for(modality)
    if found is None:
        raise LimbeckError(
            f"{store.path}: holds no query encoder for {modality}; "
            "build it with --model RUN, or search by --like ID or --codes FILE",
            code="E-INDEX-MODEL",
        )
    return found


def load_encoder(store: IndexStore, folder: Path, modality: str) -> DualEncoder | OnnxEncoder:
    """Load an encoder of an index.

    Its space is that of the index: the manifest vouches for every byte of the model that was stored.
    """
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


def newer(opened: IndexStore) -> IndexStore | None:
    """Open the current generation of the index, if it is newer; a writer may have removed old encoders.

    Every encoder of an index encodes into the space of its points, so the newer encoder fits the old
    points as well.

    Returns:
        The newer index; None if the opened generation is the current one.

    Raises:
        LimbeckError: the index was rebuilt with a model of another space.
    """
    current = IndexStore.open(opened.path)
    if current.manifest.generation == opened.manifest.generation:
        return None
    if current.manifest.space_id != opened.manifest.space_id:
        raise LimbeckError(
            f"{opened.path}: was rebuilt with another model since it was opened, and its old encoder "
            "was removed; open it again",
            code="E-INDEX-OTHER-MODEL",
        )
    return current


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
