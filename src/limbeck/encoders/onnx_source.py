"""Dual encoders as two ONNX graphs, in the layouts of immich and of transformers.js, without torch."""

from __future__ import annotations

import hashlib
import shutil
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from limbeck.encoders.config import ClipImageConfig, TowerConfig
from limbeck.encoders.identity import identity
from limbeck.encoders.lift_config import SphereConfig
from limbeck.encoders.sources import Place, check_code, incomplete, is_hub_id, local_folder
from limbeck.encoders.tokenizer import padding_id, tokenizer_of
from limbeck.files import read_json, sha256_json
from limbeck.onnx.encoder import FOLDER, OnnxEncoder, OnnxTower
from limbeck.onnx.foreign import Graph
from limbeck.plugins import with_digests
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.resize import CLIP_MEAN, CLIP_STD, HALF, open_clip_preprocessing, read_preprocessing
from limbeck.preprocess.text import TokenPreprocessor
from limbeck.spaces import Kept, Sphere

LOGIT_SCALE = 100.0
"""The graphs do not hold the logit scale; CLIP's trainings end at this cap."""


@dataclass(frozen=True)
class ImageSide:
    """The graph of pictures and their preprocessing."""

    graph: Graph
    preprocess: PixelPreprocessor


@dataclass(frozen=True)
class TextSide:
    """The graph of texts and their preprocessing."""

    graph: Graph
    preprocess: TokenPreprocessor


class Layout(ABC):
    """Where a layout keeps graphs and settings.

    Attributes:
        name: what the layout is called in messages and docs.
    """

    name: ClassVar[str]

    @abstractmethod
    def detect(self, path: Path) -> bool:
        """Return whether one of the graphs is there."""

    @abstractmethod
    def image(self, place: Place) -> ImageSide:
        """Read the image side."""

    @abstractmethod
    def text(self, place: Place) -> TextSide:
        """Read the text side."""


class Immich(Layout):
    """``visual/model.onnx`` with ``preprocess_cfg.json``, ``textual/model.onnx`` with ``tokenizer.json``, and
    open_clip's configuration of the model as ``config.json``."""

    name = "ONNX as immich keeps it (visual/, textual/)"

    def detect(self, path: Path) -> bool:
        """Return whether one of the graphs is there."""
        return any((path / side / "model.onnx").is_file() for side in ("visual", "textual"))

    def image(self, place: Place) -> ImageSide:
        """Read the image side."""
        file = _needed(place, "visual/preprocess_cfg.json")
        told = dict(read_json(file))
        size = told.get("size", 224)
        side = int(size[0] if isinstance(size, list) else size)
        read = open_clip_preprocessing(told, side, file)
        graph = _graph(place, "visual/model.onnx", image_size=side)
        return ImageSide(graph, PixelPreprocessor(side, read.mean, read.std, read.resize))

    def text(self, place: Place) -> TextSide:
        """Read the text side."""
        told = dict(read_json(_needed(place, "config.json")).get("text_cfg") or {})
        context = int(told.get("context_length", 77))
        graph = _graph(place, "textual/model.onnx", context=context)
        folder = _needed(place, "textual/tokenizer.json").parent
        clean = (told.get("tokenizer_kwargs") or {}).get("clean") == "canonicalize"
        return TextSide(graph, _tokens(folder, place, context, canonical=clean))


class TransformersJs(Layout):
    """``onnx/vision_model.onnx`` and ``onnx/text_model.onnx`` beside the other files of `transformers`."""

    name = "ONNX as transformers.js keeps it (onnx/vision_model.onnx, onnx/text_model.onnx)"

    def detect(self, path: Path) -> bool:
        """Return whether there is one of the graphs and no weights of `transformers`, which are better."""
        graphs = any((path / "onnx" / f"{side}_model.onnx").is_file() for side in ("vision", "text"))
        return graphs and not list(path.glob("*.safetensors"))

    def image(self, place: Place) -> ImageSide:
        """Read the image side."""
        told = _needed_config(place)
        square = told.get("model_type") != "clip"
        side = int((told.get("vision_config") or {}).get("image_size", 224))
        mean, std = (HALF, HALF) if square else (CLIP_MEAN, CLIP_STD)
        read = read_preprocessing(place.path, side, mean=mean, std=std, short=not square)
        graph = _graph(place, "onnx/vision_model.onnx", image_size=side)
        return ImageSide(graph, PixelPreprocessor(side, read.mean, read.std, read.resize))

    def text(self, place: Place) -> TextSide:
        """Read the text side."""
        told = _needed_config(place)
        default = 77 if told.get("model_type") == "clip" else 64
        context = int((told.get("text_config") or {}).get("max_position_embeddings", default))
        _needed(place, "tokenizer.json")
        graph = _graph(place, "onnx/text_model.onnx", context=context)
        return TextSide(graph, _tokens(place.path, place, context))


