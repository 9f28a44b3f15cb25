"""Dual encoders as two ONNX graphs, in the layouts of immich and of transformers.js."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from limbeck.encoders.networks.onnx import OnnxConfig, OnnxModel, open_session
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart
from limbeck.encoders.sources import incomplete
from limbeck.encoders.tokenizer import padding_id, tokenizer_of
from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.preprocess.resize import (
    CLIP_MEAN,
    CLIP_STD,
    HALF,
    open_clip_preprocessing,
    read_preprocessing,
)

_OUTPUTS = ("image_embeds", "text_embeds", "image_embedding", "text_embedding", "embedding", "pooler_output")
_TRAINED = 100.0  # the graphs do not hold the logit scale; CLIP's trainings end at this cap
_NOT_WEIGHTS = {".json", ".txt", ".model", ".md", ".onnx", ".rknn", ".armnn"}


class ImmichOnnx(Format):
    """``visual/model.onnx`` with ``preprocess_cfg.json``, ``textual/model.onnx`` with ``tokenizer.json``, and
    open_clip's configuration of the model as ``config.json``."""

    name = "ONNX as immich keeps it (visual/, textual/)"

    def detect(self, path: Path) -> bool:
        """Look for one of the graphs."""
        return any((path / side / "model.onnx").is_file() for side in ("visual", "textual"))

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the image graph."""
        file = _needed(place, "visual/preprocess_cfg.json")
        told = dict(read_json(file))
        size = told.get("size", 224)
        side = int(size[0] if isinstance(size, list) else size)
        model = _loaded(place, "visual/model.onnx", image_size=side)
        return ImagePart(model, open_clip_preprocessing(told, side, file))

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load the text graph and its tokenizer."""
        told = dict(read_json(_needed(place, "config.json")).get("text_cfg") or {})
        context = int(told.get("context_length", 77))
        model = _loaded(place, "textual/model.onnx", context=context)
        _needed(place, "textual/tokenizer.json")
        folder = place.path / "textual"
        tokenizer = tokenizer_of(folder, place.name)
        clean = (told.get("tokenizer_kwargs") or {}).get("clean") == "canonicalize"
        reading = Reading(padding_id(folder, tokenizer), context, whole=True, canonical=clean)
        return TextPart(model, tokenizer, reading)

    def logit_scale(self, place: Place) -> float | None:
        """Return the cap at which CLIP's trainings end; the files do not hold it."""
        return _TRAINED


class TransformersJs(Format):
    """``onnx/vision_model.onnx`` and ``onnx/text_model.onnx`` beside the other files of `transformers`."""

    name = "ONNX as transformers.js keeps it (onnx/vision_model.onnx, onnx/text_model.onnx)"

    def detect(self, path: Path) -> bool:
        """Look for one of the graphs, and no weights of `transformers`, which are better."""
        graphs = any((path / "onnx" / f"{side}_model.onnx").is_file() for side in ("vision", "text"))
        return graphs and not list(path.glob("*.safetensors"))

    def image(self, place: Place, projection: bool) -> ImagePart:
        """Load the image graph."""
        told = _needed_config(place)
        square = told.get("model_type") != "clip"
        side = int((told.get("vision_config") or {}).get("image_size", 224))
        mean, std = (HALF, HALF) if square else (CLIP_MEAN, CLIP_STD)
        preprocessing = read_preprocessing(place.path, side, mean=mean, std=std, short=not square)
        return ImagePart(_loaded(place, "onnx/vision_model.onnx", image_size=side), preprocessing)

    def text(self, place: Place, projection: bool) -> TextPart:
        """Load the text graph and its tokenizer."""
        told = _needed_config(place)
        square = told.get("model_type") != "clip"
        default = 64 if square else 77
        context = int((told.get("text_config") or {}).get("max_position_embeddings", default))
        _needed(place, "tokenizer.json")
        model = _loaded(place, "onnx/text_model.onnx", context=context)
        tokenizer = tokenizer_of(place.path, place.name)
        return TextPart(model, tokenizer, Reading(padding_id(place.path, tokenizer), context, whole=True))

    def logit_scale(self, place: Place) -> float | None:
        """Return the cap at which CLIP's trainings end; the files do not hold it."""
        return _TRAINED


