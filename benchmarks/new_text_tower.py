"""An index built with a student of tags answers through a sentence encoder trained later; its codes stay.

    python benchmarks/new_text_tower.py --data runs/mirflickr [--draws 3] [--json docs/results/parts/soda-new-text.json]

For each draw of the split: SODA with a bag of words as its text tower; an index of the database; a student with the
sentence encoder alone on the index's image side (`soda/mirflickr-new-text`); `limbeck index encoder`. Both runs are
evaluated by the same queries, and the index's code files are compared byte for byte.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from pathlib import Path

import numpy as np

from claims import Claims
from limbeck.evaluation import Result
from limbeck.files import write_json
from limbeck.metrics import paired_test
from soda_speed import limbeck

BAG = "{kind: bag}"


def digests(index: Path) -> dict[str, str]:
    """SHA-256 of every file of codes and ids."""
    files = sorted((index / "segments").rglob("*"))
    return {str(f): hashlib.sha256(f.read_bytes()).hexdigest() for f in files if f.is_file()}


def exchanged(data: str, draw: int, place: Path) -> dict[str, dict[str, float]]:
    """mAP by side of the exchange and direction; stops where a code changed."""
    protocol = "mirflickr15k/dcmh" + (f"@{draw}" if draw else "")
    shared = (
        "compute.precision=auto",
        f"data.protocol={protocol}",
        f"seed={draw}",
        "--quiet",
        "--data",
        data,
    )
    old, index, new = place / "old", place / "index", place / "new"
    bag = (f"towers.text={{backbone: {BAG}, hidden: [1024], dropout: 0.2, freeze_backbone: false}}",)
    limbeck("train", "soda/mirflickr", *bag, *shared, "--out", str(old))
    limbeck("index", "build", data, "--model", str(old), "--protocol", protocol, "--split", "database",
            "--out", str(index))  # fmt: skip
    before = digests(index)
    limbeck(
        "train", "soda/mirflickr-new-text", f"stages.student.init.image={index}", *shared, "--out", str(new)
    )
    limbeck("index", "encoder", str(index), "--model", str(new))
    if digests(index) != before:
        raise SystemExit(f"{index}: a file of codes changed")
    found = {}
    for name, run in (("before", old), ("after", new)):
        limbeck("evaluate", str(run), "--no-ceiling")
        result = Result.load(run / "result.json")
        found[name] = {way: float(result.metrics[way]["map"]) for way in ("i2t", "t2i")}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/soda-new-text.json"))
    options = parser.parse_args()
    command = f"python benchmarks/new_text_tower.py --data {options.data} --draws {options.draws}"
    found = []
    for draw in range(options.draws):
        with tempfile.TemporaryDirectory() as place:
            found.append(exchanged(options.data, draw, Path(place)))
            print(draw, found[-1], flush=True)
    write_json(options.json, told(found, command).rows)


def told(found: list[dict[str, dict[str, float]]], command: str) -> Claims:
    """Means before and after, and what the exchange changed, by draw."""
    claims, seeds = Claims(), list(range(len(found)))
    for way in ("t2i", "i2t"):
        for name, what in (("before", "through the bag of tags"), ("after", "through the sentence encoder")):
            values = [one[name][way] for one in found]
            claims.add(
                f"new text tower, codes untouched: {way} mAP {what}", command, float(np.mean(values)), "mAP",
                seeds=seeds, note=f"{', '.join(f'{value:.4f}' for value in values)}; 64 bits",
            )  # fmt: skip
        change = paired_test([one["after"][way] for one in found], [one["before"][way] for one in found])
        claims.add(
            f"new text tower, codes untouched: {way} mAP after minus before", command, change.difference, "mAP",
            seeds=seeds, note=f"95 % interval {change.low:+.4f} to {change.high:+.4f}",
        )  # fmt: skip
    return claims


if __name__ == "__main__":
    main()
