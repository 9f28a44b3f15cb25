"""SODA beside its controls on MIRFlickr: train, evaluate, compare; stop it and start it again at will.

    python benchmarks/mirflickr_chain.py --data runs/mirflickr --out runs/chain

Runs that are finished are kept. Writes OUT/comparison.json (the table) and one result.json a run.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from limbeck.evaluation import evaluate
from limbeck.training import train

GRID = [
    (recipe, bits, seed, extra)
    for seed in (0, 1, 2)
    for recipe, bits, extra in [
        ("soda/mirflickr", 64, {}),
        ("soda/mirflickr-multihot", 64, {}),
        ("soda/mirflickr-direct", 64, {}),
        ("soda/mirflickr", 16, {}),
        ("soda/mirflickr-multihot", 16, {}),
        ("soda/mirflickr-direct", 16, {}),
        ("soda/mirflickr-zero-pair", 64, {}),
        ("soda/mirflickr-zero-pair", 64, {"stages.teacher.method.prompt": {"permute": 1 + seed}}),
        ("clip/mirflickr-itq", 64, {}),
    ]
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for recipe, bits, seed, extra in GRID:
        label = recipe + ("-permuted" if extra else "")
        run = options.out / f"{label.replace('/', '-')}-{bits}b-s{seed}"
        if (run / "result.json").is_file():
            continue
        key = "stages.codes.lift.bits" if recipe.startswith("clip/") else "lift.bits"
        began = time.monotonic()
        train(
            recipe,
            out=run,
            pairs=options.data,
            resume=run.exists(),
            quiet=True,
            overrides={key: bits, "seed": seed, **extra},
        )
        trained = time.monotonic() - began
        result = evaluate(run, label=label, ceiling=False)
        scores = "  ".join(f"{direction} {values['map']:.4f}" for direction, values in result.metrics.items())
        print(
            f"{run.name}: {scores}  trained in {trained:.0f} s, evaluated in {time.monotonic() - began - trained:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
