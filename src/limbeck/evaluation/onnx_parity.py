"""What an ONNX export keeps of a model: cosine, equal bits and recall, compared with torch (ours)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np

from limbeck.codes import sign_codes
from limbeck.data.pairs import Pairs
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.load import load_pretrained
from limbeck.encoders.onnx_export import TOLERANCE, examples, export_onnx
from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import Side
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.files import atomic_dir
from limbeck.onnx import OnnxEncoder
from limbeck.onnx.layouts import ClipLike, Layout
from limbeck.onnx.precision import Precision, convert
from limbeck.pictures import LazyPictures
from limbeck.preprocess.base import Item
from limbeck.typed import Json


@dataclass(frozen=True)
class Items:
    """Pictures (or feature rows) and texts to compare on, with the row that each belongs to."""

    images: Sequence[Item] | np.ndarray
    texts: list[str]
    image_rows: np.ndarray
    text_rows: np.ndarray
    measured: bool

    @classmethod
    def built_in(cls, model: DualEncoder) -> Items:
        """Return a few items that show parity, not recall."""
        images, texts = examples(model, "image"), examples(model, "text")
        return cls(images, texts, np.arange(len(images)), np.arange(len(texts)), False)

    @classmethod
    def of_pairs(cls, model: DualEncoder, pairs: Pairs, rows: np.ndarray) -> Items:
        """Return the pictures and all captions of some rows of a pairs directory.

        Raises:
            LimbeckError: the rows have no captions.
        """
        kind, _, name = model.image_input.partition(":")
        images = (
            LazyPictures([partial(pairs.open_image, row) for row in rows.tolist()])
            if kind == "pixels"
            else pairs.features(name, rows)
        )
        captions = [pairs.captions[row] for row in rows.tolist()]
        texts = list(chain.from_iterable(captions))
        if not texts:
            raise LimbeckError(f"{pairs.path}: has no captions to measure recall by", code="E-DATA-TEXT")
        return cls(images, texts, rows, np.repeat(rows, [len(one) for one in captions]), True)


@dataclass(frozen=True)
class Parity:
    """The comparison of one exported precision with torch.

    Attributes:
        precision: fp32, fp16 or int8.
        bytes: the size of its graphs.
        cosine: the smallest cosine between an embedding of the graph and torch's, by modality.
        bits: the share of equal bits, by modality; None in spaces without codes.
        recall: R@1 and R@10 in both directions; None without pairs.
    """

    precision: str
    bytes: int
    cosine: dict[str, float]
    bits: dict[str, float] | None
    recall: dict[str, float] | None

    def to_json(self) -> dict[str, Json]:
        """Return the figures as JSON."""
        return asdict(self)


def export_and_compare(
    model: DualEncoder,
    folder: Path,
    precisions: Sequence[Precision],
    items: Items,
    layout: Layout | None = None,
) -> list[Parity]:
    """Write a model's graphs in some precisions into a new directory and compare each with torch.

    Args:
        model: the model.
        folder: the new directory.
        precisions: what to write.
        items: what to compare on.
        layout: how other programs read the graphs; then each is compared as limbeck reads it back from
            there. None writes limbeck's own layout.

    Returns:
        The figures of torch itself, then one entry per precision.

    Raises:
        LimbeckError: the directory exists, the layout cannot hold the model, or as `export_onnx`.
    """
    clip_like = None if layout is None else check_layout(model, layout, precisions)
    with atomic_dir(folder) as aside, tempfile.TemporaryDirectory() as work:
        exported = export_onnx(model, aside if layout is None else Path(work), model.space_id)
        reference = _encoded(model, exported, items)
        parities = [_parity("torch", 0, reference, reference, model, items)]
        for precision in precisions:
            graphs = [convert(tower.graph, precision) for tower in exported.towers.values()]
            opened: DualEncoder | OnnxEncoder | None
            if layout is None or clip_like is None:
                opened = OnnxEncoder.open(aside, precision)
            else:
                opened, graphs = _laid_out(model, Path(work), aside, precision, layout, clip_like)
            assert opened is not None
            size = sum(graph.stat().st_size for graph in graphs)
            encoded = _encoded(opened, exported, items)
            parities.append(_parity(precision, size, encoded, reference, model, items))
        if layout is None and "fp32" not in precisions:
            for tower in exported.towers.values():
                tower.graph.unlink()
    return parities


def check_layout(model: DualEncoder, layout: Layout, precisions: Sequence[Precision]) -> ClipLike:
    """Return the files that a layout writes beside the graphs of a model.

    Raises:
        LimbeckError: the layout cannot hold the model or the precisions.
    """
    layout.check_precisions(precisions)
    preprocessors = {modality: tower.backbone.preprocessor for modality, tower in model.towers.items()}
    return ClipLike.of(preprocessors, model.space, model.lift.dim, layout.name)


def _laid_out(
    model: DualEncoder, export: Path, folder: Path, precision: Precision, layout: Layout, clip_like: ClipLike
) -> tuple[DualEncoder, list[Path]]:
    """Write one precision of an export in a layout; return what its reader makes of it, and its graphs."""
    exported = OnnxEncoder.open(export, precision)
    assert exported is not None
    place = export / layout.name / precision
    written = layout.write(exported, clip_like, place)
    opened = load_pretrained(str(place))
    if precision == "fp32":
        _check_read_back(model, opened, clip_like)
    for modality, graph in written.items():
        target = place / layout.path(modality, precision)
        written[modality] = folder / layout.path(modality, precision)
        graph.rename(target)
    shutil.copytree(place, folder, dirs_exist_ok=True)
    return opened, list(written.values())


def _check_read_back(model: DualEncoder, opened: DualEncoder, clip_like: ClipLike) -> None:
    """Compare a layout that was read back with torch, on squares, which no preprocessing resizes."""
    squares = [image.resize((clip_like.image.side,) * 2) for image in examples(model, "image")]
    for modality, items in (("text", examples(model, "text")), ("image", squares)):
        wanted, found = (_unit(one.encode(modality, items, "embeddings")[0]) for one in (model, opened))
        error = float(np.abs(wanted - found).max())
        if not error <= TOLERANCE:
            raise LimbeckError(
                f"export: the {modality} graph, as it is read back, differs from torch by {error:.1g}; "
                f"at most {TOLERANCE:g} is accepted; export this model with another version of torch",
                code="E-EXPORT-DIFFERS",
            )


def _unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))


_Encoded = dict[str, tuple[np.ndarray, np.ndarray]]


def _encoded(encoder: DualEncoder | OnnxEncoder, exported: OnnxEncoder, items: Items) -> _Encoded:
    """Return embeddings and points of the model's space by modality."""
    inputs = {"image": items.images, "text": items.texts}
    encoded = {}
    for modality in exported.towers:
        embeddings, points = encoder.encode(modality, inputs[modality], "embeddings", "points")
        if exported.space.storage == "codes" and points.dtype != np.uint8:  # read back as unit vectors
            points = sign_codes(embeddings)
        encoded[modality] = (embeddings, points)
    return encoded


def _parity(
    precision: str, size: int, encoded: _Encoded, reference: _Encoded, model: DualEncoder, items: Items
) -> Parity:
    cosine, bits = {}, {}
    for modality, (embeddings, points) in encoded.items():
        wanted, codes = reference[modality]
        norms = np.linalg.norm(embeddings, axis=1) * np.linalg.norm(wanted, axis=1)
        cosine[modality] = float(((embeddings * wanted).sum(1) / np.maximum(norms, 1e-12)).min())
        if points.dtype == np.uint8:
            bits[modality] = 1 - float(np.unpackbits(np.bitwise_xor(points, codes)).mean())
    recall = None
    if items.measured and set(encoded) == {"image", "text"}:
        scores = score_retrieval(
            model.space,
            Side(encoded["image"][1], items.image_rows),
            Side(encoded["text"][1], items.text_rows),
            (1, 10),
            median_rank=False,
        )
        recall = {
            f"{way} {name}": value for way, own in scores.metrics.items() for name, value in own.items()
        }
    return Parity(precision, size, cosine, bits or None, recall)
