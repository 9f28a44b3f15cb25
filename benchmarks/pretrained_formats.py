"""Do pretrained models in every format give the embeddings of their own library?

    python benchmarks/pretrained_formats.py [--out FILE]

One tiny model per format is written in the real layout (tests/pretrained_models.py), opened by limbeck, and compared
with `transformers` itself, with the model that was exported (ONNX), or with the published definition computed in
float64 (tests/pretrained/oracles.py): pictures of six shapes, four texts, their own preprocessing and tokenizer. The
figures are the largest difference relative to the longest vector, the least cosine, and whether a saved copy gives the
same numbers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "pretrained"))

import oracles

import limbeck
from limbeck.encoders.pretrained import found
from limbeck.environment import environment
from limbeck.files import write_json
from pretrained_models import TEXTS, write_all, write_hyper3, write_meru, write_transformers_js

LIBRARY, EXPORTED, PUBLISHED = "transformers", "the exported model", "float64, published definition"
Oracle = Callable[[Path, list[Image.Image]], oracles.Both]


@dataclass(frozen=True)
class Row:
    """One model."""

    model: str
    format: str
    space: str
    against: str
    image_difference: float
    text_difference: float
    image_cosine: float
    text_cosine: float
    saved_equal: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    shapes = [(16, 16), (20, 33), (41, 17), (9, 12), (64, 50), (120, 31)]
    pictures = [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    with tempfile.TemporaryDirectory() as scratch:
        rows = measured(Path(scratch), pictures)
    for row in rows:
        print(f"{row.model:28} {max(row.image_difference, row.text_difference):.1e}  against {row.against}")
    if given.out:
        versions, machine = environment()
        write_json(given.out, {"rows": [asdict(r) for r in rows], "versions": versions, "machine": machine})


def measured(place: Path, pictures: list[Image.Image]) -> list[Row]:
    models = write_all(place)
    models["transformers-js-clip"] = write_transformers_js(place / "js-clip", models["clip"], mask=True)
    models["meru-clip-baseline"] = write_meru(place / "meru-clip", hyperbolic=False)
    models["hyper3-clip-own"] = write_hyper3(place / "hyper3-own", hub=False)
    inner = models["sentence-clip"] / "0_CLIPModel"

    def of(source: Path) -> Oracle:
        return lambda folder, own: oracles.transformers(source, own)

    # immich's graphs come with open_clip's preprocessing, so that only squares are comparable with transformers
    cases: list[tuple[str, str, Oracle, list[Image.Image]]] = [
        ("clip", LIBRARY, oracles.transformers, pictures),
        ("sentence-clip", LIBRARY, of(inner), pictures),
        ("siglip", LIBRARY, oracles.transformers, pictures),
        ("open-clip", PUBLISHED, oracles.open_clip, pictures),
        ("open-clip-siglip", PUBLISHED, oracles.open_clip_siglip, pictures),
        ("immich", EXPORTED, of(models["clip"]), pictures[:1]),
        ("transformers-js-clip", EXPORTED, of(models["clip"]), pictures),
        ("transformers-js", EXPORTED, of(models["siglip"]), pictures),
        ("meru", PUBLISHED, oracles.meru, pictures),
        ("meru-clip-baseline", PUBLISHED, oracles.meru, pictures),
        ("hyper3-clip", PUBLISHED, oracles.hyper3, pictures),
        ("hyper3-clip-own", PUBLISHED, oracles.hyper3, pictures),
    ]
    return [row(place, name, models[name], against, oracle, own) for name, against, oracle, own in cases]


def row(
    place: Path, name: str, folder: Path, against: str, oracle: Oracle, pictures: list[Image.Image]
) -> Row:
    encoder = limbeck.load(folder)
    ours = encoder.encode_image(pictures), encoder.encode_text(TEXTS)
    theirs = oracle(folder, pictures)
    encoder.save(place / "saved", bundle=True)
    again = limbeck.load(place / "saved")
    saved = np.array_equal(again.encode_image(pictures), ours[0])
    return Row(
        model=name,
        format=found(str(folder))[0].name,
        space=encoder.space.to_json()["name"],
        against=against,
        image_difference=difference(ours[0], theirs[0]),
        text_difference=difference(ours[1], theirs[1]),
        image_cosine=cosine(ours[0], theirs[0]),
        text_cosine=cosine(ours[1], theirs[1]),
        saved_equal=saved and np.array_equal(again.encode_text(TEXTS), ours[1]),
    )


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of a number, in units of the longest vector."""
    return float(np.abs(ours - theirs).max() / np.linalg.norm(theirs, axis=1).max())


def cosine(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The least cosine of a row with its counterpart."""
    ours = ours.astype(np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float(((ours * theirs).sum(1) / lengths).min())


if __name__ == "__main__":
    main()
