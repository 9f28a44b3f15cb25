"""How near is a tower with `source: CLIPDIR` to CLIP's own embeddings after 0 steps?

    python benchmarks/clip_start.py [--out FILE]

A tiny CLIP is made and saved by transformers. The figure is the least cosine between the tower's embeddings and those
that transformers itself computes, over pictures of several shapes and texts, frozen and trained. The recipes and the
comparison are those of tests/training/test_clip_start.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "training"))

from test_clip_start import cosines, recipe

import limbeck
from hub_models import write_clip
from limbeck.environment import environment
from limbeck.files import write_json
from limbeck.training import train
from tiny import write_pairs, write_protocol


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    rng = np.random.default_rng(0)
    shapes = [(16, 16), (20, 33), (40, 17), (61, 90)]
    pictures = [Image.fromarray(rng.integers(0, 256, (*shape, 3), dtype=np.uint8)) for shape in shapes]
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        write_pairs(place, pictures=16)
        write_protocol(place, "retrieval")
        write_clip(place / "clip")
        for steps in (0, 2):
            run = train(recipe(place, steps=steps), out=place / f"run-{steps}", quiet=True)
            found[f"{steps} steps"] = cosines(limbeck.load(run), place, pictures)
    for what, by_modality in found.items():
        print(
            f"{what}: least cosine of pictures {by_modality['image']:.7f}, of texts {by_modality['text']:.7f}"
        )
    if given.out:
        versions, machine = environment()
        write_json(given.out, {"least_cosine": found, "versions": versions, "machine": machine})


if __name__ == "__main__":
    main()
