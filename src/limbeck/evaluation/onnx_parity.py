"""What an ONNX export keeps of a model: cosine, equal bits and recall, beside torch (ours)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.pairs import Pairs
from limbeck.encoders.dual import DualEncoder
from limbeck.encoders.onnx_export import examples, export_onnx
from limbeck.errors import LimbeckError
from limbeck.evaluation.encode import Side
from limbeck.evaluation.retrieval import score_retrieval
from limbeck.files import atomic_dir
from limbeck.onnx import OnnxEncoder
from limbeck.onnx.precision import Precision, convert
from limbeck.pictures import LazyPictures


@dataclass(frozen=True)
class Items:
    """Pictures (or feature rows) and texts to compare on, with the row that each belongs to."""

    images: Any
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
        images: Any = (
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
    """One exported precision beside torch.

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

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)


def export_and_compare(
    model: DualEncoder, folder: Path, precisions: Sequence[Precision], items: Items
) -> list[Parity]:
    """Write a model's graphs in some precisions into a new directory and compare each with torch.

    Returns:
        The figures of torch itself, then one entry per precision.

    Raises:
        LimbeckError: the directory exists, or as `export_onnx`.
    """
    with atomic_dir(folder) as aside:
        exported = export_onnx(model, aside, model.space_id)
        reference = _encoded(model, exported, items)
        parities = [_parity("torch", 0, reference, reference, model, items)]
        for precision in precisions:
            graphs = [convert(tower.graph, precision) for tower in exported.towers.values()]
            opened = OnnxEncoder.open(aside, precision)
            assert opened is not None
            size = sum(graph.stat().st_size for graph in graphs)
            encoded = _encoded(opened, exported, items)
            parities.append(_parity(precision, size, encoded, reference, model, items))
        if "fp32" not in precisions:
            for tower in exported.towers.values():
                tower.graph.unlink()
    return parities


_Encoded = dict[str, tuple[np.ndarray, np.ndarray]]


def _encoded(encoder: DualEncoder | OnnxEncoder, exported: OnnxEncoder, items: Items) -> _Encoded:
    """Return embeddings and points by modality."""
    inputs = {"image": items.images, "text": items.texts}
    encoded = {
        modality: encoder.encode(modality, inputs[modality], "embeddings", "points")
        for modality in exported.towers
    }
    return {modality: (arrays[0], arrays[1]) for modality, arrays in encoded.items()}


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
