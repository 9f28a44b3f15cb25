"""The model card of a published model: a README.md with a YAML header, as the hub reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import yaml

from limbeck.encoders.ancestry import Ancestry, Figures
from limbeck.preprocess.pixels import PixelPreprocessor
from limbeck.preprocess.text import BagPreprocessor, TokenPreprocessor
from limbeck.typed import Json

if TYPE_CHECKING:
    from limbeck.encoders.dual import DualEncoder

_UNKNOWN = "not recorded"
_SHOWN = ("map", "r@1", "r@5", "r@10", "top1", "mean_per_class")
_DIRECTIONS = {"i2t": "picture to text", "t2i": "text to picture", "zero_shot": "zero-shot classes"}


def card(model: DualEncoder, made: Ancestry, place: str, license: str | None, *, onnx: bool) -> str:
    """Return the text of the card.

    Args:
        model: the model.
        made: where it comes from.
        place: how the model is named in examples: a hub id or a directory.
        license: the licence of the model's weights; None where nobody chose one.
        onnx: whether the directory holds ONNX graphs.
    """
    parts = [
        f"---\n{yaml.safe_dump(_header(model, made, license, onnx), sort_keys=False)}---\n",
        f"# {made.name}\n",
        *_what(model, made),
        "## Data and training\n",
        *_training(made),
        "## Figures\n",
        *_figures(made),
        "## Weaknesses\n",
        "".join(f"* {line}\n" for line in _weaknesses(model, made)),
        "## Earlier models and licences\n",
        *_licences(made, license),
        "## Use\n",
        _use(place, onnx, text="text" in model.inputs),
    ]
    return "\n".join(parts)


def _header(model: DualEncoder, made: Ancestry, license: str | None, onnx: bool) -> dict[str, Json]:
    told: dict[str, Json] = {"library_name": "limbeck", "license": license or "other"}
    if license is None:
        told["license_name"] = "not-recorded"
    if bases := list(dict.fromkeys(source.name for source in made.sources if source.on_hub)):
        told["base_model"] = bases
    if made.data is not None:
        told["datasets"] = [made.data]
    codes = ["cross-modal-hashing"] if model.space.storage == "codes" else []
    told["tags"] = ["image-text-retrieval", *codes, *made.methods, *(["onnx"] if onnx else [])]
    return told


def _what(model: DualEncoder, made: Ancestry) -> Iterator[str]:
    space = model.space.to_json()
    form = f"{space['bits']}-bit codes" if model.space.storage == "codes" else f"{model.lift.dim} numbers"
    count = sum(parameter.numel() for parameter in model.parameters())
    reads = " and ".join(model.inputs.values())
    yield (
        f"A dual encoder of limbeck for image-text search. It maps {reads} "
        f"to {form} in the space `{space['name']}` and has {count:,} parameters.\n"
    )
    if made.note:
        yield f"The recipe says: {made.note}\n"


def _training(made: Ancestry) -> Iterator[str]:
    if made.run is None:
        yield "The model was not opened from a run, so that its training is not recorded here.\n"
        return
    forms = ", ".join(f"{name} {score:.4f}" for name, score in made.chosen.items())
    rows = {
        "data": made.data or _UNKNOWN,
        "licence of the data": made.data_license or _UNKNOWN,
        "training pairs": _UNKNOWN if made.train_pairs is None else f"{made.train_pairs:,}",
        "protocol": made.protocol or _UNKNOWN,
        "methods": ", ".join(made.methods) or _UNKNOWN,
        **({"forms and their validation": forms} if forms else {}),
        "seed": made.seed if made.seed is not None else _UNKNOWN,
        "time": _UNKNOWN if made.seconds is None else f"{made.seconds:,.0f} s",
        "versions": ", ".join(f"{name} {version}" for name, version in made.versions.items()) or _UNKNOWN,
    }
    yield "| | |\n|:--|:--|\n" + "".join(f"| {name} | {value} |\n" for name, value in rows.items())


def _figures(made: Ancestry) -> Iterator[str]:
    if not made.figures:
        yield "No result lies beside the model: nothing was measured, or it was not kept.\n"
    for one in made.figures:
        counts = ", ".join(f"{count:,} as {name.replace('_', ' ')}" for name, count in one.counts.items())
        yield f"Protocol `{one.protocol}` ({counts or 'items not recorded'}), seed {one.seed}; made by:\n"
        yield f"    limbeck evaluate {made.run} --data {one.data or 'PAIRS'} --protocol {one.protocol}\n"
        yield _table(one)


def _table(figures: Figures) -> str:
    shown = [(way, name) for way in _DIRECTIONS for name in _SHOWN if name in figures.metrics.get(way, {})]
    rows = [f"| {_DIRECTIONS[way]} | {name} | {figures.metrics[way][name]:.4f} |\n" for way, name in shown]
    return "| direction | metric | value |\n|:--|:--|--:|\n" + "".join(rows)


def _weaknesses(model: DualEncoder, made: Ancestry) -> Iterator[str]:
    if made.train_pairs is not None:
        yield (
            f"It was trained on {made.train_pairs:,} pairs of {made.data}. Things, words, languages and "
            "styles that these lack are unknown to it."
        )
    if not made.figures:
        yield "Its quality was not measured under a protocol."
    elif made.seed is not None:
        yield "The figures are of one training run, so that they have no spread over seeds."
    text, image = (model.towers[modality].backbone.preprocessor for modality in ("text", "image"))
    if isinstance(text, TokenPreprocessor):
        yield f"Of a text it reads {text.length} tokens; the rest is cut off."
    elif isinstance(text, BagPreprocessor):
        yield f"It counts the {len(text.vocabulary):,} words that it knows and ignores their order."
    if isinstance(image, PixelPreprocessor):
        yield f"It sees pictures at {image.side} x {image.side} pixels; smaller details are lost."
    if model.space.storage == "codes":
        bits = 8 * model.space.width
        yield f"Codes of {bits} bits have {bits + 1} distances, so that many items tie."
    yield "Nobody tested it for social bias, or for use where errors do harm."


def _licences(made: Ancestry, license: str | None) -> Iterator[str]:
    yield f"Licence of this model: {license or _UNKNOWN}.\n"
    if not made.sources:
        yield "Its files name no earlier model.\n"
        return
    roles = {"teacher": "taught it", "start": "is where its weights start", "weights": "is part of it"}
    rows = [f"| {one.name} | {roles[one.role]} | {one.license or _UNKNOWN} |\n" for one in made.sources]
    yield "| earlier model | role | licence |\n|:--|:--|:--|\n" + "".join(rows)
    yield "Whoever passes this model on also keeps to the licences of the earlier models and of the data.\n"


def _use(place: str, onnx: bool, *, text: bool) -> str:
    words = 'limbeck search photos.index "a dog in the snow"\n' if text else ""
    encode = 'model.encode_text(["a dog in the snow"])' if text else "model.encode_image(pictures)"
    graphs = """
Its graphs need no torch (a directory; `hf download` fetches one):

```python
from pathlib import Path

from limbeck.onnx import OnnxEncoder

encoder = OnnxEncoder.open(Path("DIRECTORY"))
points = encoder.encode_text(["a dog in the snow"])
```
"""
    return f"""Index pictures and search them:

```console
limbeck index build PICTURES --model {place} --out photos.index
{words}```

In Python:

```python
import limbeck

model = limbeck.load("{place}")
points = {encode}
```
{graphs if onnx and text else ""}
`sha256sum --check SHA256SUMS` compares the files with those that were written.
"""
