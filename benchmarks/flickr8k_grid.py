"""CLIP, MERU and the polar lift on Flickr8k; then a pixel student with and without a teacher.

    limbeck data import flickr8k flickr8k_128.zip runs/flickr8k --features mobilenetv2=...
    python benchmarks/flickr8k_grid.py features --data runs/flickr8k --out runs/f8k
    python benchmarks/flickr8k_grid.py students --data runs/flickr8k --out runs/f8k

Runs that are finished are kept, so it can be stopped and started at will. One result.json a run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from limbeck.evaluation import evaluate
from limbeck.training import train

FEATURES = ["clip", "meru", "polar-minilm", "meru-minilm", "clip-minilm"]
SEEDS = (0, 1, 2)
TEACHER = "teacher"
STUDENTS = ["student-clip", "student-meru", "student-hmid-net", "student-twin"]
WITHOUT_TEACHER = ("student-clip", "student-meru")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=["features", "students"])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    if options.part == "features":
        for name in FEATURES:
            for seed in SEEDS:
                run(options.out / f"{name}-s{seed}", f"flickr8k/{name}", options.data, {"seed": seed})
        return
    run(options.out / TEACHER, "flickr8k/teacher", options.data, {"seed": 0})
    for name in STUDENTS:
        key = "stages.student.method.teacher"
        taught = {} if name in WITHOUT_TEACHER else {key: str(options.out / TEACHER)}
        run(options.out / name, f"flickr8k/{name}", options.data, taught)


def run(folder: Path, recipe: str, data: Path, overrides: dict[str, Any]) -> None:
    """Train and evaluate one run, unless that is done."""
    if (folder / "result.json").is_file():
        return
    began = time.monotonic()
    train(recipe, out=folder, pairs=data, resume=folder.exists(), quiet=True, overrides=overrides)
    trained = time.monotonic() - began
    result = evaluate(folder, label=recipe)
    scores = "  ".join(f"{way} R@10 {100 * result.metrics[way]['r@10']:.1f}" for way in ("t2i", "i2t"))
    print(f"{folder.name}: {scores}  trained in {trained:.0f} s", flush=True)


if __name__ == "__main__":
    main()