LAYOUTS = (TransformersJs(), Immich())


def open_onnx_source(source: str) -> OnnxEncoder | None:
    """Open a directory or hub id in one of the layouts; return None if it is in none of them.

    Its `OnnxEncoder.space_id` is that of the same model in torch.

    Raises:
        LimbeckError: the model has its own code, is incomplete or damaged, or the hub cannot be reached.
    """
    if not (Path(source).is_dir() or is_hub_id(source)):
        return None
    place = Place(source, local_folder(source))
    layout = next((one for one in LAYOUTS if one.detect(place.path)), None)
    if layout is None:
        return None
    check_code(place.path, source)
    image, text = layout.image(place), layout.text(place)
    if image.graph.dim != text.graph.dim:
        raise place.refuse(f"its graphs give {image.graph.dim} and {text.graph.dim} numbers; use one model")
    space = Sphere(image.graph.dim)
    towers: dict[str, OnnxTower] = {"image": _Tower(image, "pixels"), "text": _Tower(text, "text")}
    return _Encoder(
        place.path, space, _space_id(source, image.graph), Kept("model", space, image.graph.dim), towers
    )


class _Tower(OnnxTower):
    """A graph where its source keeps it."""

    def __init__(self, side: ImageSide | TextSide, reads: str) -> None:
        super().__init__(side.graph.file.parent, reads, {}, calls=side.graph.calls)
        self._side = side

    @property
    def graph(self) -> Path:
        return self._side.graph.file

    @cached_property
    def preprocess(self) -> PixelPreprocessor | TokenPreprocessor:
        return self._side.preprocess

    def copied(self, folder: Path) -> OnnxTower:
        """Copy graph, weights and preprocessor into a new folder, as limbeck keeps them."""
        folder.mkdir(parents=True)
        tower = OnnxTower(folder, self.reads, self.preprocess.save(folder), calls=self.calls)
        shutil.copyfile(self.graph, tower.graph)
        for file in self._side.graph.files:
            shutil.copyfile(file, folder / file.name)
        return tower


class _Encoder(OnnxEncoder):
    def bundle(self, folder: Path) -> None:
        """Write the graphs, with their names for inputs and output, into an empty directory."""
        towers = {
            modality: tower.copied(folder / FOLDER / modality)
            for modality, tower in self.towers.items()
            if isinstance(tower, _Tower)
        }
        OnnxEncoder(folder, self.space, self.space_id, self.kept, towers).write_settings(folder / FOLDER)


def _space_id(source: str, graph: Graph) -> str:
    """Return the fingerprint that `DualEncoder.space_id` gives to these graphs and heads of the identity."""
    weights = hashlib.sha256()
    for name, content in (
        ("data", b"".join(file.read_bytes() for file in graph.files)),
        ("graph", graph.file.read_bytes()),
    ):
        weights.update(f"backbone.model.{name}({len(content)},)torch.uint8".encode() + content)
    lift = SphereConfig(dim=graph.dim, logit_scale=LOGIT_SCALE, max_logit_scale=LOGIT_SCALE)
    tower = TowerConfig(backbone=ClipImageConfig(source=source, projection=True))
    told = [
        Sphere(graph.dim).to_json(),
        identity(with_digests(lift.model_dump(mode="json"))),
        identity(with_digests(tower.model_dump(mode="json", exclude={"lora"}))),
    ]
    digest = hashlib.sha256(sha256_json(told).encode())
    digest.update(weights.hexdigest().encode())
    digest.update(b"heads.image.weight" + np.eye(graph.dim, dtype=np.float32).tobytes())
    return digest.hexdigest()


def _tokens(folder: Path, place: Place, context: int, *, canonical: bool = False) -> TokenPreprocessor:
    tokenizer = tokenizer_of(folder, place.name)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pad = padding_id(folder, tokenizer)
    return TokenPreprocessor(tokenizer, pad, context, known="token", canonical=canonical, whole=True)


def _graph(place: Place, name: str, *, image_size: int = 0, context: int = 0) -> Graph:
    file = _needed(place, name)
    return Graph.read(file, f"{place.name}: {name}", image_size=image_size, context=context)


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
