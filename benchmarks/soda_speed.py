"""Seconds of one method at one length on cached features, as a user runs it: two cores, one process, 10,000 pairs.

    python benchmarks/soda_speed.py --data runs/mirflickr [--methods soda,dcmh,...] [--repeat 3] [--old DIR/src]

Each method is `limbeck train` in a process of its own, then `limbeck evaluate`, on a machine without other work.
Told apart: steps (what training takes), the whole command (start of Python, reading, fitting, validation, saving)
and the evaluation; the median of `--repeat` runs. Processor seconds (user and system) of the command stand beside,
which other work on the machine changes less. With `--old`, the sources of an older version, each of its runs follows
one of this version. A first short run of each version fills the cache of sentence embeddings and picture features.
`soda-half` is SODA with half the steps of each stage, and its mAP beside that of the whole.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from claims import Claims
from limbeck.files import read_json, write_json

METHODS = ("soda", "direct", "dcmh", "ssah", "dchmt", "dsph", "mith", "dhaph", "lcdh", "ucch", "cmimh")
HALF = ("schedule.steps=400", "stages.tuned.schedule.steps=200")
FIRST = ("schedule.steps=2",)
BAR_S = 40.0
CALL = "import sys; from limbeck.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Run:
    """Seconds of one run: its steps, its command, the processor's part of the command, and the evaluation."""

    steps: float
    whole: float
    processor: float
    evaluation: float
    pairs: int


def limbeck(*arguments: str, source: str | None = None) -> float:
    """Wall-clock seconds of a command, of this version or of the one whose sources are named."""
    start, paths = time.perf_counter(), os.environ | ({"PYTHONPATH": source} if source else {})
    subprocess.run([sys.executable, "-c", CALL, *arguments], check=True, stdout=subprocess.DEVNULL, env=paths)
    return time.perf_counter() - start


def train(method: str, data: str, run: Path, source: str | None, *more: str) -> tuple[float, float]:
    """Wall-clock and processor seconds of the training of a method."""
    recipe = "soda/mirflickr" if method.startswith("soda") else f"soda/mirflickr-{method}"
    half = HALF if method == "soda-half" else ()
    shared = recipe, *half, *more, "compute.precision=auto", "--quiet", "--data", data, "--out", str(run)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = limbeck("train", *shared, source=source)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return whole, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(method: str, data: str, run: Path, source: str | None) -> Run:
    """Train and evaluate a method."""
    whole, processor = train(method, data, run, source)
    evaluation = limbeck("evaluate", str(run), source=source)
    stages = [read_json(file) for file in sorted(run.glob("stages/*/efficiency.json"))]
    steps, pairs = (sum(stage[key] for stage in stages) for key in ("seconds", "pairs"))
    return Run(steps, whole, processor, evaluation, pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--old", help="sources (src) of an older version")
    parser.add_argument("--json", type=Path, default=Path("docs/results/parts/soda-speed.json"))
    options = parser.parse_args()
    command = f"python benchmarks/soda_speed.py --data {options.data} --methods {options.methods}"
    command += f" --repeat {options.repeat}" + (" --old OLD/src" if options.old else "")
    versions = {"one run": None} | ({"one run of the old code": options.old} if options.old else {})
    claims = Claims()
    with tempfile.TemporaryDirectory() as place:
        for version, source in versions.items():
            train(
                options.methods.split(",")[0], options.data, Path(place) / f"first {version}", source, *FIRST
            )
        for method in options.methods.split(","):
            found: dict[str, list[Run]] = {version: [] for version in versions}
            for number in range(options.repeat):
                for version, source in versions.items():
                    run = Path(place) / f"{method} {version} {number}"
                    found[version].append(measured(method, options.data, run, source))
            for version, runs in found.items():
                told = []
                for field, what, bar in (
                    ("steps", "steps", BAR_S),
                    ("whole", "whole command", BAR_S),
                    ("processor", "processor seconds", None),
                    ("evaluation", "evaluation", None),
                ):
                    values = [round(getattr(run, field), 1) for run in runs]
                    value = statistics.median(values)
                    note = ", ".join(map(str, values)) if len(values) > 1 else ""
                    if field == "steps":
                        note = f"{runs[0].pairs / value:,.0f} pairs/s" + (f"; {note}" if note else "")
                    claims.add(
                        f"{method}, {version} on two cores: {what}", command, value, "s",
                        None if versions[version] else bar, below=True, note=note,
                    )  # fmt: skip
                    told.append(f"{what} {value:.1f} s")
                print(f"{method:8} {version}: {', '.join(told)}", flush=True)
            result = read_json(Path(place) / f"{method} one run 0" / "result.json")["metrics"]
            for way in ("i2t", "t2i") if method.startswith("soda") else ():
                value = round(result[way]["map"], 4)
                claims.add(f"{method}, that run, {way}", command, value, "mAP", note="fixed split")
    write_json(options.json, claims.rows)


if __name__ == "__main__":
    main()
