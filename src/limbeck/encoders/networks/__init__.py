"""Networks of pretrained models, by the model type that their saved configuration names."""

from __future__ import annotations

from typing import Any, TypeVar

from limbeck.encoders.networks.onnx import OnnxText, OnnxVision
from limbeck.encoders.networks.transformer import (
    ClipText,
    ClipVision,
    SiglipText,
    SiglipVision,
    TextNetwork,
    VisionNetwork,
)
from limbeck.errors import LimbeckError

_Network = TypeVar("_Network")

VISION: dict[str, VisionNetwork[Any]] = {
    "clip_vision_model": ClipVision(),
    "siglip_vision_model": SiglipVision(),
    "onnx": OnnxVision(),
}
TEXT: dict[str, TextNetwork[Any]] = {
    "clip_text_model": ClipText(),
    "siglip_text_model": SiglipText(),
    "onnx": OnnxText(),
}


def vision_network(kind: str) -> VisionNetwork[Any]:
    """Return the image network of a model type.

    Raises:
        LimbeckError: the type is unknown; a newer version may have saved it.
    """
    return _known(VISION, kind)


def text_network(kind: str) -> TextNetwork[Any]:
    """Return the text network of a model type.

    Raises:
        LimbeckError: the type is unknown; a newer version may have saved it.
    """
    return _known(TEXT, kind)


def _known(networks: dict[str, _Network], kind: str) -> _Network:
    if kind not in networks:
        raise LimbeckError(
            f"network {kind!r} is not known to this version; upgrade limbeck", code="E-FILE-VERSION"
        )
    return networks[kind]
