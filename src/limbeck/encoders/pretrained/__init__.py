"""Pretrained dual encoders in the formats that people have, one file per format, detected here."""

from __future__ import annotations

from limbeck.encoders.onnx_source import LAYOUTS
from limbeck.encoders.pretrained.base import Format, ImagePart, Place, Reading, TextPart
from limbeck.encoders.pretrained.clip import TransformersClip
from limbeck.encoders.pretrained.hyper3 import Hyper3Clip
from limbeck.encoders.pretrained.meru import Meru
from limbeck.encoders.pretrained.onnx import OnnxFormat
from limbeck.encoders.pretrained.open_clip import OpenClip
from limbeck.encoders.pretrained.siglip import TransformersSiglip
from limbeck.encoders.sources import check_code, incomplete, local_folder, shown
from limbeck.files import read_json

FORMATS: tuple[Format, ...] = (
    *(OnnxFormat(layout) for layout in LAYOUTS),  # before CLIP: the same config.json, without its weights
    TransformersClip(),
    TransformersSiglip(),
    OpenClip(),
    Hyper3Clip(),
    Meru(),
)


def found(source: str, *, network: bool = True) -> tuple[Format, Place]:
    """Return the format and place of a source: a directory, a checkpoint file, a package, or a hub id.

    Args:
        source: the source as the user names it.
        network: False reads a hub id from the local cache only.

    Raises:
        LimbeckError: there is no such source, it has code of its own, or its format is unknown.
    """
    place = Place(source, local_folder(source, network=network))
    if place.path.is_dir():
        check_code(place.path, source)
    for known in FORMATS:
        if known.detect(place.path):
            return known, place
    if manifests := list(place.path.glob("manifest-*.json")):
        built = (
            read_json(max(manifests, key=lambda file: (len(file.name), file.name))).get("model")
            or "the run or model directory"
        )
        raise place.refuse(
            f"is an index, not a model; give what it was built with: {built}", "E-MODEL-MISSING"
        )
    names = ", ".join(known.name for known in FORMATS)
    raise place.refuse(
        f"{_seen(place)}; use a run, a model directory, or a model of: {names}", "E-MODEL-MISSING"
    )


def _seen(place: Place) -> str:
    """Say what a place of no known format holds."""
    if (file := place.path / "modules.json").is_file():
        kinds = ", ".join(str(one["type"]).rsplit(".", 1)[-1] for one in read_json(file))
        return (
            f"is a sentence encoder for texts only ({kinds}); "
            "use it as a text tower: {kind: sentence, source: …}"
        )
    if (file := place.path / "config.json").is_file():
        told = read_json(file)
        kind = told.get("model_type") if isinstance(told, dict) else None
        return f"config.json is of a {kind or 'nameless'} model, which is no dual encoder that limbeck reads"
    if weights := sorted(place.path.glob("*.safetensors")):
        raise incomplete(place.name, f"config.json or model.json beside {weights[0].name}")
    return f"contains no model (found {shown(place.path)})"


def image_part(source: str, *, projection: bool, network: bool = True) -> ImagePart:
    """Load the image side of a source, with its projection if wanted.

    Raises:
        LimbeckError: as in `found`; the projection cannot be left out; the model is damaged or incomplete.
    """
    known, place = _wanted(source, projection, network)
    return known.image(place, projection)


def text_part(source: str, *, projection: bool, network: bool = True) -> TextPart:
    """Load the text side of a source, with its projection if wanted.

    Raises:
        LimbeckError: as in `image_part`.
    """
    known, place = _wanted(source, projection, network)
    return known.text(place, projection)


def _wanted(source: str, projection: bool, network: bool) -> tuple[Format, Place]:
    known, place = found(source, network=network)
    if known.projects and not projection:
        raise place.refuse(f"the towers of {known.name} end in the embedding; remove projection: false")
    return known, place


__all__ = [
    "FORMATS",
    "Format",
    "ImagePart",
    "Place",
    "Reading",
    "TextPart",
    "found",
    "image_part",
    "text_part",
]
