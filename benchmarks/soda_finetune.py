"""SODA with an image tower that is fine-tuned from pixels, its control without a teacher, and a frozen tower.

    python benchmarks/soda_finetune.py --data runs/mirflickr [--runs runs/finetune]

Three runs of `mirflickr15k/dcmh` at 64 bits from 96 px pictures (limbeck[vision,text]), about 20 processor minutes;
runs that are done are not repeated. Writes docs/results/parts/soda-finetune.json, with each mAP as a claim.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from claims import Claims
from limbeck.files import read_json, write_json
from soda_speed import limbeck

ROWS = {
    "SODA, fine-tuned": ("soda/mirflickr-finetune",),
    "no teacher, fine-tuned": ("soda/mirflickr-finetune-direct",),
    "SODA, frozen tower": (
        "soda/mirflickr-finetune",
        "stages.teacher.towers.image.freeze_backbone=true",
        "stages.student.towers.image.freeze_backbone=true",
    ),
}
BARS = {"i2t": 0.80, "t2i": 0.77}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/finetune"))
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/soda-finetune.json"))
    options = parser.parse_args()
    claims = Claims()
    for label, recipe in ROWS.items():
        run = options.runs / label.replace(", ", "-").replace(" ", "-")
        if not (run / "run.json").is_file():
            resume = ["--resume"] if run.is_dir() else []
            limbeck("train", *recipe, *resume, "--data", options.data, "--out", str(run))
        if not (run / "result.json").is_file():
            limbeck("evaluate", str(run))
        command = f"limbeck train {' '.join(recipe)} --data DIR --out RUN; limbeck evaluate RUN"
        found = read_json(run / "result.json")["metrics"]
        for way, bar in BARS.items():
            value, best = round(found[way]["map"], 4), bar if label == "SODA, fine-tuned" else None
            claims.add(f"{label}, 64 bits, {way}", command, value, "mAP", best, note="from pixels, one run")
            print(f"{label:24} {way} {value:.4f}", flush=True)
    write_json(options.json, claims.rows)


if __name__ == "__main__":
    main()
