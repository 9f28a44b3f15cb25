"""Search by Hamming distance, side by side: ``python -m benchmarks.hamming --out FILE.jsonl``.

Each algorithm is built and asked in a process of its own. Rows are lines of JSON with the fields of ann-benchmarks;
rows that the file has already are kept. ``--part FILE.json FILE.jsonl …`` joins files of rows to a part of the results.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.hamming.codes import Task, task
from benchmarks.hamming.measure import ALGORITHMS, measure
from limbeck.environment import environment
from limbeck.files import write_json

Row = dict[str, Any]


def lines(file: Path) -> list[Row]:
    """Rows of a file; none where it does not exist."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def wanted(name: str, bits: int, count: int, only: list[str] | None) -> bool:
    """Whether an algorithm takes codes of this length, and is asked for or not too slow for so many."""
    algorithm = ALGORITHMS[name]
    fits = algorithm.lengths is None or bits in algorithm.lengths
    return fits and (count <= algorithm.most if only is None else name in only)


def run(name: str, asked: Task, words: list[str], limit: int, memory: float) -> list[Row]:
    """Rows of an algorithm; the last one says why where it failed or took longer than the limit."""
    command = [sys.executable, "-m", "benchmarks.hamming", *words, "--measure", name]
    about: Row = {"algorithm": name, "library": ALGORITHMS[name].library, "dataset": asked.name}
    done = subprocess.run(
        command, capture_output=True, text=True,
        preexec_fn=lambda: _limit(limit, int(memory * 1e9)),
    )  # fmt: skip
    printed, why = done.stdout, (done.stderr.strip().splitlines() or ["no message"])[-1]
    failed = f"failed: {why[:200]}" if done.returncode else None
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        failed = f"not finished within {limit} processor seconds"
    rows = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
    return rows + ([about | {"failed": failed}] if failed else [])


def _limit(seconds: int, memory: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


def header(arguments: list[str]) -> Row:
    """The command, the machine, and the day."""
    words = [Path(word).name if Path(word).is_absolute() else word for word in arguments]
    versions, machine = environment()
    return {
        "command": " ".join(["python -m benchmarks.hamming", *words]), "versions": versions, "machine": machine,
        "date": datetime.date.today().isoformat(), "load": round(os.getloadavg()[0], 2),
    }  # fmt: skip


def bench(options: argparse.Namespace, arguments: list[str]) -> None:
    """Measure whatever the file has no row of."""
    options.work.mkdir(parents=True, exist_ok=True)
    known = {(row["algorithm"], row["dataset"]) for row in lines(options.out) if "algorithm" in row}
    with options.out.open("a") as file:
        print(json.dumps(header(arguments)), file=file, flush=True)
        for count in map(int, options.n):
            for bits in options.bits:
                for kind in options.data:
                    todo = [name for name in ALGORITHMS if wanted(name, bits, count, options.only)]
                    asked = task(kind, bits, count, options.k, options.work, options.features)
                    words = [
                        "--n",
                        count,
                        "--bits",
                        bits,
                        "--data",
                        kind,
                        "--k",
                        options.k,
                        "--work",
                        options.work,
                    ]
                    words += [] if options.features is None else ["--features", options.features]
                    near, tied = asked.ties.mean(axis=0).tolist()
                    about: Row = {"dataset": asked.name, "data": kind, "bits": bits, "n": count}
                    about |= {"kth_distance": float(asked.limit.mean()), "nearer": near, "tied": tied}
                    for name in todo:
                        if (name, asked.name) in known:
                            continue
                        for row in run(name, asked, list(map(str, words)), options.limit, options.memory):
                            print(json.dumps(about | row), file=file, flush=True)
                            print(
                                {
                                    key: row.get(key)
                                    for key in ("algorithm", "dataset", "setting", "recall", "qps", "failed")
                                },
                                flush=True,
                            )


def join(files: list[Path], part: Path) -> None:
    """Write the part: headers and rows of several files."""
    found = [row for file in files for row in lines(file)]
    runs = [row for row in found if "command" in row]
    rows = [row for row in found if "algorithm" in row]
    used = sorted({(row["library"], row["version"]) for row in rows if "version" in row})
    libraries = {name: ", ".join(one for other, one in used if other == name) for name, _ in used}
    write_json(part, {"runs": runs, "libraries": libraries, "rows": rows})


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hamming", description=__doc__)
    parser.add_argument("--n", nargs="+", type=float, default=[1e6], help="numbers of codes")
    parser.add_argument(
        "--bits", nargs="+", type=int, default=[64, 128, 256, 512], help="lengths, multiples of 64"
    )
    parser.add_argument("--data", nargs="+", choices=("real", "random"), default=["real", "random"])
    parser.add_argument(
        "--features",
        type=Path,
        help=".npy of features that real codes are made from (default: pixels of generated pictures)",
    )
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument(
        "--only", nargs="+", choices=list(ALGORITHMS), help="these algorithms, whatever their size limit"
    )
    parser.add_argument("--memory", type=float, default=4, help="GB that an algorithm may take")
    parser.add_argument("--limit", type=int, default=600, help="processor seconds that an algorithm may take")
    parser.add_argument(
        "--work", type=Path, default=Path("bench-hamming"), help="folder of codes and right answers"
    )
    parser.add_argument("--out", type=Path, default=Path("hamming.jsonl"), help="rows, one per line")
    parser.add_argument(
        "--part", nargs="+", type=Path, metavar="FILE", help="join the rows of files to the first one"
    )
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.part:
        join(options.part[1:], options.part[0])
    elif options.measure:
        one = task(
            options.data[0], options.bits[0], int(options.n[0]), options.k, options.work, options.features
        )
        measure(options.measure, one, options.k)
    else:
        bench(options, arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