def _needed(place: Place, name: str) -> Path:
    file = place.path / name
    if not file.is_file():
        raise incomplete(place.name, name)
    return file


def _needed_config(place: Place) -> dict[str, Any]:
    told = dict(read_json(_needed(place, "config.json")))
    if told.get("model_type") not in ("clip", "siglip"):
        raise place.refuse(f"config.json is of a {told.get('model_type')} model; clip and siglip are read")
    return told


def _loaded(place: Place, name: str, *, image_size: int = 0, context: int = 0) -> OnnxModel:
    """Load a graph with the files of weights that it names, and check what goes in and out."""
    file = _needed(place, name)
    graph = file.read_bytes()
    others = [other for other in sorted(file.parent.iterdir()) if other.suffix not in _NOT_WEIGHTS]
    named = [other for other in others if other.is_file() and other.name.encode() in graph]
    files = {other.name: other.read_bytes() for other in named}
    try:
        session = open_session(graph, files)
    except LimbeckError as error:
        raise place.refuse(f"{name}: {error}", "E-MODEL-DAMAGED") from None
    inputs = _inputs(place, name, session.get_inputs(), image_size)
    output = _output(place, name, session.get_outputs())
    first = session.get_inputs()[0].shape[0]
    config = OnnxConfig(
        inputs=inputs,
        output=output.name,
        dim=_width(session, output, inputs, image_size, context),
        batch=first if isinstance(first, int) else None,
        graph=len(graph),
        files={other: len(content) for other, content in files.items()},
        image_size=image_size,
        max_position_embeddings=context,
    )
    model = OnnxModel(config)
    model.graph = torch.frombuffer(bytearray(graph), dtype=torch.uint8)
    if files:
        model.data = torch.frombuffer(bytearray(b"".join(files.values())), dtype=torch.uint8)
    return model


def _inputs(place: Place, name: str, given: list[Any], image_size: int) -> list[str]:
    """Return the names of the inputs in the order pixels, or ids and mask; other inputs are refused."""
    pixels = [one for one in given if len(one.shape) == 4 and "float" in one.type]
    tokens = [one for one in given if len(one.shape) == 2 and "int" in one.type]
    masks = [one for one in tokens if one.name == "attention_mask"]
    ids = [one for one in tokens if one.name != "attention_mask"]
    wanted = pixels if image_size else [*ids, *masks]
    if len(wanted) != len(given) or (pixels if image_size else ids)[1:] or not wanted:
        seen = ", ".join(f"{one.name} {one.type} {one.shape}" for one in given)
        reads = "float pixels (B, 3, S, S)" if image_size else "integer ids (B, L), perhaps attention_mask"
        raise place.refuse(f"{name}: its inputs are {seen}; limbeck gives {reads}")
    sides = {side for side in wanted[0].shape[2:] if isinstance(side, int)}
    if image_size and sides - {image_size}:
        raise place.refuse(f"{name}: reads squares of {sides.pop()}, the preprocessing makes {image_size}")
    return [one.name for one in wanted]


def _output(place: Place, name: str, given: list[Any]) -> Any:
    """Return the embedding: an output of a known name, else the only one of two axes."""
    flat = [one for one in given if len(one.shape) == 2]
    known = [one for wanted in _OUTPUTS for one in flat if one.name == wanted]
    if not known and len(flat) != 1:
        seen = ", ".join(f"{one.name} {one.shape}" for one in given)
        raise place.refuse(f"{name}: its outputs are {seen}; none of them is known as the embedding")
    return (known or flat)[0]


def _width(session: Any, output: Any, inputs: list[str], image_size: int, context: int) -> int:
    """Return the width of the embedding, by a pass over zeros where the graph does not say it."""
    if isinstance(output.shape[1], int):
        return int(output.shape[1])
    kinds = {one.name: np.int32 if "int32" in one.type else np.int64 for one in session.get_inputs()}
    zeros = (
        {inputs[0]: np.zeros((1, 3, image_size, image_size), np.float32)}
        if image_size
        else {name: np.ones((1, context), kinds[name]) for name in inputs}
    )
    return int(session.run([output.name], zeros)[0].shape[1])
