"""Dual encoders as two ONNX graphs (`limbeck.encoders.onnx_source`) behind towers of torch."""

from __future__ import annotations

from pathlib import Path

import torch

from limbeck.encoders.networks.onnx import OnnxConfig, OnnxModel
from limbeck.encoders.onnx_source import LOGIT_SCALE, Layout
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart
from limbeck.onnx.foreign import Graph
from limbeck.preprocess.resize import Preprocessing, Resize


class OnnxFormat(Format):
    """A layout of two graphs."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.name = layout.name  # type: ignore[misc]

    def detect(self, path: Path) -> bool:
        """Return whether the folder has one of the graphs."""
        return self.layout.detect(path)

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the image graph."""
        side = self.layout.image(place)
        own = side.preprocess
        resize = own.resize or Resize(own.side, own.side)
        model = _loaded(side.graph, image_size=own.side)
        return ImagePart(model, Preprocessing(resize, own.mean, own.std))

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load the text graph and its tokenizer."""
        side = self.layout.text(place)
        own = side.preprocess
        model = _loaded(side.graph, context=own.length)
        return TextPart(
            model, own.tokenizer, Reading(own.pad, own.length, whole=True, canonical=own.canonical)
        )

    def logit_scale(self, place: Place) -> float | None:
        """Return the cap at which CLIP's trainings end."""
        return LOGIT_SCALE


def _loaded(graph: Graph, *, image_size: int = 0, context: int = 0) -> OnnxModel:
    """Return a network that holds the bytes of a graph and of its files."""
    content, files = graph.file.read_bytes(), [file.read_bytes() for file in graph.files]
    model = OnnxModel(
        OnnxConfig(
            graph.calls.inputs,
            graph.calls.output,
            batch=graph.calls.batch,
            dim=graph.dim,
            graph=len(content),
            files={file.name: len(own) for file, own in zip(graph.files, files, strict=True)},
            image_size=image_size,
            max_position_embeddings=context,
        )
    )
    model.graph = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    if files:
        model.data = torch.frombuffer(bytearray(b"".join(files)), dtype=torch.uint8)
    return model
