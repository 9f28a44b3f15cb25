"""Measure rows of the Hamming benchmark of a checkout again, by its own program."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limbeck.errors import LimbeckError
from limbeck.files import read_json
from limbeck.grid.recorded import drawn
from limbeck.grid.repeat import Compared

NAME = "hamming"
PART = Path("docs/results/parts/hamming.json")
RULE = (
    "same: equal to six decimals. within the noise: recalls that differ by at most 4 standard deviations "
    "of a share of so many neighbours, since a library may build its index in another order. one run only: "
    "the recorded queries/s tell no spread, and they depend on the machine."
)
Row = dict[str, Any]
Sample = list[tuple[str, str]]


def recorded_rows(folder: Path) -> list[Row]:
    """Return the rows of the benchmark next to a folder of recorded rows; empty where there is none."""
    file = folder.resolve().parent / PART
    rows: list[Row] = read_json(file)["rows"] if file.is_file() else []
    return [row for row in rows if "recall" in row]


def sample(
    rows: list[Row], count: int | None, seed: int, features: Path | None, only: str | None = None
) -> Sample:
    """Return algorithms with the data sets that can be made: all, or those of `drawn`, named "A on D".

    Raises:
        LimbeckError: there are none, or there is no such file of features.
    """
    if features is not None and not features.is_file():
        raise LimbeckError(f"--data {features}: there is no such file; check the path", code="E-PATH-MISSING")
    made = {"random", "scenes"} | ({features.stem} if features is not None else set())
    fit = sorted({(row["algorithm"], row["dataset"]) for row in rows if row["dataset"].split("-")[0] in made})
    if not fit:
        raise LimbeckError(
            f"{NAME}: no row of {', '.join(sorted(made))} is recorded; give --data FEATURES.npy",
            code="E-RESULT-MISSING",
        )
    chosen = drawn([" on ".join(one) for one in fit], count, seed, only)
    return [one for one in fit if " on ".join(one) in chosen]


def repeat(
    folder: Path, chosen: Sample, out: Path, features: Path | None, say: Callable[[str], None] = print
) -> tuple[list[Compared], dict[str, str]]:
    """Run the benchmark for algorithms and data sets, and compare its rows with the recorded ones.

    The second result has the last line of each run that failed.
    """
    out.mkdir(parents=True, exist_ok=True)
    recorded, found, failed = recorded_rows(folder), [], {}
    for algorithm, dataset in chosen:
        kind, bits, count = dataset.rsplit("-", 2)
        file = (out / f"{algorithm}-{dataset}.jsonl").resolve()
        words = ["--n", count, "--bits", bits, "--data", "random" if kind == "random" else "real"]
        words += ["--only", algorithm, "--work", str((out / "work").resolve()), "--out", str(file)]
        words += ["--features", str(features.resolve())] if features is not None and kind != "random" else []
        say(f"{algorithm} on {dataset}")
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.hamming", *words], cwd=folder.resolve().parent,
            env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        ours = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
        if done.returncode or not any("recall" in row for row in ours):
            why = (done.stderr.strip().splitlines() or [str(row.get("failed")) for row in ours[-1:]])[-1:]
            failed[f"{algorithm} on {dataset}"] = f"failed ({''.join(why)[-200:]})"
            continue
        found += [one for row in ours if "recall" in row for one in _compared(row, recorded)]
    return found, failed


def _compared(ours: Row, recorded: list[Row]) -> list[Compared]:
    keys = ("algorithm", "dataset", "setting", "count")
    alike = sorted(recorded, key=lambda row: row["version"] == ours["version"])  # this version wins
    own = {json.dumps([row[key] for key in keys]): row for row in alike}
    row = own.get(json.dumps([ours[key] for key in keys]))
    if row is None:
        return []
    setting = " ".join(f"{key} {value}" for key, value in ours["setting"].items())
    name = f"{ours['algorithm']} {setting}".strip()
    share, drawn = row["recall"], min(row["queries"], ours["queries"]) * row["count"]
    reach = 4 * math.sqrt(2 * share * (1 - share) / drawn)
    version = f"{row['library']} {row['version']}, here {ours['version']}"
    return [
        Compared(f"{name}, {row['dataset']}", version, "recall", share, ours["recall"], reach),
        Compared(f"{name}, {row['dataset']}", version, "queries/s", row["qps"], ours["qps"], None),
    ]
