"""Seconds of one method at one length on cached features, as a user runs it: two cores, one process, 10,000 pairs.

    python benchmarks/soda_speed.py --data runs/mirflickr [--methods soda,dcmh,...] [--json docs/results/parts/soda-speed.json]

Each method is `limbeck train` in a process of its own, then `limbeck evaluate`, on a machine without other work.
Told apart: steps (what training takes), the whole command (start of Python, reading, fitting, validation, saving)
and the evaluation. A first short run fills the cache of sentence embeddings and picture features. `soda-half` is SODA
with half the steps of each stage, and its mAP beside that of the whole.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from claims import Claims
from limbeck.files import read_json, write_json

METHODS = ("soda", "direct", "dcmh", "ssah", "dchmt", "dsph", "mith", "dhaph", "lcdh", "ucch", "cmimh")
HALF = ("schedule.steps=400", "stages.tuned.schedule.steps=200")
BAR_S = 40.0
CALL = "import sys; from limbeck.cli import main; sys.exit(main())"


def limbeck(*arguments: str) -> float:
    """Wall-clock seconds of a command."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", CALL, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/soda-speed.json"))
    options = parser.parse_args()
    command = f"python benchmarks/soda_speed.py --data {options.data} --methods {options.methods}"
    claims = Claims()
    with tempfile.TemporaryDirectory() as place:
        for method in options.methods.split(","):
            recipe = "soda/mirflickr" if method.startswith("soda") else f"soda/mirflickr-{method}"
            run = str(Path(place) / method)
            shared = (
                recipe,
                *(HALF if method == "soda-half" else ()),
                "compute.precision=auto",
                "--quiet",
                "--data",
                options.data,
            )
            if method == options.methods.split(",")[0]:
                limbeck("train", *shared, "--out", f"{run}-first")
            whole = limbeck("train", *shared, "--out", run)
            evaluation = limbeck("evaluate", run)
            stages = sorted(Path(run).glob("stages/*/efficiency.json"))
            steps = sum(read_json(file)["seconds"] for file in stages)
            rate = sum(read_json(file)["pairs"] for file in stages) / steps
            for what, value, bar in (
                ("steps", steps, BAR_S),
                ("whole command", whole, BAR_S),
                ("evaluation", evaluation, None),
            ):
                claims.add(
                    f"{method}, one run on two cores: {what}", command, round(value, 1), "s", bar, below=True,
                    note=f"{rate:,.0f} pairs/s",
                )  # fmt: skip
            found = read_json(Path(run) / "result.json")["metrics"]
            for way in ("i2t", "t2i") if method.startswith("soda") else ():
                value = round(found[way]["map"], 4)
                claims.add(f"{method}, that run, {way}", command, value, "mAP", note="fixed split")
            print(
                f"{method:8} steps {steps:5.1f} s, whole {whole:5.1f} s, evaluation {evaluation:5.1f} s",
                flush=True,
            )
    write_json(options.json, claims.rows)


if __name__ == "__main__":
    main()
