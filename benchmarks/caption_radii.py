"""Distance from the root of pictures and of captions by their detail, of one model with cones.

python benchmarks/caption_radii.py runs/student-hmid-net demo/scenes --json docs/results/parts/radii.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import limbeck
from limbeck.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    model, pairs = limbeck.load(options.run), limbeck.Pairs.open(options.data)
    rows = [row for row, split in enumerate(pairs.table.column("split").to_pylist()) if split == "test"]
    captions = [pairs.captions[row] for row in rows]  # most detailed first
    most = max(map(len, captions))
    levels = []
    for level in reversed(range(most)):
        texts = [texts[level] for texts in captions if len(texts) > level]
        words = np.mean([len(text.split()) for text in texts])
        name = f"caption {most - level}, {words:.1f} words"
        levels.append({"name": name, "n": len(texts)} | spread(model.space.radius(model.encode_text(texts))))
    pictures = model.encode_image([pairs.open_image(row) for row in rows])
    levels.append({"name": "picture", "n": len(rows)} | spread(model.space.radius(pictures)))
    write_json(options.json, {"run": options.run.name, "levels": levels})
    for row in levels:
        print(row)


def spread(radius: np.ndarray) -> dict[str, float]:
    return {"radius": float(radius.mean()), "sd": float(radius.std(ddof=1))}


if __name__ == "__main__":
    main()
